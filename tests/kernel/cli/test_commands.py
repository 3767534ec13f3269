"""The other commands of ``rooftree``: plugins, token, check-config, run, completion; and how fast it starts."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

import rooftree.daemon
from rooftree.plugins.loading import Installed
from rooftree.settings import Settings

from .conftest import DRIVERS, LEFT_BEHIND, PLUGINS, Cli, StandIn

QUICK = 1.7
"""How much of the processor ``rooftree --help`` may take (the operator types it), against importing its one library."""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two plugins installed as pip installs them, one of which can't be imported; no others are seen."""
    packages = tmp_path / "packages"
    information = packages / "rooftree_acme-4.5.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: rooftree-acme\nVersion: 4.5\n")
    (information / "entry_points.txt").write_text(
        "[rooftree.plugins]\nbroken = acme:absent\nacme = acme:Acme\n[rooftree.boards]\nbox = acme:Box\n"
    )
    (packages / "acme.py").write_text(
        "from attrs import frozen\n"
        "@frozen\nclass Lamp:\n    watts: int = 5\n"
        "@frozen\nclass AcmeSettings:\n    colour: str = 'red'\n    api_token: str = ''\n    lamp: Lamp = Lamp()\n"
        "class Acme:\n    settings = AcmeSettings\n"
        "class Box:\n    operator_settings = Lamp\n"
    )
    monkeypatch.syspath_prepend(str(packages))
    import importlib.metadata as metadata

    everything = metadata.entry_points

    def ours_only(**selected: Any) -> Any:
        return [entry for entry in everything(**selected) if entry.dist and entry.dist.name == "rooftree-acme"]

    monkeypatch.setattr("rooftree.cli.installed.entry_points", ours_only)


# --- plugins


async def test_plugins_lists_name_version_state_and_reason(cli: Cli, daemon: StandIn) -> None:
    result = await cli("plugins")

    heading, store, addons, *_ = result.stdout.splitlines()
    assert heading.split() == ["NAME", "VERSION", "STATE", "REASON"]
    assert store.split() == ["store", "1.2.3", "ok", "-"]
    assert "failed       ValueError: a reason" in addons


async def test_plugins_lists_what_each_provides_and_requires_where_that_is_asked(cli: Cli, daemon: StandIn) -> None:
    result = await cli("plugins", "--services")

    assert result.exit_code == 0
    heading, store, addons, acme, box, clock = result.stdout.splitlines()
    assert heading.split() == ["NAME", "VERSION", "STATE", "PROVIDES", "REQUIRES", "REASON"]
    assert store.split() == ["store", "1.2.3", "ok", "addon_store/1", "-", "-"]
    assert "failed       addons/1       container_engine/1, addon_store/1, (hardware/1)  ValueError: a reason" in addons
    assert addons.endswith("has to fold or let be")
    assert acme.split() == ["boards.acme", "0.3", "in", "use", "-", "-", "by", "plugin", "os"]
    assert box.endswith("this machine is no such board")
    assert clock.split()[:3] == ["clock", "-", "uninstalled"]
    assert "3 documents (clock.count), 0 tokens, the folder /data/plugins/clock" in clock
    assert clock.endswith("rooftree plugins purge clock")


async def test_problems_are_shown_with_what_they_concern(cli: Cli, daemon: StandIn) -> None:
    nothing = await cli("problems")
    daemon.problems = [
        {"severity": "unhealthy", "context": "store", "reference": "local", "message": "It is broken"},
        {"severity": "issue", "context": "system", "reference": None, "message": "It is full"},
    ]
    shown = await cli("problems")

    assert nothing.stdout == "Nothing is wrong.\n"
    lines = [line.split(None, 2) for line in shown.stdout.splitlines()]
    assert lines[1:] == [["unhealthy", "store/local", "It is broken"], ["issue", "system", "It is full"]]


async def test_plugins_as_json_is_what_the_daemon_said(cli: Cli, daemon: StandIn) -> None:
    before = await cli("--json", "plugins")
    after = await cli("plugins", "--json")

    assert json.loads(before.stdout) == json.loads(after.stdout) == {
        "plugins": PLUGINS, "drivers": DRIVERS, "left_behind": LEFT_BEHIND,
    }  # fmt: skip


