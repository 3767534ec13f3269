"""The rig itself: what the other end-to-end tests stand on must not be what fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig.core_image import CoreImages
from tests.rig.core_process import CoreSteering
from tests.rig.daemon import Daemon
from tests.rig.engine import CHECKOUT, INSTANCE_LABEL, Engine
from tests.rig.fork_server import forked
from tests.rig.git_server import GitServer, git
from tests.rig.own_engine import own_engine
from tests.rig.registry import Registry
from tests.rig.service_process import ServiceProcess, free_port, listens
from tests.rig.waiting import wait_until


def test_base_image_runs_without_any_registry(engine: Engine, base_image: str) -> None:
    assert engine.run("run", "--rm", base_image, "sh", "-c", "echo $((6 * 7))") == "42"


def test_published_image_is_fetched_from_the_registry(engine: Engine, registry: Registry) -> None:
    image = registry.publish(
        "rig/hello", "1.0", "FROM base\nCOPY hello /hello\nCMD /hello", {"hello": "#!/bin/sh\necho hi"}
    )
    assert engine.run("images", "--quiet", image) == ""

    engine.run("pull", "--quiet", image)

    assert engine.run("run", "--rm", image) == "hi"
    engine.remove_images(f"{registry.address}/rig/hello")
    assert engine.run("images", "--quiet", image) == ""


def test_image_that_is_written_without_the_engine_is_what_the_engine_builds(engine: Engine, registry: Registry) -> None:
    dockerfile = (
        "FROM base\nENV A=1 B='two words'\nENV A=3\nLABEL x=1 io.example=\"y z\"\nWORKDIR /work/here\n"
        'COPY run.sh /run.sh\nCOPY run.sh text /etc/\nENTRYPOINT ["/run.sh"]\n'
        "HEALTHCHECK --interval=2s --timeout=3s --start-period=60s --retries=4 CMD test -e /x\n"
    )
    files = {
        "run.sh": "#!/bin/sh\nfind /run.sh /etc /work -exec stat -c '%n %a %s %F' {} + | sort; env",
        "text": "words",
    }
    written = registry.publish("rig/written", "1", f'{dockerfile}CMD ["a"]\n', files)
    built = registry.publish("rig/built", "1", f'{dockerfile}RUN true\nCMD ["a"]\n', files)
    keys = ("Env", "Cmd", "Entrypoint", "Labels", "WorkingDir", "Healthcheck", "User", "ExposedPorts", "Volumes")

    shown = []
    for image in (written, built):
        engine.run("pull", "--quiet", image)
        config = json.loads(engine.run("inspect", "--format", "{{json .Config}}", image))
        shown.append(({key: config.get(key) for key in keys}, engine.run("run", "--rm", "--hostname", "x", image)))
        engine.remove_images(image)

    assert shown[0] == shown[1]


async def test_stand_in_for_core_runs_in_a_container_and_can_be_broken(
    engine: Engine, cores: CoreImages, tmp_path: Path
) -> None:
    core = CoreSteering(free_port())
    (tmp_path / "stand-in.json").write_text(json.dumps({"port": core.port}))
    good, broken = cores.publish("2026.10.1", reports=False), cores.publish("2026.11.0", crashes=7)
    shared = ["--volume", f"{tmp_path}:/config"]
    container = engine.run("run", "--detach", "--network", "host", *shared, good)
    try:
        wait_until(lambda: listens(core.port), within_s=20, what="the stand-in for Core")
        await core.end(0)

        assert (tmp_path / ".HA_VERSION").read_text() == "2026.10.1"
        assert engine.run("wait", container) == "0"
        with pytest.raises(RuntimeError):
            engine.run("run", "--rm", "--network", "host", *shared, broken)
        check = [
            "--rm",
            "--entrypoint",
            "",
            *shared,
            good,
            "python3",
            "-m",
            "homeassistant",
            "--script",
            "check_config",
        ]
        assert "Testing configuration" in engine.run("run", *check, "--config", "/config")
        (tmp_path / "configuration.yaml").write_text("broken:\n")
        with pytest.raises(RuntimeError):
            engine.run("run", *check, "--config", "/config")
    finally:
        engine.run("rm", "--force", container)
        engine.remove_images(f"{cores.name}:")


def test_pushed_commit_reaches_a_clone(git_server: GitServer, tmp_path: Path) -> None:
    repository = git_server.repository("rig-push", {"repository.yaml": "name: First"})
    git("clone", "--quiet", "--depth", "1", repository.url, tmp_path / "clone")

    repository.write({"repository.yaml": "name: Second", "hello/config.yaml": "name: Hello"})
    commit = repository.push()
    git("-C", tmp_path / "clone", "pull", "--quiet")

    assert git("-C", tmp_path / "clone", "rev-parse", "HEAD") == commit
    assert (tmp_path / "clone/repository.yaml").read_text() == "name: Second"


def test_rewritten_history_shares_no_commit_with_the_old_one(git_server: GitServer, tmp_path: Path) -> None:
    repository = git_server.repository("rig-rewrite", {"repository.yaml": "name: Old"})
    git("clone", "--quiet", repository.url, tmp_path / "clone")

    repository.write({"repository.yaml": "name: New"})
    commit = repository.rewrite()

    git("-C", tmp_path / "clone", "fetch", "--quiet", "--depth", "1", "origin")
    assert git("-C", tmp_path / "clone", "rev-parse", "FETCH_HEAD") == commit
    with pytest.raises(RuntimeError):
        git("-C", tmp_path / "clone", "merge-base", "HEAD", "FETCH_HEAD")


def test_removing_an_instance_leaves_strangers_alone(engine: Engine, base_image: str) -> None:
    def labelled(instance: str) -> list[str]:
        return ["--label", f"{INSTANCE_LABEL}={instance}"]

    ours, theirs = f"rig-{os.getpid()}-ours", f"rig-{os.getpid()}-theirs"
    for instance in (ours, theirs):
        engine.run("create", *labelled(instance), base_image)
        engine.run("volume", "create", *labelled(instance), instance)
    try:
        engine.remove_instance(ours)

        assert engine.leftovers(ours) == []
        assert [line.split()[0] for line in engine.leftovers(theirs)] == ["container", "volume"]
    finally:
        engine.remove_instance(theirs)


def test_server_is_gone_after_its_block(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with ServiceProcess(command, port=port, log=tmp_path / "log") as server:
        assert listens(port)

    assert not listens(port)
    assert server.process.returncode == -signal.SIGTERM


def test_server_ends_with_who_started_it(tmp_path: Path) -> None:
    port = free_port()
    code = f"""
