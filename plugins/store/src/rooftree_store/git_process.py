"""git, as a confined child process.

Nothing of the operator's or the system's git configuration is read, no hook, filter or credential helper of a
repository runs, only network transports are allowed, and no file that git writes may be larger than a limit, nor may
what it holds in memory, or says to us. The child dies with the daemon.
"""

from __future__ import annotations

import asyncio
import os
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from attrs import frozen

from rooftree import Failed, Unavailable
from rooftree_store.logins import Login
from rooftree_store.sources import LOCAL, RepositorySource
from rooftree_workers import child_process

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.logAllRefUpdates": "false",
    "core.untrackedCache": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "filter.lfs.smudge": "",
    "gc.auto": "0",
    "gc.reflogExpire": "now",
    "gc.reflogExpireUnreachable": "now",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "protocol.git.allow": "always",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "submodule.recurse": "false",
}
_LOGIN_HELPER = r"""!f() {
    test "$1" = get && printf 'username=%s\npassword=%s\n' "$ROOFTREE_LOGIN_NAME" "$ROOFTREE_LOGIN_PASSWORD"
}; f"""
"""What git asks for a login, for one server only. The login is in the environment, where ``ps`` does not show it."""
_PASSED_ON = re.compile(r"(?i)PATH|LANG|(http|https|no|all)_proxy|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO|SSH_AUTH_SOCK")
_MOST_MEMORY_BYTES = 1024**3
"""Of one process of git: it keeps all that a server says of its branches in memory, however long that is."""
_MOST_OUTPUT_BYTES = 16 * 1024**2
"""Of what git says where an answer is expected to be short."""
_LONGEST_LINE_BYTES = 64 * 1024
_LAST_ERRORS_BYTES = 16 * 1024
"""The end of git's complaint, which has the reason. A server may say what it likes before that, for as long as it is
let."""


@frozen
class Limits:
    """What a repository may cost."""

    max_bytes: int = 2 * 1024**3
    """Of the files of a repository together, and of what is fetched for it."""
    max_files: int = 100_000
    answer_s: float = 30.0
    """Seconds until a server must have answered what its newest commit is."""
    fetch_s: float = 600.0
    """Seconds that any other command may take."""


USUAL = Limits()


class GitFailed(Failed):
    """git could not do it; the message has git's own reason."""

    error_key = "store_repository_unknown_error"


class BranchMissing(GitFailed):
    """The server has the repository, and not the branch that is asked for (any more)."""


class DepthRefused(GitFailed):
    """The server cannot hand out a part of a repository's history, only all of it."""


class RepositoryTooLarge(Failed):
    """A repository is larger than it may be; what was fetched of it is thrown away."""

    error_key = "store_repository_unknown_error"


class GitUnavailable(Unavailable):
    """There is no git on this machine, or the server cannot be reached, or says that it is broken."""

    error_key = "store_repository_unreachable_error"


NOWHERE: Final = ("--git-dir=/dev/null",)
"""Option for what needs no repository: git would read the configuration of one that the daemon was started in."""


def within(folder: Path) -> tuple[str, ...]:
    """Options that have git work on that clone and no other.

    Left to look for itself, git goes up from a clone that is damaged to a repository around it, such as the checkout
    that a data folder lies in, and resets that.
    """
    return "-C", str(folder), "--git-dir=.git", "--work-tree=."


async def git(
    source: RepositorySource,
    *arguments: str,
    limits: Limits = USUAL,
    timeout_s: float | None = None,
    login: Login | None = None,
) -> str:
    """Run git; its output. The source is for messages, and says which server may ask for the login."""
    async with _running(source, *arguments, limits=limits, timeout_s=timeout_s, login=login) as child:
        assert child.stdout is not None and child.stderr is not None  # for type checkers: they are pipes
        complaint = asyncio.create_task(_end_of(child.stderr), name="read git's complaint")
        try:
            output = await _all_of(child.stdout, source)
            errors = await complaint
        finally:
            complaint.cancel()
            await asyncio.wait({complaint})
        await child.wait()
    if child.returncode == 0:
        return output.decode(errors="replace")
    raise _reason(source, errors.decode(errors="replace"), limits, login)


async def git_lines(source: RepositorySource, *arguments: str, limits: Limits = USUAL) -> AsyncGenerator[str]:
    """Run git; its output line by line, for what may be endless; closing it ends git."""
    async with _running(source, *arguments, limits=limits) as child:
        assert child.stdout is not None and child.stderr is not None  # for type checkers: they are pipes
        try:
            while line := await child.stdout.readline():
                yield line.decode(errors="replace")
        except ValueError:  # the reader's word for a line beyond its limit
            raise RepositoryTooLarge(f"{source.address} has a path of more than {_LONGEST_LINE_BYTES} bytes") from None
        errors = await _end_of(child.stderr)
        await child.wait()
    if child.returncode:
        raise _reason(source, errors.decode(errors="replace"), limits)


async def _all_of(output: asyncio.StreamReader, source: RepositorySource) -> bytes:
    content = bytearray()
    while block := await output.read(_LONGEST_LINE_BYTES):
        content += block
        if len(content) > _MOST_OUTPUT_BYTES:
            raise GitFailed(
                f"git has more than {_MOST_OUTPUT_BYTES // 1024**2} MiB to say of {source.address}; that is no use"
            )
    return bytes(content)


async def _end_of(errors: asyncio.StreamReader) -> bytes:
    output = bytearray()
    while block := await errors.read(_LAST_ERRORS_BYTES):
        output += block
        del output[:-_LAST_ERRORS_BYTES]
    return bytes(output)


