"""The life of a container on the real engine."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rooftree.errors import Conflict
from rooftree.interfaces.containers import (
    ContainerNotFound,
    ContainerNotRunning,
    ContainerSpec,
    ContainerStatus,
    DataPath,
    EngineRefused,
    EngineUnavailable,
    Health,
    HostPath,
    ImageNotFound,
    Mount,
    Port,
    PortConflict,
)
from rooftree_docker.engine import DockerEngine
from tests.e2e.docker.conftest import MakeDriver
from tests.rig.engine import Engine
from tests.rig.service_process import free_port
from tests.rig.waiting import until

pytestmark = pytest.mark.docker

type MakeSpec = Callable[..., ContainerSpec]


async def ended(driver: DockerEngine, name: str = "app_test") -> int:
    """Wait for a container's end; its exit code."""

    async def exit_code() -> tuple[int] | None:
        container = await driver.container(name)
        return None if container is None or container.exit_code is None else (container.exit_code,)

    found = await until(exit_code, within_s=10, what=f"the end of {name}")
    assert found is not None
    return found[0]


async def test_container_lives_from_created_to_gone(driver: DockerEngine, spec: MakeSpec) -> None:
    container_id = await driver.create(spec(labels={"version": "1"}, environment={"WHO": "me"}))
    created = await driver.container("app_test")
    await driver.start("app_test")
    await driver.start("app_test")  # nothing to do
    running = await driver.container("app_test")
    await driver.stop("app_test", 2)
    await driver.stop("app_test", 2)
    stopped = await driver.container("app_test")
    await driver.remove("app_test")
    await driver.remove("app_test")

    assert created is not None and created.status is ContainerStatus.CREATED
    assert (created.id, created.labels["version"], created.started_at) == (container_id, "1", None)
    assert running is not None and running.status is ContainerStatus.RUNNING
    assert running.health is Health.NONE and running.exit_code is None and running.started_at is not None
    assert stopped is not None and stopped.status is ContainerStatus.EXITED
    assert stopped.exit_code == 143 and stopped.ip_address is None
    assert await driver.container("app_test") is None


async def test_container_is_on_the_add_on_network_only_and_reached_by_its_host_name(
    driver: DockerEngine, engine: Engine, spec: MakeSpec, prefix: str
) -> None:
    network = await driver.network()
    await driver.create(spec(hostname="local-test"))
    await driver.create(spec(name="app_other"))
    await driver.start("app_test")
    await driver.start("app_other")

    found = await driver.container("app_test")
    looked_up = await driver.execute("app_other", ["nslookup", "local-test", "127.0.0.11"])
    networks = engine.run(
        "inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", f"{prefix}app_test"
    )

    assert found is not None and found.ip_address is not None
    assert found.ip_address.encode() in looked_up.output
    assert networks.split() == [network.name]


async def test_mounts_show_the_data_folder_and_dev_still_opens_terminals(
    driver: DockerEngine, spec: MakeSpec, data_dir: Path
) -> None:
    (data_dir / "apps" / "data" / "test").mkdir(parents=True)
    (data_dir / "ssl").mkdir()
    mounts = (
        Mount(DataPath("apps/data/test"), "/data", propagation="rslave"),
        Mount(DataPath("ssl"), "/ssl", read_only=True),
        Mount(HostPath("/dev"), "/dev", read_only=True, recursive=False),
    )
    script = "echo written > /data/file; touch /ssl/x && exit 1; : <> /dev/ptmx || exit 2; exit 0"
    await driver.create(spec(script, mounts=mounts))

    await driver.start("app_test")

    assert await ended(driver) == 0
    assert (data_dir / "apps" / "data" / "test" / "file").read_text() == "written\n"


async def test_folder_that_does_not_exist_is_an_error_and_is_not_made(
    driver: DockerEngine, spec: MakeSpec, data_dir: Path
) -> None:
    with pytest.raises(EngineRefused, match="bind source path does not exist"):
        await driver.create(spec(mounts=(Mount(DataPath("missing"), "/data"),)))

    assert not (data_dir / "missing").exists()


async def test_one_of_ours_is_replaced_even_while_it_runs(driver: DockerEngine, spec: MakeSpec) -> None:
    first = await driver.create(spec())
    await driver.start("app_test")

    second = await driver.create(spec("exit 5"))
    await driver.start("app_test")

    assert first != second
    assert await ended(driver) == 5
    assert len(await driver.containers()) == 1


async def test_strangers_container_of_the_name_is_left_alone(
    driver: DockerEngine, engine: Engine, spec: MakeSpec, prefix: str, base_image: str
) -> None:
    name = f"{prefix}app_test"
    stranger = engine.run(
        "run", "-d", "--name", name, "--label", "io.rooftree.instance=other", base_image, "sleep", "60"
    )
    try:
        with pytest.raises(Conflict, match="docker rm"):
            await driver.create(spec())
        await driver.stop("app_test", 1)
        await driver.remove("app_test")
        with pytest.raises(ContainerNotFound):
            await driver.start("app_test")

        assert await driver.container("app_test") is None
        assert await driver.containers() == []
        assert engine.run("inspect", "-f", "{{.State.Running}}", stranger) == "true"
    finally:
        engine.run("rm", "-f", stranger)


async def test_two_instances_do_not_see_each_other(make_driver: MakeDriver, engine: Engine, spec: MakeSpec) -> None:
    mine = make_driver()
    other = make_driver(instance_id="another", prefix="rtother_")
    await mine.create(spec(network="host"))

    assert await other.containers() == []
    assert [container.name for container in await mine.containers()] == ["app_test"]


