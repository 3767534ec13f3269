"""git, as a confined child process.

Nothing of the operator's or the system's git configuration is read, no hook, filter, credential helper or submodule of
a repository runs, only network transports are allowed, and one file of a repository may have 1 GiB at most. The child
dies with the daemon.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
from pathlib import Path

import structlog

from rooftree import Failed, Unavailable
from rooftree.child_process import child_process, die_with_daemon
from rooftree_store.sources import RepositorySource

log = structlog.get_logger(__name__)

TIMEOUT_S = 600.0
"""Seconds one git command may take."""
MAX_FILE_BYTES = 1024**3
"""The largest file, packs included, that a repository may bring."""

_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "filter.lfs.process": "",
    "filter.lfs.required": "false",
    "filter.lfs.smudge": "",
    "gc.auto": "0",
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
_PASSED_ON = re.compile(r"(?i)PATH|LANG|(http|https|no|all)_proxy|SSL_CERT_(FILE|DIR)|GIT_SSL_CAINFO|SSH_AUTH_SOCK")


class GitFailed(Failed):
    """git could not do it; the message has git's own reason."""

    error_key = "store_repository_unknown_error"


class GitUnavailable(Unavailable):
    """There is no git on this machine, or the server cannot be reached."""

    error_key = "store_repository_unreachable_error"


async def clone(source: RepositorySource, folder: Path) -> None:
    """Fetch the newest commit into ``folder``, which must not exist; nothing stays there on failure."""
    branch = ["--branch", source.branch] if source.branch else []
    try:
        await _git(
            source, "clone", "--quiet", "--depth", "1", "--single-branch", "--no-tags", "--no-recurse-submodules",
            *branch, "--", source.url, str(folder),
        )  # fmt: skip
    except BaseException:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise


async def update(source: RepositorySource, folder: Path) -> bool:
    """Bring a clone to the newest commit, whatever its history has become; whether anything changed.

    Raises :class:`GitUnavailable` when the server cannot be reached (the clone stays as it is), :class:`GitFailed`
    when the clone is damaged.
    """
    for lock in ("index.lock", "shallow.lock", "HEAD.lock"):
        await asyncio.to_thread((folder / ".git" / lock).unlink, missing_ok=True)
    await _git(
        source, "-C", str(folder), "fetch", "--quiet", "--depth", "1", "--no-tags", "--force", "--update-shallow",
        "--no-recurse-submodules", "--", source.url, source.branch or "HEAD",
    )  # fmt: skip
    new = await head(source, folder, "FETCH_HEAD")
    if new == await head(source, folder) and not await _git(source, "-C", str(folder), "status", "--porcelain"):
        return False
    await _git(source, "-C", str(folder), "reset", "--quiet", "--hard", new)
    await _git(source, "-C", str(folder), "clean", "-xdff", "--quiet")
    return True


async def head(source: RepositorySource, folder: Path, ref: str = "HEAD") -> str:
    """The commit a clone is at."""
    return (await _git(source, "-C", str(folder), "rev-parse", "--verify", f"{ref}^{{commit}}")).strip()


async def reachable(source: RepositorySource) -> bool:
    """Whether the server answers for that repository."""
    try:
        await _git(source, "ls-remote", "--quiet", "--heads", "--", source.url, timeout_s=30)
    except (GitFailed, GitUnavailable):
        return False
    return True


async def _git(source: RepositorySource, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
    """Run git; its output. The source is for messages."""
    options = [part for key, value in _CONFIG.items() for part in ("-c", f"{key}={value}")]
    try:
        async with (
            child_process(
                "git",
                *options,
                *arguments,
                env=_environment(),
                confine=_confine,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            ) as child,
            asyncio.timeout(timeout_s),
        ):
            output, errors = await child.communicate()
    except FileNotFoundError:
        raise GitUnavailable("There is no git on this machine; install it (the package is called git)") from None
    except TimeoutError:
        raise GitUnavailable(f"git took more than {timeout_s:.0f} s with {source}; the server is too slow") from None
    if child.returncode == 0:
        return output.decode(errors="replace")
    raise _reason(source, errors.decode(errors="replace"))


_UNREACHABLE = re.compile(
    r"(?i)could not resolve|unable to look up|connection (refused|timed out|reset)|failed to connect|unable to connect|"
    r"network is unreachable|no route to host|early eof|remote end hung up|operation too slow|"
    r"the requested URL returned error: 5"
)
_NO_LOGIN = re.compile(r"(?i)could not read Username|authentication failed|terminal prompts disabled|permission denied")
_MISSING = re.compile(r"(?i)not found|no such repository|does not appear to be a git repository|not exported")


def _reason(source: RepositorySource, errors: str) -> Failed | Unavailable:
    """git's complaint as one of ours."""
    complaint = errors.partition("warning: Clone succeeded, but checkout failed")[0]  # then come hints for people
    lines = [line.removeprefix("fatal: ").removeprefix("error: ") for line in complaint.splitlines() if line.strip()]
    said = re.sub(r"(?<=://)[^/@\s]+@", "", "; ".join(lines[-3:])) or "it said nothing"
    if _UNREACHABLE.search(errors):
        return GitUnavailable(f"The server of {source} cannot be reached: {said}")
    if "Remote branch" in errors or "couldn't find remote ref" in errors:
        return GitFailed(f"{source} has no branch {source.branch or 'that git could choose'}")
    if _NO_LOGIN.search(errors):
        return GitFailed(f"{source} wants a login, or does not exist: {said}")
    if _MISSING.search(errors):
        return GitFailed(f"There is no git repository at {source}: {said}")
    return GitFailed(f"git failed on {source}: {said}")


def _environment() -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
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


def _confine() -> None:
    """In the child, before git begins: die with the daemon, write no file beyond the limit."""
    die_with_daemon()
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