@asynccontextmanager
async def _running(
    source: RepositorySource,
    *arguments: str,
    limits: Limits,
    timeout_s: float | None = None,
    login: Login | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A git that runs; it has ended afterwards, or is killed."""
    if source == LOCAL:
        raise GitFailed("The local repository is a plain folder, in which add-ons can write: git is never run there")
    told = _CONFIG if login is None else _CONFIG | {f"credential.{server_of(source)}.helper": _LOGIN_HELPER}
    options = [part for key, value in told.items() for part in ("-c", f"{key}={value}")]
    patience_s = limits.fetch_s if timeout_s is None else timeout_s
    running = child_process(
        "git",
        *options,
        *arguments,
        env=_environment(login),
        limits={"fsize": limits.max_bytes, "data": _MOST_MEMORY_BYTES},
        limit=_LONGEST_LINE_BYTES,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with running as child, asyncio.timeout(patience_s):
            yield child
    except FileNotFoundError:
        raise GitUnavailable("There is no git on this machine; install it (the package is called git)") from None
    except TimeoutError:
        raise GitUnavailable(
            f"git took more than {patience_s:g} s with {source.address}; the server is too slow"
        ) from None


MOST_SAID = 2000
"""Characters of git's complaint that are looked at."""
_UNREACHABLE = re.compile(
    r"(?i)could not resolve|unable to look up|connection (refused|timed out|reset)|failed to connect|unable to connect|"
    r"network is unreachable|no route to host|early eof|remote end hung up|operation too slow"
)
_BROKEN = re.compile(r"(?i)the requested URL returned error: 5")
_NO_LOGIN = re.compile(r"(?i)could not read Username|authentication failed|terminal prompts disabled|permission denied")
_NO_DEPTH = re.compile(r"(?i)does not support (?:--)?shallow")
_TOO_LARGE = re.compile("(?i)file too large|out of memory")
_LOGIN_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")
_SAID_TWICE = re.compile(r"unable to access '[^']*': |: (?:Couldn't|Could not) connect to server(?=;|$)")
"""What git and curl say around the reason: whose sentence it stands in has named the address and what it comes to."""
_EMPTY = re.compile(r"(?i)needed a single revision")
_MISSING = re.compile(r"(?i)not found|no such repository|does not appear to be a git repository|not exported")


def too_large(source: RepositorySource, limits: Limits) -> RepositoryTooLarge:
    """The error for a repository that has more than it may."""
    return RepositoryTooLarge(
        f"{source.address} is too large: a repository may have {limits.max_bytes // 1024**2} MiB in "
        f"{limits.max_files} files, as the settings max_repository_mib and max_repository_files of [plugins.store] say"
    )


def _reason(source: RepositorySource, errors: str, limits: Limits, login: Login | None = None) -> Failed | Unavailable:
    """git's complaint as one of ours. It quotes the server; what matters stands at the end."""
    errors = _without_login(errors, login)[-MOST_SAID:]
    complaint = errors.partition("warning: Clone succeeded, but checkout failed")[0]  # then come hints for people
    lines = [line.removeprefix("fatal: ").removeprefix("error: ") for line in complaint.splitlines() if line.strip()]
    said = "; ".join(lines[-3:]) or "it said nothing"
    said = _SAID_TWICE.sub("", said)
    said = "".join(letter if letter.isprintable() else "�" for letter in said)  # a server says what it likes
    if _TOO_LARGE.search(errors):
        return too_large(source, limits)
    if _EMPTY.search(errors):
        return GitFailed(f"There is nothing in the git repository at {source.address} yet")
    if _NO_DEPTH.search(errors):
        return DepthRefused(f"The server of {source.address} has all of its history or nothing: {said}")
    if _BROKEN.search(errors):
        return GitUnavailable(f"The server of {source.address} answers that something is wrong with itself: {said}")
    if _UNREACHABLE.search(errors):
        return GitUnavailable(f"The server of {source.address} cannot be reached: {said}")
    if "Remote branch" in errors or "couldn't find remote ref" in errors:
        return BranchMissing(f"{source.address} has no branch {source.branch or 'that git could choose'}")
    if _NO_LOGIN.search(errors):
        return GitFailed(_no_login(source, said, login))
    if _MISSING.search(errors):
        return GitFailed(f"There is no git repository at {source.address}: {said}")
    return GitFailed(f"git failed on {source.address}: {said}")


def _without_login(errors: str, login: Login | None) -> str:
    """git's complaint without what only the server may know. git leaves logins out of addresses of its own; a server
    may repeat what it was given, in any of the forms that it came in."""
    if login is not None:
        name, password = login.name.reveal(), login.password.reveal()
        secret = password or name
        for form in (secret, quote(secret, safe=""), b64encode(f"{name}:{password}".encode()).decode()):
            errors = errors.replace(form, "***")
    return _LOGIN_IN_ADDRESS.sub("", errors)


def _no_login(source: RepositorySource, said: str, login: Login | None) -> str:
    """What to do where a server lets us in no further; what git says of its prompts helps nobody."""
    address = urlsplit(source.url)
    if address.scheme not in {"http", "https"}:
        return f"{source.address} wants a login, or does not exist: {said}"
    if login is not None:
        return f"{source.address} does not accept this login, or does not exist"
    example = address._replace(netloc=f"name:token@{address.netloc}").geturl()
    return f"{source.address} wants a login, or does not exist; a login is given in the address, as in {example}"


def server_of(source: RepositorySource) -> str:
    """Scheme, host and port."""
    parts = urlsplit(source.url)
    return f"{parts.scheme}://{parts.netloc}"


def _environment(login: Login | None) -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    if login is not None:
        passed |= {"ROOFTREE_LOGIN_NAME": login.name.reveal(), "ROOFTREE_LOGIN_PASSWORD": login.password.reveal()}
    return {
        **passed,
        "GIT_ASKPASS": "/bin/false",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
    }
