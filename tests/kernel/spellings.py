"""The one spelling of a path, and all the others that have ever got past somebody."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

SAFE = "-._~!$&'()*+,;=:@"
"""What may stand in a path segment as it is (RFC 3986, pchar), beside letters and digits."""


def canonical(parts: Sequence[str]) -> str:
    """How these segments are written."""
    return "/" + "/".join(quote(part, safe=SAFE) for part in parts)


def spellings(path: str) -> dict[str, bytes]:
    """Other ways to write ``path``, by what was done to it."""
    raw = path.encode()
    first = raw[1:2]
    escaped = b"/" + b"".join(b"%%%02X" % byte for byte in raw[1:])
    upper = b"/" + raw[1:].upper()
    return {
        "doubled slash in front": b"/" + raw,
        "doubled slash inside": raw.replace(b"/", b"//"),
        "trailing slash": raw + b"/",
        "two trailing slashes": raw + b"//",
        "dot segment": b"/." + raw,
        "dot segment at the end": raw + b"/.",
        "parent and back": b"/x/.." + raw,
        "parent at the end": raw + b"/x/..",
        "escaped dots": b"/%2e%2e" + raw,
        "escaped dots, upper case": b"/x/%2E%2E" + raw,
        "half escaped dots": b"/x/.%2e" + raw,
        "twice escaped dots": b"/x/%252e%252e" + raw,
        "escaped first letter": b"/%%%02X" % first[0] + raw[2:] if first else b"/%2F",
        "escaped first letter, lower case": b"/%%%02x" % first[0] + raw[2:] if first else b"/%2f",
        "all escaped": escaped,
        "escaped slash": raw[:1] + raw[1:].replace(b"/", b"%2F") if raw.count(b"/") > 1 else raw + b"%2F",
        "twice escaped": raw + b"%2561",
        "backslash": raw.replace(b"/", b"\\"),
        "escaped backslash": raw + b"%5C",
        "escaped tab": raw + b"%09",
        "tab": raw + b"\t",
        "escaped NUL": raw + b"%00",
        "escaped NUL and suffix": raw + b"%00.txt",
        "escaped newline": raw + b"%0A",
        "escaped space": raw + b"%20",
        "path parameter": raw + b";a=b",
        "path parameter inside": b"/;" + raw[1:] if len(raw) > 1 else b"/;",
        "upper case": upper,
        "mixed case": b"".join(raw[at : at + 1].upper() if at % 2 else raw[at : at + 1] for at in range(len(raw))),
        "overlong slash": b"/x%C0%AF.." + raw,
        "overlong dot": b"/%C0%AE%C0%AE" + raw,
        "raw high bytes": raw + b"\xc3\xa4",
        "raw invalid UTF-8": raw + b"\xff",
        "escaped invalid UTF-8": raw + b"%FF",
        "escape cut short": raw + b"%4",
        "escape of no hex": raw + b"%zz",
        "wide dots": b"/%EF%BC%8E%EF%BC%8E" + raw,
        "plus": raw + b"+",
        "fragment": raw + b"#x",
        "absolute form": b"http://rooftree" + raw,
        "absolute form of another host": b"http://evil.example" + raw,
        "authority": b"//evil.example" + raw,
        "no leading slash": raw[1:] or b"x",
        "asterisk": b"*",
        "query escaped": raw + b"%3Fa=b",
        "24 KB": raw + b"/" + b"a" * 24_000,
        "24 KB of slashes": raw + b"/" * 24_000,
        "thousands of segments": raw + b"/a" * 3_000,
    }
