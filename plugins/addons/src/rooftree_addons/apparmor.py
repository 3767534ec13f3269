"""AppArmor profiles that add-ons bring along (``apparmor.txt``): checked, named after the add-on, kept, loaded.

Without AppArmor on the host a profile is kept and nothing loaded, so that it is there when the host gets AppArmor. The
kernel forgets profiles when it ends: each is loaded again before its add-on is first started.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from rooftree import Failed, Invalid
from rooftree.state import write_file_atomically
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)

MOST_CHARACTERS: Final = 256 * 1024
PARSER_S: Final = 30.0
"""Seconds that the parser may take: a large profile on a small machine takes several."""
_ENABLED: Final = Path("/sys/module/apparmor/parameters/enabled")
_HEAD: Final = re.compile(r'^profile[ \t]+(?P<name>"[^"\n]*"|[^\s"{]+)', re.MULTILINE)
_FLAGS: Final = re.compile(r"\s*(?:(?:flags\s*=\s*)?\([^)]*\)\s*)?\{")
"""What may stand behind the name: no path, which would put the host's own programs of that path under the profile."""
_NAMES_A_FILE: Final = re.compile(
    r"(?P<verb>#include|(?<![\w/.-])(?:include|abi)(?!\w))"
    r"(?:(?P<ours>[ \t]*(?:if[ \t]+exists[ \t]+)?<[\w-][\w.-]*(?:/[\w-][\w.-]*)*>)|(?P<other>.{0,200}))",
    re.ASCII,
)
"""What the parser may take for a statement that makes it read a file: rules that it looks for in the host's own folders
(apparmor.d(5), "#include mechanism"), or others. Where a comment or a quoted name begins and ends depends on what
stands before it, and a ``#`` within a word begins none: so all of them count, wherever they stand."""


class ProfileInvalid(Invalid):
    """An add-on's ``apparmor.txt`` cannot be used. ``extra_fields``: ``app``."""

    error_key = "host_apparmor_load_profile_error"


class ProfileNotLoaded(Failed):
    """The kernel did not take a profile, or did not let it go."""

    error_key = "host_apparmor_load_profile_error"


def named_profile(text: str, slug: AddonSlug) -> str:
    """The profile under the add-on's name, which its container is told; raises :class:`ProfileInvalid`.

    Exactly one line begins with ``profile``: profiles inside it are indented.
    """
    if len(text) > MOST_CHARACTERS:
        raise ProfileInvalid(f"apparmor.txt of {slug} has more than {MOST_CHARACTERS} characters", app=str(slug))
    if "\0" in text:
        raise ProfileInvalid(f"apparmor.txt of {slug} must be text", app=str(slug))
    heads = list(_HEAD.finditer(text))
    if len(heads) != 1:
        raise ProfileInvalid(
            f"apparmor.txt of {slug} must have exactly one line that begins with 'profile <name>', not {len(heads)}",
            app=str(slug),
        )
    start, end = heads[0].span("name")
    if not _FLAGS.match(text, end):
        raise ProfileInvalid(
            f"apparmor.txt of {slug} must have nothing but flags=(…) between 'profile <name>' and its opening brace: "
            "a path there would be that of programs of the host",
            app=str(slug),
        )
    _refuse_files_of_the_host(f"{text[:start]}name{text[end:]}", slug)
    return f"{text[:start]}{slug}{text[end:]}"


def _refuse_files_of_the_host(text: str, slug: AddonSlug) -> None:
    """Refuse files by path: the parser, which is root, would read any file or device, for as long as it gives."""
    for statement in _NAMES_A_FILE.finditer(text):
        if statement["ours"] is None:
            line = text.count("\n", 0, statement.start()) + 1
            raise ProfileInvalid(
                f"apparmor.txt of {slug}, line {line}: after {statement['verb']} must stand rules of the host's own, "
                f"such as <abstractions/base>, in comments too; not {statement['other'].strip() or 'nothing'}",
                app=str(slug),
            )


def host_parser() -> tuple[str, ...] | None:
    """The command that loads profiles, or ``None`` on a host without AppArmor. Blocks for a moment."""
    try:
        enabled = _ENABLED.read_text().strip() == "Y"  # ours: the kernel's
    except OSError:
        return None
    parser = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")
    return (parser,) if enabled and parser else None