async def test_purge_asks_first_and_says_what_it_removed(cli: Cli, daemon: StandIn) -> None:
    refused = await cli("plugins", "purge", "clock", input="n\n")
    asked_when_refused = list(daemon.asked)
    agreed = await cli("plugins", "purge", "clock", input="y\n")
    unasked = await cli("plugins", "purge", "clock", "--yes", "--json")

    assert (refused.exit_code, asked_when_refused) == (1, [("GET", "/kernel/v1/plugins", b"")])
    said = "Plugin clock left 3 documents (clock.count), 0 tokens, the folder /data/plugins/clock.\nRemove all of it?"
    assert said in refused.stderr
    assert (
        agreed.stdout
        == "Nothing is left of clock; removed: 3 documents (clock.count), 0 tokens, the folder /data/plugins/clock.\n"
    )
    assert json.loads(unasked.stdout) == LEFT_BEHIND[0]
    removing = ("DELETE", "/kernel/v1/plugins/clock", b"")
    assert daemon.asked == [*asked_when_refused * 2, removing, removing]


@pytest.mark.usefixtures("installed")
async def test_plugins_lists_what_is_installed_when_the_daemon_does_not_run(cli: Cli) -> None:
    result = await cli("plugins", "--json", ROOFTREE_PLUGINS__DISABLED="broken,boards.box")

    assert result.exit_code == 0
    assert "Rooftree is not running here" in result.stderr
    listed = {plugin["name"]: plugin for plugin in json.loads(result.stdout)["plugins"]}
    assert {name: (plugin["version"], plugin["state"]) for name, plugin in listed.items()} == {
        "acme": ("4.5", "not running"),
        "broken": ("4.5", "not running"),
    }
    assert listed["acme"]["distribution"] == "rooftree-acme"
    assert listed["broken"]["reason"] == "disabled by environment ROOFTREE_PLUGINS__DISABLED"
    (box,) = json.loads(result.stdout)["drivers"]
    assert (box["name"], box["version"], box["state"], box["reason"]) == (
        "boards.box", "4.5", "not running", "disabled by environment ROOFTREE_PLUGINS__DISABLED"
    )  # fmt: skip


# --- token


async def test_token_create_prints_the_token_alone_on_standard_output(cli: Cli, daemon: StandIn) -> None:
    result = await cli("token", "create", "grafana", "--role", "manager")

    assert (result.exit_code, result.stdout) == (0, "s3cret\n")
    assert "not shown again" in result.stderr
    assert json.loads(daemon.asked[0][2]) == {"name": "grafana", "role": "manager"}


async def test_token_has_the_least_role_unless_told_otherwise(cli: Cli, daemon: StandIn) -> None:
    result = await cli("token", "create", "grafana", "--json")

    assert json.loads(result.stdout) == {"id": "id0", "name": "grafana", "role": "default", "token": "s3cret"}


async def test_token_list_shows_all_but_the_tokens(cli: Cli, daemon: StandIn) -> None:
    await cli("token", "create", "grafana")

    table = await cli("token", "list")
    as_json = await cli("token", "list", "--json")

    assert table.stdout.splitlines()[1].split() == ["grafana", "program", "default", "2026-01-31T09:00:00Z", "id0"]
    assert json.loads(as_json.stdout)["tokens"][0]["name"] == "grafana"


async def test_token_revoke_takes_name_or_id(cli: Cli, daemon: StandIn) -> None:
    for name in ("one", "two", "twin", "twin"):
        await cli("token", "create", name)

    by_name = await cli("token", "revoke", "one")
    by_id = await cli("token", "revoke", "id3")

    assert (by_name.stdout, by_id.stdout) == ("Token one is revoked.\n", "Token twin is revoked.\n")
    assert [token["id"] for token in daemon.tokens] == ["id1", "id2"]


async def test_token_revoke_asks_which_of_two_and_suggests_the_near_miss(cli: Cli, daemon: StandIn) -> None:
    await cli("token", "create", "twin")
    await cli("token", "create", "twin")

    ambiguous = await cli("token", "revoke", "twin")
    misspelt = await cli("token", "revoke", "twni")

    assert (ambiguous.exit_code, misspelt.exit_code) == (1, 1)
    assert "2 tokens are called twin: say which one by its id (id0, id1)" in ambiguous.stderr
    assert "There is no token twni; did you mean twin?" in misspelt.stderr
    assert len(daemon.tokens) == 2


# --- check-config


