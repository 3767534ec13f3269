"""Who has a name, a route or a service that two want: Rooftree's own before a stranger's, then the higher version."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import Distribution, PathDistribution
from itertools import permutations
from pathlib import Path

import pytest

from rooftree import PUBLIC, Kernel, Plugin, Routes, Service, hookimpl
from rooftree.testing import Client, InstalledPlugin, running_system
from tests.kernel.plugins_under_test import Fine


def distribution(folder: Path, name: str, version: str) -> Distribution:
    """An installed distribution of that name."""
    information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return PathDistribution(information)


def saying(text: str, plugin_name: str = "zeta", path: str = "/who") -> type[Plugin]:
    routes = Routes()

    def who() -> str:
        return text

    routes.get(path, access=PUBLIC)(who)

    class Saying(Plugin):
        name = plugin_name

        def routes(self) -> Routes:
            return routes

    return Saying


@pytest.mark.parametrize("order", [*permutations(range(3))])
async def test_of_two_distributions_of_one_name_ours_is_used_then_the_newer_and_both_are_named(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    points = [
        InstalledPlugin("zeta", lambda: saying("ours"), distribution(tmp_path, "rooftree-zeta", "0.1")),
        InstalledPlugin("zeta", lambda: saying("new"), distribution(tmp_path, "acme-zeta", "10.0")),
        InstalledPlugin("zeta", lambda: saying("old"), distribution(tmp_path, "acme-zeta-old", "9.0")),
    ]
    async with (
        running_system(tmp_path, plugins=[points[number] for number in order]) as system,
        Client.over_unix(system) as client,
    ):
        assert (await client.get("/who")).data == "ours"
        infos = {info.distribution: info for info in system.plugins}
        problems = [problem.message for problem in system.problems if problem.type == "plugin_name_taken"]

    assert infos["rooftree-zeta"].state == "ok"
    assert (infos["acme-zeta"].state, infos["acme-zeta"].reason) == (
        "failed",
        "its name is that of rooftree-zeta 0.1, which is used",
    )
    assert len(infos) == 3
    assert "rooftree-zeta 0.1 is used, because it comes with Rooftree" in problems[0]
    async with running_system(tmp_path, plugins=points[:0:-1]) as system:
        assert {info.distribution: info.state for info in system.plugins} == {
            "acme-zeta": "ok",
            "acme-zeta-old": "failed",
        }
        assert any("its version is the higher" in problem.message for problem in system.problems)
    async with running_system(tmp_path, plugins=points[:1]) as system:
        assert not any(problem.type == "plugin_name_taken" for problem in system.problems)


async def test_a_strangers_name_earlier_in_the_alphabet_takes_no_route_and_no_service_of_ours(tmp_path: Path) -> None:
    key = Service[Path]("place/1")

    class Thief(saying("stolen", "aaa")):  # type: ignore[misc]
        name = "aaa"

    class Fence(Plugin):
        name = "aab"
        provides = (key,)

    class Owner(saying("ours")):  # type: ignore[misc]
        name = "zeta"
        provides = (key,)

        async def setup(self, kernel: Kernel) -> None:
            kernel.provide(key, tmp_path)

    points = [
        InstalledPlugin("aaa", lambda: Thief, distribution(tmp_path, "acme-aaa", "1")),
        InstalledPlugin("aab", lambda: Fence, distribution(tmp_path, "acme-aab", "1")),
        InstalledPlugin("zeta", lambda: Owner, distribution(tmp_path, "rooftree-zeta", "1")),
    ]
    async with (
        running_system(tmp_path, plugins=points, allow={"plugin_failed"}) as system,
        Client.over_unix(system) as client,
    ):
        states = {info.name: info.state for info in system.plugins}
        assert (await client.get("/who")).data == "ours"

    assert states == {"aaa": "failed", "aab": "failed", "zeta": "ok"}


async def test_reason_of_a_failure_names_type_and_place(tmp_path: Path) -> None:
    package = tmp_path / "rooftree_boom"
    package.mkdir()
    (package / "plugin.py").write_text(
        "from rooftree import Kernel, Plugin\n\n\n"
        "class Boom(Plugin):\n"
        '    name = "boom"\n\n'
        "    async def setup(self, kernel: Kernel) -> None:\n"
        '        {}["token"]\n'
    )

    def load() -> object:
        namespace: dict[str, object] = {"__name__": "rooftree_boom.plugin"}
        exec(compile((package / "plugin.py").read_text(), str(package / "plugin.py"), "exec"), namespace)
        return namespace["Boom"]

    async with running_system(tmp_path, plugins=[InstalledPlugin("boom", load)], allow={"plugin_failed"}) as system:
        assert system.plugins.info("boom").reason == "KeyError: 'token' (rooftree_boom/plugin.py:8, setup)"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("def routes(self): Routes()", "return missing (rooftree_slip/plugin.py:7, routes)"),
        ("def tasks(self): []", "return missing (rooftree_slip/plugin.py:7, tasks)"),
        ("async def setupp(self, kernel): ...", "did you mean setup? (rooftree_slip/plugin.py:4, Slip)"),
        ("settings = 3", "must be an attrs class, not 3 (rooftree_slip/plugin.py:4, Slip)"),
        ("def info(self): ...", "mark it @hookimpl, or rename it (rooftree_slip/plugin.py:4, Slip)"),
        ("provides = (CLOCK,)", "clock/1, which it declares (rooftree_slip/plugin.py:4, Slip)"),
    ],
)
async def test_wrong_use_that_raises_nothing_of_its_own_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    text = (
        "from rooftree import Plugin, Routes, Service\n\n"
        'CLOCK = Service[str]("clock/1")\n'
        "class Slip(Plugin):\n"
        '    name = "slip"\n\n'
        f"    {line}\n"
    )
    assert (await reason_of_slip(text, tmp_path, monkeypatch)).endswith(reason)


@pytest.mark.parametrize(
    ("declared", "handler", "reason"),
    [
        ('"/slip", access=PUBLIC', "def tick(size) -> None: ...", "(rooftree_slip/plugin.py:5, tick)"),
        ('"/slip/{name}", access=PUBLIC', "def tick() -> None: ...", "takes no name (rooftree_slip/plugin.py:5, tick)"),
        ('"/slip", access=PUBLIC', "def tick(): ...", "or -> None (rooftree_slip/plugin.py:5, tick)"),
        ('"/slip", access="admin"', "def tick() -> None: ...", "(rooftree_slip/plugin.py:5, <module>)"),
    ],
)
async def test_handler_that_cannot_be_bound_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declared: str, handler: str, reason: str
) -> None:
    text = (
        "from rooftree import PUBLIC, Plugin, Routes\n\n"
        "routes = Routes()\n\n"
        f"@routes.get({declared})\n"
        f"{handler}\n\n"
        "class Slip(Plugin):\n"
        '    name = "slip"\n\n'
        "    def routes(self): return routes\n"
    )
    told = await reason_of_slip(text, tmp_path, monkeypatch)

    assert told.startswith("TypeError: ")
    assert told.endswith(reason)


async def reason_of_slip(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Why a plugin of this text, in a package ``rooftree_slip``, does not run."""
    package = folder / "rooftree_slip"
    package.mkdir()
    (package / "plugin.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("rooftree_slip", "rooftree_slip.plugin"):
        monkeypatch.delitem(sys.modules, module, raising=False)

    def load() -> object:
        return importlib.import_module("rooftree_slip.plugin").Slip

    load.__module__ = "rooftree_slip.plugin"  # as its entry point would say
    plugins = [InstalledPlugin("slip", load)]
    async with running_system(folder / "data", plugins=plugins, allow={"plugin_failed"}) as system:
        return system.plugins.info("slip").reason or ""


KEY = Service[Path]("place/1")


class _Base(Plugin):
    name = "wrong"


def misspelt(**members: object) -> type[Plugin]:
    return type("Wrong", (_Base,), {"name": "wrong", **members})


async def verb(self: Plugin, kernel: Kernel) -> None: ...


def plain(self: Plugin) -> Routes:
    return Routes()


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"setupp": verb}, "Wrong.setupp: did you mean setup?"),
        ({"setings": object}, "Wrong.setings: did you mean settings?"),
        ({"requirs": ()}, "Wrong.requirs: did you mean requires?"),
        ({"setup": plain}, "Wrong.setup must be async def"),
        ({"routes": verb}, "Wrong.routes must be a plain def"),
        (
            {"avaliable_updates": hookimpl(lambda self: "hello")},
            "Wrong.avaliable_updates implements a hook that nobody specifies; did you mean available_updates?",
        ),
        ({"sum_of_all": hookimpl(lambda self: 1)}, "Wrong.sum_of_all implements a hook that nobody specifies"),
        ({"info": plain}, "Wrong.info is called like a hook: mark it @hookimpl, or rename it"),
        (
            {"greeting": hookimpl(lambda self, nme: "hello")},
            "Wrong.greeting: the hook has no parameter nme; did you mean name?",
        ),
        (
            {"number": hookimpl(lambda self, size: 1)},
            "Wrong.number: the hook has no parameter size; it has none",
        ),
        ({"routes": Routes()}, "Wrong.routes must be a plain def"),
        ({"routes": lambda self: None}, "Wrong.routes must return Routes, and returned nothing: is a return missing"),
        ({"routes": lambda self: plain}, "Wrong.routes must return Routes, and returned function plain"),
        ({"tasks": lambda self: None}, "Wrong.tasks must return Iterable, and returned nothing: is a return missing"),
        ({"provides": KEY}, "Wrong.provides must be a tuple of services, such as (CLOCK,), not Service('place/1')"),
        (
            {"requires": (Path,)},
            "Wrong.requires must be a tuple of services, such as (CLOCK,), not (<class 'pathlib._local.Path'>,)",
        ),
        ({"settings": {"limit": 3}}, "Wrong.settings must be an attrs class, not {'limit': 3}"),
    ],
)
async def test_what_would_never_be_called_is_refused_with_what_was_meant(
    tmp_path: Path, members: dict[str, object], sentence: str
) -> None:
    async with running_system(tmp_path, plugins=[Fine, misspelt(**members)], allow={"plugin_failed"}) as system:
        reason = system.plugins.info("wrong").reason

    assert reason is not None
    assert reason.removeprefix("TypeError: ").removeprefix("HookNameUnknown: ").startswith(sentence)
    assert " object at 0x" not in reason


