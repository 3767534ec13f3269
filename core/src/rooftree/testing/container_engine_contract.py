"""What every container engine promises, as tests: for the fake here, and for each driver on its real engine.

Derive a class from :class:`ContainerEngineContract` and give it a fixture ``world``, in which the engine has nothing of
this instance yet::

    class TestMyDriver(ContainerEngineContract):
        @pytest.fixture
        async def world(self) -> AsyncIterator[World]: ...

It needs pytest and pytest-asyncio in auto mode.
"""

# ruff: noqa: D102  # a test's name says what it is about

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from rooftree.errors import Conflict
from rooftree.interfaces.containers import (
    Container,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerStatus,
    DataPath,
    EngineRefused,
    EngineUnavailable,
    Health,
    ImageNotFound,
    Mount,
    Port,
    PortConflict,
)
from rooftree.testing.container_engine_world import NAME, PAUSE_S, WITHIN_S, Program, World
from rooftree.testing.container_images_contract import ContainerImagesContract


async def _shown(world: World, name: str = NAME) -> Container:
    container = await world.engine.container(name)
    assert container is not None, f"there is no container {name}"
    return container


async def _ended(world: World) -> Container:
    async with asyncio.timeout(WITHIN_S):
        while True:
            container = await _shown(world)
            if container.status is ContainerStatus.EXITED:
                return container
            await asyncio.sleep(PAUSE_S)


async def _written(world: World, count: int, **options: Any) -> list[bytes]:
    async with asyncio.timeout(WITHIN_S):
        while True:
            lines = [line.text async for line in world.engine.logs(NAME, **options)]
            if len(lines) >= count:
                return lines
            await asyncio.sleep(PAUSE_S)