class Profiles:
    """The profiles of installed add-ons.

    :param folder: where they are kept, each under its add-on's slug
    :param parser: as :func:`host_parser` says
    """

    def __init__(self, folder: Path, parser: Sequence[str] | None) -> None:
        self._folder = folder
        self._parser = parser
        self._loaded: set[AddonSlug] = set()

    def is_custom(self, slug: AddonSlug) -> bool:
        """Whether the add-on's container runs under a profile of its own. Blocks for a moment."""
        return self._parser is not None and self._file(slug).is_file()  # ours: no add-on is shown that folder

    def kept(self, slug: AddonSlug) -> str | None:
        """The profile that is kept for an add-on. Blocks for a moment."""
        try:
            return self._file(slug).read_text()  # ours: as above
        except FileNotFoundError:
            return None

    async def install(self, slug: AddonSlug, text: str | None) -> None:
        """Let that be the add-on's profile from its next start on; ``None`` for none.

        Raises :class:`ProfileInvalid`, with what the parser says, and keeps nothing of a profile that is.
        """
        if text is None:
            await self.remove(slug)
            return
        profile = await self._checked(slug, text)
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)  # ours: as above
        await asyncio.to_thread(write_file_atomically, self._file(slug), profile.encode(), 0o600)
        self._loaded.discard(slug)

    async def ensure_loaded(self, slug: AddonSlug) -> bool:
        """Load the add-on's profile, if it has one; whether its container can run under it.

        Raises :class:`ProfileNotLoaded`: an add-on that brings a profile does not run without.
        """
        if not await asyncio.to_thread(self.is_custom, slug):
            return False
        if slug not in self._loaded:
            code, output = await self._run("--replace", "--skip-cache", str(self._file(slug)))
            if code:
                raise ProfileNotLoaded(f"The AppArmor profile of {slug} cannot be loaded: {output}", app=str(slug))
            self._loaded.add(slug)
        return True

    async def remove(self, slug: AddonSlug) -> None:
        """Let the kernel and us forget the add-on's profile; nothing to do when it has none."""
        if await asyncio.to_thread(self.is_custom, slug):
            code, output = await self._run("--remove", str(self._file(slug)))
            if code:  # it was never loaded, or is used until the container has gone: it dies with the kernel
                log.info("apparmor_profile_stays", addon=slug, reason=output)
        self._loaded.discard(slug)
        await asyncio.to_thread(self._file(slug).unlink, missing_ok=True)  # ours: as above

    async def refuse_wrong(self, slug: AddonSlug, text: str | None) -> None:
        """Raise :class:`ProfileInvalid` for what :meth:`install` would refuse; changes nothing."""
        if text is not None:
            await self._checked(slug, text)

    async def _checked(self, slug: AddonSlug, text: str) -> str:
        """The profile under the add-on's name, refusing what the parser does not understand, and what would replace
        another's profile."""
        profile = named_profile(text, slug)
        if self._parser is None:
            return profile
        code, output = await self._run("--names", stdin=profile)
        if not code:
            code, error = await self._run("--skip-kernel-load", "--skip-cache", stdin=profile)
            output = error if code else output
        if code:
            raise ProfileInvalid(f"apparmor.txt of {slug} is no AppArmor profile: {output}", app=str(slug))
        others = [name for name in output.splitlines() if name != slug and not name.startswith(f"{slug}//")]
        if others:
            raise ProfileInvalid(
                f"apparmor.txt of {slug} has profiles besides its own: {', '.join(others)}", app=str(slug)
            )
        return profile

    async def _run(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """Run the parser. Its exit status and its answer, or where it failed the last line of its complaint."""
        command = [*(self._parser or ()), *arguments]
        try:
            result = await asyncio.to_thread(
                subprocess.run, command, input=stdin.encode(), capture_output=True, timeout=PARSER_S, check=False
            )
        except subprocess.TimeoutExpired:
            return 1, f"apparmor_parser does not end within {PARSER_S:g} s"
        if result.returncode:
            return result.returncode, result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        return 0, result.stdout.decode(errors="replace")

    def _file(self, slug: AddonSlug) -> Path:
        return self._folder / slug