@pytest.mark.parametrize("name", ["_setup", "_stopp", "_info", "unrelated", "options", "services", "stopped"])
async def test_names_of_an_authors_own_are_left_alone(tmp_path: Path, name: str) -> None:
    async with running_system(tmp_path, plugins=[misspelt(**{name: plain})]) as system:
        assert system.plugins.info("wrong").state == "ok"


async def test_slip_in_a_class_between_is_found_too(tmp_path: Path) -> None:
    class Between(Plugin):
        name = "wrong"

        async def setupp(self, kernel: Kernel) -> None: ...

    class Wrong(Between):
        pass

    async with running_system(tmp_path, plugins=[Wrong], allow={"plugin_failed"}) as system:
        assert (system.plugins.info("wrong").reason or "").startswith("TypeError: Wrong.setupp: did you mean setup?")


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (plain, "the entry point leads to function plain, which is no subclass of rooftree.Plugin"),
        (_Base, "its class is called 'wrong', its entry point 'right'; they must be the same"),
        (type("Nameless", (Plugin,), {}), "its class is called None, its entry point 'right'; they must be the same"),
    ],
)
async def test_what_is_no_plugin_is_described(tmp_path: Path, found: object, reason: str) -> None:
    async with running_system(
        tmp_path, plugins=[InstalledPlugin("right", lambda: found)], allow={"plugin_failed"}
    ) as system:
        assert (system.plugins.info("right").reason or "").startswith(f"TypeError: {reason}")


async def test_no_text_that_is_kept_says_where_an_object_lies(tmp_path: Path) -> None:
    class Lamp(Plugin):
        name = "lamp"

        async def setup(self, kernel: Kernel) -> None:
            raise RuntimeError(f"{self!r} is broken, and {self.setup!r}")

        @hookimpl
        def greeting(self, name: str) -> str:
            raise NotImplementedError

    async with running_system(tmp_path, plugins=[Fine, Lamp], allow={"plugin_failed"}) as system:
        reason = system.plugins.info("lamp").reason or ""
        (message,) = [problem.message for problem in system.problems]

    assert "Lamp object> is broken" in reason
    assert "Lamp object> is broken" in message
    assert " at 0x" not in reason + message