@pytest.mark.usefixtures("installed")
async def test_check_config_shows_effective_settings_with_their_origin(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text("[kernel]\nport = 99\n[plugins.acme]\nlamp.watts = 7\napi_token = 's3cret'\n")

    table = await cli("check-config", "--config", file, "--data-dir", "/d", ROOFTREE_PLUGINS__ACME__COLOUR="blue")
    as_json = await cli("--config", file, "check-config", "--json", ROOFTREE_PLUGINS__ACME__COLOUR="blue")

    assert (table.exit_code, as_json.exit_code) == (0, 0)
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in table.stdout.splitlines()}
    assert rows["kernel.port"] == ["99", "rooftree.toml line 2"]
    assert rows["kernel.data_dir"] == ["/d", "flag --data-dir"]
    assert rows["kernel.host"] == ["127.0.0.1", "default"]
    assert rows["plugins.acme.lamp.watts"] == ["7", "rooftree.toml line 4"]
    assert rows["plugins.acme.colour"] == ["blue", "environment ROOFTREE_PLUGINS__ACME__COLOUR"]
    assert rows["plugins.acme.api_token"] == ["***", "rooftree.toml line 5"]
    assert "Plugin broken can't be loaded" in table.stderr
    answer = json.loads(as_json.stdout)
    assert {"key": "kernel.port", "value": 99, "origin": "rooftree.toml line 2"} in answer["settings"]
    assert answer["file"] == str(file)


@pytest.mark.usefixtures("installed")
async def test_check_config_knows_the_tables_of_drivers(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text("[boards.box]\nwatts = 7\n")
    right = await cli("check-config", "--config", file, ROOFTREE_PLUGINS__DISABLED="boards.box")
    file.write_text("[boards.box]\nwats = 7\n[boards.fox]\n[bords.box]\nwatts = 7\n")
    wrong = await cli("check-config", "--config", file, ROOFTREE_BOARDS__BOX__WATTS="much")

    assert right.exit_code == 0, right.stderr
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in right.stdout.splitlines()}
    assert rows["boards.box.watts"] == ["7", "rooftree.toml line 2"]
    assert wrong.exit_code == 1
    for sentence in (
        "environment ROOFTREE_BOARDS__BOX__WATTS: boards.box.watts must be a whole number",
        "boards.box.wats is not a setting; did you mean boards.box.watts?",
        "no driver fox is installed; did you mean boards.box?",
        "bords is not known here; did you mean [boards]?",
    ):
        assert sentence in wrong.stderr


