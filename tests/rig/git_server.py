"""Add-on repositories behind a real git server: ``git daemon`` on a loopback port."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from tests.rig.files import write_files
from tests.rig.service_process import ServiceProcess, free_port

BRANCH = "main"
IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Rig",
    "GIT_AUTHOR_EMAIL": "rig@example.com",
    "GIT_COMMITTER_NAME": "Rig",
    "GIT_COMMITTER_EMAIL": "rig@example.com",
}


def git(*arguments: str | Path) -> str:
    """The output of ``git ARGUMENTS…``, run as nobody in particular. Raises :class:`RuntimeError` when it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, env=os.environ | IDENTITY)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout.strip()


@frozen
class GitRepository:
    """A repository on the server and the working copy of the person who writes it."""

    url: str
    """What a user adds to the store."""
    folder: Path
    """The working copy."""

    def write(self, files: Mapping[str, str]) -> None:
        """Put texts into the working copy; a text that begins with ``#!`` becomes executable."""
        write_files(self.folder, files)

    def delete(self, name: str) -> None:
        """Take a file or folder out of the working copy."""
        path = self.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def push(self, message: str = "Change", *, force: bool = False) -> str:
        """Commit the working copy as it is, and push it. The commit's id."""
        git("-C", self.folder, "add", "--all")
        git("-C", self.folder, "commit", "--quiet", "--allow-empty", "--message", message)
        git("-C", self.folder, "push", "--quiet", *(["--force"] if force else []), "origin", BRANCH)
        return git("-C", self.folder, "rev-parse", "HEAD")

    def rewrite(self, message: str = "Rewrite") -> str:
        """Push the working copy as a new history that shares no commit with the old one. The commit's id."""
        git("-C", self.folder, "update-ref", "-d", "HEAD")
        return self.push(message, force=True)


@frozen
class GitServer:
    """A git server that exports every repository below its folder."""

    port: int
    served: Path
    written: Path
    firsts: Path
    """The first repository of those with the same files, as it was made."""
    _first_names: dict[frozenset[tuple[str, str]], str] = field(factory=dict)

    def repository(self, name: str, files: Mapping[str, str]) -> GitRepository:
        """A new repository with ``files`` as its first commit: made by git the first time, a copy of that later."""
        bare, folder = self.served / f"{name}.git", self.written / name
        repository = GitRepository(f"git://127.0.0.1:{self.port}/{name}.git", folder)
        first = self._first_names.setdefault(frozenset(files.items()), name)
        if first != name:
            shutil.copytree(self.firsts / first / "bare", bare, symlinks=True)
            shutil.copytree(self.firsts / first / "folder", folder, symlinks=True)
            configuration = folder / ".git" / "config"
            configuration.write_text(configuration.read_text().replace(f"/{first}.git\n", f"/{name}.git\n"))
            return repository
        git("init", "--quiet", "--bare", "--initial-branch", BRANCH, bare)
        git("init", "--quiet", "--initial-branch", BRANCH, folder)
        git("-C", folder, "remote", "add", "origin", bare)
        repository.write(files)
        repository.push("Begin")
        shutil.copytree(bare, self.firsts / name / "bare", symlinks=True)
        shutil.copytree(folder, self.firsts / name / "folder", symlinks=True)
        return repository


@contextmanager
def serve_git(folder: Path) -> Iterator[GitServer]:
    """A git server of its own that keeps its repositories below ``folder``."""
    server = GitServer(free_port(), folder / "served", folder / "written", folder / "firsts")
    server.served.mkdir()
    server.written.mkdir()
    command = [
        f"{git('--exec-path')}/git-daemon",
        "--export-all",
        "--reuseaddr",
        "--informative-errors",
        "--listen=127.0.0.1",
        f"--port={server.port}",
        f"--base-path={server.served}",
        str(server.served),
    ]
    with ServiceProcess(command, port=server.port, log=folder / "log"):
        yield server
