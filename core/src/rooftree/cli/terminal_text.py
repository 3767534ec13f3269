"""What is shown on a terminal: nothing that strangers wrote may drive it, but for its colours.

Lines stay lines, and JSON stays JSON; all else that is not printable is shown as an escape.
"""

from __future__ import annotations

from typing import Final

import attrs

from rooftree.model import printable

LONGEST_HELD: Final = 64
"""Characters of a colour code at most; a longer one is none."""


def printable_lines(text: str) -> str:
    """``text`` printable, with the ends of lines, and tabs, left as they are."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def printable_json(text: str) -> str:
    """JSON text with everything that is not printable in JSON's own escapes; it means the same."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


@attrs.define
class ColouredText:
    """Text that comes in pieces, for a terminal: lines, tabs and colours stay, all else that is not printable is shown
    as an escape.

    Colours are the codes ``ESC [ … m`` (ECMA-48, 8.3.117), which move nothing and ask for nothing.
    """

    _held: str = ""
    """A colour code, or the end of a line, of which the rest is still to come."""
    is_coloured: bool = False
    """Whether a colour was passed on, so that it has to be taken back in the end."""

    def feed(self, text: str) -> str:
        """The next piece, as it may be shown by now."""
        text, self._held = self._held + text, ""
        shown: list[str] = []
        first, *others = text.split("\x1b")
        shown.append(self._plain(first, is_last=not others))
        for number, rest in enumerate(others):
            code = _colour_code(rest)
            is_last = number == len(others) - 1
            if code is None and is_last and _may_become_code(rest):
                self._held = "\x1b" + rest
            elif code is None:
                shown.append("\\x1b" + self._plain(rest, is_last=is_last))
            else:
                self.is_coloured = True
                shown.append(f"\x1b{code}" + self._plain(rest[len(code) :], is_last=is_last))
        return "".join(shown)

    def end(self) -> str:
        """What is still held, and the code that takes colours back."""
        held, self._held = self._held, ""
        return printable(held) + ("\x1b[0m" if self.is_coloured else "")

    def _plain(self, text: str, *, is_last: bool) -> str:
        if is_last and text.endswith("\r"):
            text, self._held = text[:-1], "\r"
        return printable_lines(text.replace("\r\n", "\n"))


def _colour_code(text: str) -> str | None:
    """The code that ``text`` begins with, without its escape character."""
    end = text.find("m", 0, LONGEST_HELD)
    return text[: end + 1] if end > 0 and text[0] == "[" and _are_numbers(text[1:end]) else None


def _may_become_code(text: str) -> bool:
    return len(text) < LONGEST_HELD and text[:1] in {"", "["} and _are_numbers(text[1:])


def _are_numbers(text: str) -> bool:
    return text.isascii() and text.translate(_SEPARATORS).isdigit() if text.strip(";:") else True


_SEPARATORS: Final = str.maketrans("", "", ";:")