class ContainerEngineContract(ContainerImagesContract):
    """The promises of :class:`~rooftree.interfaces.containers.ContainerEngine`."""

    # --- the engine itself ------------------------------------------------------------------------------------------

    async def test_engine_says_what_it_is(self, world: World) -> None:
        info = await world.engine.info()

        assert world.engine.available
        assert info.version
        assert info.architecture in {"amd64", "aarch64", "armv7", "armhf", "i386"}
        assert info.cgroup in {"1", "2"}

    async def test_network_has_a_place_for_the_gateway_and_for_us(self, world: World) -> None:
        network = await world.engine.network()

        assert IPv4Address(network.gateway) in IPv4Network(network.subnet)
        assert IPv4Address(network.supervisor) in IPv4Network(network.subnet)

    async def test_place_of_a_folder_on_the_host_ends_as_it_does_here(self, world: World) -> None:
        place = await world.engine.host_path(DataPath("mounts/films"))

        assert place.path.endswith("/mounts/films")

    async def test_engine_that_went_away_is_unavailable_until_it_is_back(self, world: World) -> None:
        await world.engine.create(world.spec())
        await world.engine.start(NAME)

        await world.go_away()
        with pytest.raises(EngineUnavailable):
            await world.engine.containers()
        available_meanwhile = world.engine.available
        await world.come_back()

        assert not available_meanwhile
        assert world.engine.available
        assert (await _shown(world)).status is ContainerStatus.RUNNING

    # --- the life of a container ------------------------------------------------------------------------------------

    async def test_container_lives_from_created_to_gone(self, world: World) -> None:
        container_id = await world.engine.create(world.spec(labels={"io.example": "yes"}))
        created = await _shown(world)
        await world.engine.start(NAME)
        running = await _shown(world)
        await world.engine.stop(NAME, 1)
        ended = await _shown(world)
        await world.engine.remove(NAME)

        assert (created.id, created.name, created.status) == (container_id, NAME, ContainerStatus.CREATED)
        assert (created.labels["io.example"], created.exit_code, created.started_at) == ("yes", None, None)
        assert created.ip_address is None and not created.on_host_network
        assert (running.id, running.status, running.health) == (container_id, ContainerStatus.RUNNING, Health.NONE)
        assert running.exit_code is None
        assert running.started_at is not None
        assert abs(datetime.now(UTC) - running.started_at) < timedelta(minutes=5)
        assert running.ip_address is not None
        assert IPv4Address(running.ip_address) in IPv4Network((await world.engine.network()).subnet)
        assert (ended.status, ended.ip_address) == (ContainerStatus.EXITED, None)
        assert ended.exit_code
        assert await world.engine.container(NAME) is None
        assert await world.engine.containers() == []

    async def test_what_is_done_already_is_nothing_to_do(self, world: World) -> None:
        await world.engine.create(world.spec())
        await world.engine.start(NAME)
        first = await _shown(world)
        await world.engine.start(NAME)
        second = await _shown(world)
        await world.engine.stop(NAME, 1)
        await world.engine.stop(NAME, 1)
        await world.engine.remove(NAME)
        await world.engine.remove(NAME)
        await world.engine.stop(NAME, 1)

        assert first.started_at == second.started_at

    async def test_starting_what_is_not_there_says_so(self, world: World) -> None:
        with pytest.raises(ContainerNotFound):
            await world.engine.start(NAME)

    async def test_program_that_ends_leaves_its_exit_code(self, world: World) -> None:
        await world.engine.create(world.spec("exits with 5"))
        await world.engine.start(NAME)

        assert (await _ended(world)).exit_code == 5

    async def test_ended_container_is_started_again(self, world: World) -> None:
        container_id = await world.engine.create(world.spec())
        await world.engine.start(NAME)
        await world.engine.stop(NAME, 1)

        await world.engine.start(NAME)

        again = await _shown(world)
        assert (again.id, again.status, again.exit_code) == (container_id, ContainerStatus.RUNNING, None)

    async def test_one_of_ours_is_replaced_even_while_it_runs(self, world: World) -> None:
        first = await world.engine.create(world.spec())
        await world.engine.start(NAME)

        second = await world.engine.create(world.spec())

        assert first != second
        assert [(c.id, c.status) for c in await world.engine.containers()] == [(second, ContainerStatus.CREATED)]

    async def test_container_that_was_set_aside_is_nowhere_until_it_is_put_back(self, world: World) -> None:
        first = await world.engine.create(world.spec())
        await world.engine.start(NAME)
        await world.engine.stop(NAME, 1)

        await world.engine.set_aside(NAME)
        meanwhile = (await world.engine.container(NAME), await world.engine.containers())
        second = await world.engine.create(world.spec())
        await world.engine.start(NAME)
        beside = [container.id for container in await world.engine.containers()]
        done = [await world.engine.put_back(NAME) for _ in range(2)]
        back = await _shown(world)
        await world.engine.start(NAME)

        assert (meanwhile, beside, done) == ((None, []), [second], [True, False])
        assert (back.id, back.status) == (first, ContainerStatus.EXITED)
        assert (await _shown(world)).status is ContainerStatus.RUNNING

    @pytest.mark.parametrize("verb", ["drop_aside", "remove"])
    async def test_container_that_was_set_aside_goes_for_good(self, world: World, verb: str) -> None:
        for _ in range(2):  # of what is not there, nothing is to be done
            await getattr(world.engine, verb)(NAME)
            await world.engine.set_aside(NAME)
            await world.engine.create(world.spec())

        await getattr(world.engine, verb)(NAME)

        assert await world.engine.put_back(NAME) is False
        assert (await world.engine.container(NAME) is None) is (verb == "remove")

    async def test_strangers_container_of_the_name_is_left_alone(self, world: World) -> None:
        await world.add_stranger(NAME)

        with pytest.raises(Conflict):
            await world.engine.create(world.spec())
        with pytest.raises(ContainerNotFound):
            await world.engine.start(NAME)
        await world.engine.stop(NAME, 1)
        await world.engine.remove(NAME)

        assert await world.engine.container(NAME) is None
        assert await world.engine.containers() == []

    async def test_container_of_an_unknown_image_is_not_created(self, world: World) -> None:
        with pytest.raises(ImageNotFound):
            await world.engine.create(world.spec(image=world.unpublished))

        assert await world.engine.container(NAME) is None

    async def test_mounts_source_that_is_not_there_is_an_error(self, world: World) -> None:
        mount = Mount(DataPath("there/is/nothing"), "/data")

        with pytest.raises(EngineRefused, match="there/is/nothing"):
            await world.engine.create(world.spec(mounts=(mount,)))

        assert await world.engine.container(NAME) is None

    async def test_port_in_use_is_named_and_shown_by_who_has_it(self, world: World) -> None:
        ports = (Port(80, world.free_port), Port(53, world.free_port, "udp"))
        await world.engine.create(world.spec(ports=ports))
        await world.engine.create(world.spec(name="app_other", ports=ports))
        await world.engine.start(NAME)

        with pytest.raises(PortConflict) as refused:
            await world.engine.start("app_other")

        assert refused.value.extra_fields["port"] == world.free_port
        assert set((await _shown(world)).ports) == set(ports)

    # --- inside a container -----------------------------------------------------------------------------------------

    async def test_command_inside_answers_with_its_exit_code(self, world: World) -> None:
        await world.engine.create(world.spec())
        await world.engine.start(NAME)

        assert (await world.engine.execute(NAME, ["true"])).exit_code == 0
        assert (await world.engine.execute(NAME, ["false"])).exit_code == 1

    async def test_what_is_written_to_a_container_arrives(self, world: World) -> None:
        await world.engine.create(world.spec("echoes its input", stdin=True))
        await world.engine.start(NAME)

        await world.engine.write_stdin(NAME, b"hello\n")

        assert await _written(world, 1) == [b"hello"]

    async def test_container_without_standard_input_cannot_be_written_to(self, world: World) -> None:
        await world.engine.create(world.spec())
        await world.engine.start(NAME)

        with pytest.raises(Conflict):
            await world.engine.write_stdin(NAME, b"hello\n")

    async def test_reading_says_what_a_container_uses(self, world: World) -> None:
        await world.engine.create(world.spec())
        await world.engine.start(NAME)

        stats = await world.engine.stats(NAME)

        assert stats.memory_limit > 0
        assert 0 <= stats.memory_usage <= stats.memory_limit

    async def test_what_needs_a_running_container_says_so(self, world: World) -> None:
        await world.engine.create(world.spec(stdin=True))

        with pytest.raises(ContainerNotRunning):
            await world.engine.execute(NAME, ["true"])
        with pytest.raises(ContainerNotRunning):
            await world.engine.write_stdin(NAME, b"x")
        with pytest.raises(ContainerNotRunning):
            await world.engine.stats(NAME)

    # --- logs -------------------------------------------------------------------------------------------------------

    async def test_log_has_the_lines_in_order_and_the_last_ones_alone(self, world: World) -> None:
        await world.engine.create(world.spec("prints one two three"))
        await world.engine.start(NAME)

        whole = await _written(world, 3)
        last = await _written(world, 2, tail=2)

        assert whole == [b"one", b"two", b"three"]
        assert last == [b"two", b"three"]

    async def test_log_since_a_moment_has_only_what_came_later(self, world: World) -> None:
        await world.engine.create(world.spec("prints one two three"))
        await world.engine.start(NAME)
        await _written(world, 3)
        await world.engine.stop(NAME, 1)
        between = datetime.now(UTC)
        await world.engine.start(NAME)
        await _written(world, 6)

        assert await _written(world, 3, since=between) == [b"one", b"two", b"three"]

    async def test_followed_log_goes_on_until_the_container_ends(self, world: World) -> None:
        await world.engine.create(world.spec("echoes its input", stdin=True))
        await world.engine.start(NAME)
        seen = []

        async with asyncio.timeout(WITHIN_S):
            await world.engine.write_stdin(NAME, b"first\n")
            async for line in world.engine.logs(NAME, follow=True):
                seen.append(line.text)
                await world.engine.stop(NAME, 1)

        assert seen == [b"first"]

    async def test_log_of_nothing_says_so(self, world: World) -> None:
        with pytest.raises(ContainerNotFound):
            async for _ in world.engine.logs(NAME):
                pass

    # --- events -----------------------------------------------------------------------------------------------------

    async def test_start_end_and_removal_are_told(self, world: World) -> None:
        container_id = await world.engine.create(world.spec("exits with 5"))
        await world.engine.start(NAME)
        await world.changes(2)
        await world.engine.remove(NAME)

        changes = await world.changes(3)

        assert [change.action for change in changes] == ["start", "die", "destroy"]
        assert {(change.name, change.id) for change in changes} == {(NAME, container_id)}
        assert [change.exit_code for change in changes] == [None, 5, None]


__all__ = ["NAME", "ContainerEngineContract", "ContainerImagesContract", "Program", "World"]
