"""Hooks: everybody's answer, and nobody's failure but their own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rooftree import Kernel, Plugin, Unavailable, hookimpl, hookspec
from rooftree.interfaces import hooks as rooftrees
from rooftree.plugins import hooks
from rooftree.plugins.hooks import HookNameUnknown, Hooks
from rooftree.plugins.life import Health
from rooftree.testing import running_system
from tests.kernel import hooks_under_test
from tests.kernel.hooks_under_test import greeting, number
from tests.kernel.plugins_under_test import Fine


class Polite:
    @hookimpl
    def greeting(self, name: str) -> str:
        return f"Good day, {name}"


class Slow:
    @hookimpl
    async def greeting(self, name: str) -> str:
        await asyncio.sleep(0)
        return f"Hello {name}"


class Silent:
    @hookimpl
    def greeting(self) -> None:  # takes fewer arguments, as pluggy allows
        return None


class Broken:
    @hookimpl
    def greeting(self, name: str) -> str:
        raise RuntimeError("a bug")


class BrokenLater:
    @hookimpl
    async def greeting(self, name: str) -> str:
        await asyncio.sleep(0)
        raise LookupError("not any more")


class Hanging:
    @hookimpl
    async def greeting(self, name: str) -> str:
        await asyncio.Event().wait()
        return "never"


def made(*plugins: Any) -> tuple[Hooks, list[tuple[str, str, str]]]:
    failures: list[tuple[str, str, str]] = []
    registry = Hooks(
        [hooks_under_test], lambda plugin, hook, error: failures.append((plugin, hook, type(error).__name__))
    )
    for plugin in plugins:
        registry.register(plugin, type(plugin).__name__)
    return registry, failures


async def test_answers_come_in_the_order_of_the_plugins_names_without_the_silent() -> None:
    registry, failures = made(Slow(), Silent(), Polite())

    assert await registry.call(greeting, "Ada") == ["Good day, Ada", "Hello Ada"]
    assert await registry.call(greeting, name="Ada") == ["Good day, Ada", "Hello Ada"]
    assert failures == []


async def test_hook_that_nobody_implements_has_no_answers() -> None:
    registry, _ = made(Polite())

    assert await registry.call(number) == []


async def test_failing_and_hanging_implementations_are_recorded_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "DEADLINE_S", 0.02)
    registry, failures = made(Broken(), Polite(), Hanging(), BrokenLater(), Slow())

    assert await registry.call(greeting, "Ada") == ["Good day, Ada", "Hello Ada"]
    assert sorted(failures) == [
        ("Broken", "greeting", "RuntimeError"),
        ("BrokenLater", "greeting", "LookupError"),
        ("Hanging", "greeting", "TimeoutError"),
    ]


async def test_unregistered_plugin_is_not_asked_any_more() -> None:
    registry, _ = made(Slow(), Polite())

    registry.unregister("Slow")
    registry.unregister("Slow")

    assert await registry.call(greeting, "Ada") == ["Good day, Ada"]


async def test_misspelt_hook_is_refused_and_leaves_nothing_behind() -> None:
    class Misspelt:
        @hookimpl
        def greating(self, name: str) -> str:
            return name

        @hookimpl
        def number(self) -> int:
            return 5

    registry, _ = made()

    with pytest.raises(HookNameUnknown, match="greating"):
        registry.refuse_misspelt(Misspelt)

    assert await registry.call(number) == []


async def test_calls_with_wrong_arguments_are_refused() -> None:
    registry, _ = made(Polite())

    with pytest.raises(TypeError):
        await registry.call(greeting)  # type: ignore[call-arg]


async def test_calls_are_traced_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ROOFTREE_TRACE_HOOKS", "1")
    registry, _ = made(Polite())

    await registry.call(greeting, "Ada")

    assert "Good day, Ada" in caplog.text


@pytest.mark.parametrize(("parameters", "sentence"), [("misspelt", "greating"), ("arguments", "surname")])
async def test_plugin_whose_hook_does_not_fit_is_failed_with_the_reason(
    tmp_path: Path, parameters: str, sentence: str
) -> None:
    class Misspelt(Plugin):
        name = "misspelt"

        @hookimpl
        def greating(self, name: str) -> str:
            return name

    class Arguments(Plugin):
        name = "arguments"

        @hookimpl
        def greeting(self, surname: str) -> str:
            return surname

    class Fitting(Plugin):
        name = "fitting"

        @hookimpl
        def greeting(self, name: str) -> str:
            return name

    plugin = {"misspelt": Misspelt, "arguments": Arguments}[parameters]
    async with running_system(tmp_path, plugins=[Fine, plugin, Fitting], allow={"plugin_failed"}) as system:
        infos = {info.name: info for info in system.plugins}

        assert infos[parameters].state is Health.FAILED
        assert sentence in (infos[parameters].reason or "")
        assert await system.hooks.call(greeting, "Ada") == ["Ada"]


async def test_failure_in_a_hook_is_a_problem_of_its_plugin(tmp_path: Path) -> None:
    class Failing(Plugin):
        name = "failing"

        @hookimpl
        def greeting(self, name: str) -> str:
            raise RuntimeError("a bug")

    async with running_system(tmp_path, plugins=[Fine, Failing], allow={"hook_failed"}) as system:
        assert await system.hooks.call(greeting, "Ada") == []

        (problem,) = system.problems
        assert (problem.type, problem.reference) == ("hook_failed", "failing.greeting")
        assert "a bug" in problem.message


async def test_problem_of_a_hook_ends_when_it_answers_again(tmp_path: Path) -> None:
    class Moody(Plugin):
        name = "moody"
        fails = True

        @hookimpl
        def greeting(self, name: str) -> str:
            if Moody.fails:
                raise RuntimeError("a bug")
            return "better"

    async with running_system(tmp_path, plugins=[Fine, Moody], allow={"hook_failed"}) as system:
        assert await system.hooks.call(greeting, "Ada") == []
        Moody.fails = False

        assert await system.hooks.call(greeting, "Ada") == ["better"]
        assert list(system.problems) == []


async def test_what_a_hook_lacks_just_now_is_no_failure_of_its_plugin(tmp_path: Path) -> None:
    class Waiting(Plugin):
        name = "waiting"

        @hookimpl
        def greeting(self, name: str) -> str:
            raise Unavailable("The engine is away")

    async with running_system(tmp_path, plugins=[Fine, Waiting]) as system:
        assert await system.hooks.call(greeting, "Ada") == []

        assert list(system.problems) == []


@hookspec
def chime(hour: int) -> str:
    """What sounds at the full hour."""
    raise NotImplementedError


class Bells(Plugin):
    name = "bells"
    hooks = (chime,)

    async def setup(self, kernel: Kernel) -> None:
        self.kernel = kernel


class Gong(Plugin):
    """Is loaded before the plugin whose hook it answers."""

    name = "a-gong"

    @hookimpl
    def chime(self, hour: int) -> str:
        return "gong" * hour


async def test_plugin_asks_a_hook_of_its_own_and_another_answers_before_and_after_a_restart(tmp_path: Path) -> None:
    async with running_system(tmp_path, plugins=[Gong, Bells]) as system:
        assert await system.hooks.call(chime, 2) == ["gonggong"]

        await system.plugins.restart("bells")

        assert await system.hooks.call(chime, 1) == ["gong"]


async def test_answer_to_a_hook_that_nobody_has_fails_its_plugin_unless_it_is_optional(tmp_path: Path) -> None:
    class Careful(Plugin):
        name = "careful"

        @hookimpl(optionalhook=True)
        def chime(self) -> str:
            return "ding"

    async with running_system(tmp_path, plugins=[Gong, Careful], allow={"plugin_failed"}) as system:
        assert "a hook that nobody specifies" in (system.plugins.info("a-gong").reason or "")
        assert system.plugins.info("careful").state is Health.OK


@pytest.mark.parametrize(
    ("specifications", "reason"),
    [
        ((len,), "TypeError: hooks: len is no hook: mark the function @hookspec"),
        ((rooftrees.info,), "ValueError: hooks: info is a hook of Rooftree already; give yours another name"),
        ((chime,), "ValueError: hooks: chime is a hook of bells already; give yours another name"),
    ],
)
async def test_hook_that_somebody_has_or_that_is_none_fails_the_newcomer(
    tmp_path: Path, specifications: tuple[Any, ...], reason: str
) -> None:
    newcomer = type("Newcomer", (Plugin,), {"name": "newcomer", "hooks": specifications})

    async with running_system(tmp_path, plugins=[Bells, newcomer], allow={"plugin_failed"}) as system:
        assert (system.plugins.info("newcomer").reason or "").startswith(reason)