@pytest.mark.usefixtures("installed")
async def test_check_config_tells_all_problems_of_plugins_and_exits_with_1(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text("[plugins.acme]\nlamp.wats = 7\n[plugins.acne]\n[plugins.broken]\nx = 1\n")

    result = await cli("check-config", "--config", file)
    as_json = await cli("check-config", "--config", file, "--json")

    assert (result.exit_code, as_json.exit_code) == (1, 1)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == [
        f"Error: {file} line 3: plugins.acne: no plugin acne is installed; did you mean plugins.acme?",
        f"Error: {file} line 2: plugins.acme.lamp.wats is not a setting; did you mean plugins.acme.lamp.watts?",
    ]
    assert [f"Error: {problem}" for problem in json.loads(as_json.stdout)["problems"]] == errors


async def test_check_config_tells_all_problems_of_the_kernel_and_exits_with_1(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text("[kernel]\nprot = 1\nhost = 2\n")

    result = await cli("check-config", "--config", file)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("Error: ") == 2


@pytest.mark.usefixtures("installed")
async def test_check_config_tells_of_kernel_and_plugins_at_once(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text("[kernel]\nprot = 1\n[plugins]\nenabled = 3\n[plugins.acme]\nlamp.wats = 7\n")

    result = await cli("check-config", "--config", file)

    assert result.exit_code == 1
    for sentence in (
        "line 2: kernel.prot is not a setting; did you mean kernel.port?",
        "line 4: plugins.enabled must be",
        "line 6: plugins.acme.lamp.wats is not a setting",
    ):
        assert sentence in result.stderr
    assert sum(line.startswith("Error: ") for line in result.stderr.splitlines()) == 3


IN_A_FILE = """
from attrs import frozen
from rooftree import Plugin

@frozen
class Limits:
    kmh: int = 50

class Speed(Plugin):
    name = "speed"
    settings = Limits
"""


@pytest.mark.usefixtures("installed")
async def test_check_config_knows_plugins_in_files_whichever_are_enabled(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "speed.py").write_text(IN_A_FILE)
    file = tmp_path / "rooftree.toml"
    file.write_text("[plugins]\nenabled = ['acme']\n[plugins.speed]\nkmh = 30\n")

    unknown = await cli("check-config", "--config", file)
    right = await cli("check-config", "--config", file, "--plugin", tmp_path / "speed.py")
    wrong = await cli("check-config", "--plugin", tmp_path / "speed.py", ROOFTREE_PLUGINS__SPEED__KMH="fast")

    assert "no plugin speed is installed" in unknown.stderr
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in right.stdout.splitlines()}
    assert rows["plugins.speed.kmh"] == ["30", "rooftree.toml line 4"], right.stderr
    assert "plugins.speed.kmh must be a whole number" in wrong.stderr


# --- run


async def test_run_hands_the_settings_to_the_daemon_and_exits_as_it_does(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Settings, Collection[Installed]]] = []

    def run(settings: Settings, in_files: Collection[Installed], beside: object) -> int:
        ran.append((settings, in_files))
        return 7

    monkeypatch.setattr(rooftree.daemon, "run", run)
    file = tmp_path / "x.toml"
    file.write_text("[kernel]\nhost = '0.0.0.0'\nport = 1\n")
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(IN_A_FILE.replace('"speed"', f'"{name[0]}"'))

    result = await cli(
        "run", "--config", file, "--data-dir", tmp_path / "d", "--port", "0", "--log-level", "debug", "--socket", "/s",
        "--plugin", tmp_path / "a.py", "--plugin", tmp_path / "b.py",
    )  # fmt: skip

    ((settings, in_files),) = ran
    assert [plugin.point.name for plugin in in_files] == ["a", "b"]
    assert result.exit_code == 7
    assert (settings.kernel.data_dir, settings.kernel.port, settings.kernel.host) == (tmp_path / "d", 0, "0.0.0.0")
    assert (settings.kernel.log_level, settings.kernel.socket) == ("debug", Path("/s"))
    assert settings.origin("kernel.port") == "flag --port"


async def test_run_with_wrong_settings_starts_nothing(cli: Cli, tmp_path: Path) -> None:
    result = await cli("run", "--config", tmp_path / "absent.toml")

    assert result.exit_code == 1
    assert "there is no such file" in result.stderr


# --- completion and speed


def run_rooftree(
    *arguments: str, python: tuple[str, ...] = (), environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, *python, "-m", "rooftree.cli", *arguments),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def completing(line: str, word: int) -> Mapping[str, str]:
    """The environment in which bash asks how ``line`` may go on."""
    return {"_ROOFTREE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(word)}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_prints_a_script_that_asks_the_command(cli: Cli, shell: str) -> None:
    result = await cli("completion", shell)

    assert result.exit_code == 0
    assert f"_ROOFTREE_COMPLETE={shell}_complete" in result.stdout


async def test_bash_accepts_the_completion_script(cli: Cli, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text((await cli("completion", "bash")).stdout)

    accepted = subprocess.run(
        ("bash", "-c", f". {script} && complete -p rooftree"), capture_output=True, text=True, check=True
    )

    assert "rooftree" in accepted.stdout


def test_completion_knows_commands_and_roles() -> None:
    commands = run_rooftree(environment=completing("rooftree ", 1))
    roles = run_rooftree(environment=completing("rooftree token create x --role ", 5))

    assert {line.split(",")[1] for line in commands.stdout.splitlines()} == {
        "run", "check-config", "plugins", "problems", "token", "call", "new-plugin", "completion", "docs",
        "addon", "backup", "mount", "network", "vault",
    }  # fmt: skip
    assert "plain,homeassistant" in roles.stdout


@pytest.mark.parametrize(("arguments", "environment"), [(("--help",), {}), ((), completing("rooftree to", 1))])
def test_help_and_completion_import_nothing_heavy(arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
    told = run_rooftree(*arguments, python=("-X", "importtime"), environment=environment).stderr

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "click" in imported
    assert not imported & {"aiohttp", "attr", "attrs", "cattrs", "rich", "structlog", "orjson", "asyncio", "pluggy"}


def processor_seconds() -> float:
    """What the children have used of the processor: other work on the machine hardly counts."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("arguments", "environment"), [(("--help",), {}), ((), completing("rooftree to", 1))])
def test_help_and_completion_are_quick(arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
    ours, bare = [math.inf], [math.inf]
    for _ in range(10):  # other work on the machine can only make it slower, never faster
        if min(ours) < QUICK * min(bare):
            break
        begun = processor_seconds()
        run_rooftree(*arguments, environment=environment)
        between = processor_seconds()
        subprocess.run((sys.executable, "-c", "import click"), check=True)
        ours.append(between - begun)
        bare.append(processor_seconds() - between)

    assert min(ours) < QUICK * min(bare)