import os, sys
from pathlib import Path
from tests.rig.service_process import ServiceProcess
command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
with ServiceProcess(command, port={port}, log=Path({str(tmp_path / "log")!r})):
    os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False)

    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: not listens(port), within_s=10, what="the server's end")


async def test_forked_program_is_as_it_would_be_after_python_m(tmp_path: Path) -> None:
    """``json.tool`` is a program with arguments, standard input and output, and an exit status."""
    async with forked("json.tool", "--compact") as tool:
        tool.stdin.write(b'{"a": 1}')
        assert await tool.communicate() == (b'{"a":1}\n', None)
        assert tool.returncode == 0
    with (tmp_path / "errors").open("wb") as errors:
        async with forked("json.tool", "--nothing", stderr=errors.fileno()) as tool:
            assert await tool.communicate() == (b"", None)
    assert tool.returncode == 2
    assert b"unrecognized arguments: --nothing" in (tmp_path / "errors").read_bytes()


async def test_forked_program_ends_with_its_block() -> None:
    async with forked("json.tool") as tool:
        assert tool.returncode is None

    assert tool.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{tool.pid}").exists()


def test_forked_program_ends_with_who_wanted_it() -> None:
    code = """
import asyncio, os
from tests.rig.fork_server import forked
async def main():
    async with forked("json.tool") as tool:
        print(tool.pid, flush=True)
        os.kill(os.getpid(), 9)
asyncio.run(main())
"""
    killed = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)

    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: not Path(f"/proc/{int(killed.stdout)}").exists(), within_s=10, what="the program's end")


def test_server_that_ends_at_once_is_reported_with_its_words(tmp_path: Path) -> None:
    server = ServiceProcess(["sh", "-c", "echo no disk; exit 3"], port=free_port(), log=tmp_path / "log")

    with pytest.raises(RuntimeError, match="ended with 3:\nno disk"), server:
        pass


def test_engine_of_our_own_comes_and_goes_without_a_trace_on_the_machine(engine: Engine, base_image: str) -> None:
    def interfaces() -> set[tuple[str, str]]:
        return {(path.name, (path / "ifindex").read_text()) for path in Path("/sys/class/net").glob("docker*")}

    before = interfaces()
    with own_engine(engine.free_subnet()) as own:
        own.take(base_image, engine)
        said = own.run("run", "--rm", base_image, "echo", "hi")
        ours = own.folder
        while_it_runs = interfaces()

    assert said == "hi"
    assert interfaces() == while_it_runs == before
    assert not ours.exists()


@pytest.mark.parametrize("by_command", [True, False], ids=["by command", "forked"])
async def test_daemon_answers_again_after_it_was_killed(daemon: Daemon, by_command: bool) -> None:
    daemon.by_command = by_command
    await daemon.start()
    first = daemon.instance

    await daemon.kill()
    await daemon.start()

    assert daemon.instance == first
    assert (await daemon.call("GET", "/supervisor/ping"))[0] == 200
    assert await daemon.stop() == 0


async def test_forked_daemon_is_like_one_by_command(daemon: Daemon) -> None:
    daemon.environment = {"ROOFTREE_LOG_FORMAT": "json", "TZ": "Asia/Tokyo"}
    seen = []
    for daemon.by_command in (True, False):
        await daemon.start()
        process = Path("/proc", str(daemon.pid))
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        session = os.getsid(daemon.pid) == os.getpgid(daemon.pid) == daemon.pid
        files = sorted(str((process / "fd" / str(number)).readlink()) for number in range(3))
        limits = (process / "limits").read_text()
        masks = [status[name] for name in ("SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "CapEff", "Umask")]
        seen.append((session, files, limits, masks, (process / "cwd").readlink()))
        await daemon.stop()

    assert seen[0] == seen[1]
    assert daemon.log().count('"event": "stopped"') == 2


async def test_failpoint_ends_the_forked_daemon_it_is_armed_for_and_no_other(daemon: Daemon) -> None:
    with pytest.raises(RuntimeError, match="ended instead of starting"):
        await daemon.start(failpoints="database.after_commit=kill")
    assert await daemon.ended() == -signal.SIGKILL

    await daemon.start()

    assert await daemon.stop() == 0


FORKS_AND_DIES = """
import os, sys, time
from tests.rig.fork_server import fork
with open(sys.argv[2], "wb") as output:
    arguments = "tests.rig.rooftree_command", "run", "--config", sys.argv[1]
    daemon = fork(*arguments, environment=os.environ, output=output.fileno())
print(daemon.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_daemon_ends_with_the_process_that_wanted_it_however_that_ends(daemon: Daemon) -> None:
    command = [sys.executable, "-c", FORKS_AND_DIES, daemon.settings, daemon.folder / "log"]
    dead = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert dead.returncode == -signal.SIGKILL
    wait_until(lambda: not Path("/proc", dead.stdout.strip()).exists(), within_s=10, what="the daemon's end")