async def test_port_that_is_taken_is_named(driver: DockerEngine, spec: MakeSpec) -> None:
    free = free_port()
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        await driver.create(spec(ports=(Port(80, free), Port(81, port))))

        with pytest.raises(PortConflict, match=f"Port {port} ") as refused:
            await driver.start("app_test")

    assert refused.value.extra_fields["port"] == port


async def test_port_of_another_container_is_named(driver: DockerEngine, spec: MakeSpec) -> None:
    port = free_port()
    await driver.create(spec(name="app_first", ports=(Port(80, port),)))
    await driver.create(spec(ports=(Port(80, port),)))
    await driver.start("app_first")

    with pytest.raises(PortConflict, match=f"Port {port} "):
        await driver.start("app_test")


async def test_missing_image_is_told_apart(driver: DockerEngine, spec: MakeSpec) -> None:
    with pytest.raises(ImageNotFound, match="no image nobody/has-this:1"):
        await driver.create(spec(image="nobody/has-this:1"))


async def test_program_that_is_not_in_the_image_is_the_engines_own_sentence(
    driver: DockerEngine, spec: MakeSpec
) -> None:
    await driver.create(spec(command=("/no/such/program",), init=False))

    with pytest.raises(EngineRefused, match="no such file"):
        await driver.start("app_test")


async def test_command_inside_answers_with_output_and_exit_code(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec())
    await driver.start("app_test")

    result = await driver.execute("app_test", ["sh", "-c", "echo out; echo err >&2; exit 7"])

    assert result.exit_code == 7
    assert sorted(result.output.split()) == [b"err", b"out"]


async def test_standard_input_arrives_whole(driver: DockerEngine, spec: MakeSpec) -> None:
    first, last = b"line\n" * 100_000, b"last\n"
    await driver.create(spec("head -n 100001 | sha256sum", stdin=True))
    await driver.start("app_test")

    await driver.write_stdin("app_test", first)
    await driver.write_stdin("app_test", last)

    assert await ended(driver) == 0
    (line,) = [line async for line in driver.logs("app_test")]
    assert line.text.split()[0].decode() == hashlib.sha256(first + last).hexdigest()


async def test_calls_that_need_a_running_container_say_so(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec(stdin=True))

    for call in (
        driver.execute("app_test", ["true"]),
        driver.write_stdin("app_test", b"x"),
        driver.stats("app_test"),
    ):
        with pytest.raises(ContainerNotRunning, match="does not run"):
            await call


async def test_busy_container_shows_its_use_of_the_machine(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec("while :; do :; done"))
    await driver.start("app_test")

    stats = await driver.stats("app_test")

    assert 2 < stats.cpu_percent <= 100
    assert 0 < stats.memory_usage < stats.memory_limit
    assert stats.blk_read >= 0


async def test_health_check_and_variables_of_an_image_are_shown(
    driver: DockerEngine, engine: Engine, spec: MakeSpec, base_image: str
) -> None:
    image = f"{base_image}-health"
    dockerfile = f"FROM {base_image}\nENV GRACE=a=b\nHEALTHCHECK --interval=1s --timeout=5s CMD true\n"
    engine.run("build", "-q", "-t", image, "-", data=dockerfile.encode())
    try:
        found = await driver.image(image)
        await driver.create(spec(image=image))
        await driver.start("app_test")

        async def healthy() -> bool:
            container = await driver.container("app_test")
            return container is not None and container.health is Health.HEALTHY

        assert found is not None and found.has_health_check
        assert found.environment["GRACE"] == "a=b"
        await until(healthy, within_s=15, what="a good health check")
        await driver.remove("app_test")
    finally:
        engine.run("rmi", "-f", image)


async def test_engine_describes_itself(driver: DockerEngine) -> None:
    info = await driver.info()

    assert driver.available
    assert info.architecture in {"amd64", "aarch64"}
    assert info.cgroup in {"1", "2"}
    assert info.version and info.api_version and info.storage and info.logging and info.root_dir


async def test_nothing_stays_open_when_the_driver_is_closed(driver: DockerEngine, spec: MakeSpec) -> None:
    await driver.create(spec("trap '' TERM; echo up; while :; do sleep 1; done", init=False))
    await driver.start("app_test")
    before = asyncio.all_tasks()

    async def follow() -> None:
        async for _ in driver.logs("app_test", follow=True):
            followed.set()

    followed = asyncio.Event()
    following = asyncio.create_task(follow())
    async with asyncio.timeout(5):
        await followed.wait()
    stopping = asyncio.create_task(driver.stop("app_test", 60))
    await asyncio.sleep(0)

    await driver.close()
    await asyncio.wait([following, stopping], timeout=5)

    assert isinstance(following.exception(), EngineUnavailable)
    assert isinstance(stopping.exception(), EngineUnavailable)
    assert asyncio.all_tasks() <= before


async def test_container_that_somebody_renamed_is_still_ours(
    driver: DockerEngine, engine: Engine, prefix: str, spec: Callable[..., ContainerSpec]
) -> None:
    created = await driver.create(spec())
    await driver.start("app_test")
    engine.run("rename", f"{prefix}app_test", f"{prefix}else")
    try:
        found = await driver.container("app_test")
        listed = [container.name for container in await driver.containers()]
        await driver.stop("app_test", 1)
        stopped = await driver.container("app_test")
        again = await driver.create(spec())

        assert found is not None and (found.id, found.status) == (created, ContainerStatus.RUNNING)
        assert listed == ["app_test"]
        assert stopped is not None and stopped.status is ContainerStatus.EXITED
        assert again != created
        assert [container.id for container in await driver.containers()] == [again]
    finally:
        await driver.remove("app_test")
