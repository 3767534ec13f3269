"""``rooftree addon validate`` at the desk of an add-on's author: lines, JSON, exit codes, and how quick it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rooftree.cli import rooftree
from tests.plugins.store.test_lint import CONFIG
from tests.rig.files import write_files


def validate(*arguments: str | Path) -> Result:
    """Run it, as it is installed."""
    return CliRunner().invoke(rooftree, ["addon", "validate", *map(str, arguments)])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration with an error, a warning and a hint."""
    write_files(tmp_path, {"config.yaml": CONFIG + "startup: soon\nadvancd: true\nschema: false\n"})
    return tmp_path / "config.yaml"


def test_each_finding_is_a_line_that_editors_understand(file: Path) -> None:
    result = validate(file)

    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{file}:7:1: error: startup: must be one of initialize, system, services, application, once, "
        "not 'soon' [invalid]",
        f"{file}:8:1: warning: advancd: is not a key that has a meaning here; did you mean advanced? [unknown-key]",
    ]
    assert result.stderr == "Checked 1 file of 1 add-on: 1 error, 1 warning.\n"


def test_warnings_fail_only_when_asked_to(file: Path) -> None:
    file.write_text(CONFIG + "advanced: true\n")

    assert (validate(file).exit_code, validate("--strict", file).exit_code) == (0, 1)


def test_nothing_wrong_is_said_so(file: Path) -> None:
    file.write_text(CONFIG)

    result = validate(file)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Checked 1 file of 1 add-on: nothing to complain about.\n"


def test_hints_can_be_left_out(file: Path) -> None:
    all_of_it, quiet = validate(file.parent), validate("--quiet", file.parent)

    assert " hint: " in all_of_it.stdout
    assert " hint: " not in quiet.stdout
    assert " error: " in quiet.stdout


@pytest.mark.parametrize("before", [True, False])
def test_json_has_the_problems_and_the_normalised_configuration(tmp_path: Path, *, before: bool) -> None:
    write_files(tmp_path, {"good/config.yaml": CONFIG + "advanced: true\n", "bad/config.yaml": "slug: x\n"})
    words = ["addon", "validate", str(tmp_path)]

    result = CliRunner().invoke(rooftree, ["--json", *words] if before else [*words, "--json"])

    answer = json.loads(result.stdout)
    bad, good = answer["addons"]
    assert (result.exit_code, answer["valid"]) == (1, False)
    assert (bad["valid"], bad["config"]) == (False, None)
    assert (good["valid"], good["slug"], good["advisories"]) == (True, "lamp", ["advanced"])
    assert (good["config"]["startup"], good["config"]["timeout"]) == ("application", 10)
    assert {
        "file": str(tmp_path / "good" / "config.yaml"),
        "line": 7,
        "column": 1,
        "key": "advanced",
        "severity": "warning",
        "code": "advanced",
        "message": "has no effect any more; take it out",
    } in answer["findings"]


def test_several_paths_are_checked_in_one_go(tmp_path: Path) -> None:
    write_files(tmp_path, {"a/config.yaml": CONFIG, "b/config.yaml": CONFIG})

    assert "of 2 add-ons" in validate(tmp_path / "a", tmp_path / "b" / "config.yaml").stderr


@pytest.mark.parametrize("arguments", [[], ["no/such/file"]])
def test_wrong_usage_has_a_code_of_its_own(arguments: list[str]) -> None:
    assert validate(*arguments).exit_code == 2


def test_file_name_that_is_no_text_is_shown_all_the_same(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)  # noqa: PTH102  # a path in bytes
    with open(folder + b"/config.yaml", "w") as config:  # noqa: PTH123
        config.write("slug: x\n")

    plain, as_json = validate(tmp_path), validate("--json", tmp_path)

    assert "\\udcff/config.yaml:1:1: error: name: is required" in plain.stdout
    assert json.loads(as_json.stdout)["valid"] is False


def test_example_add_ons_pass() -> None:
    examples = Path(__file__).resolve().parents[3] / "examples" / "addon-repository"

    assert validate("--strict", examples).exit_code == 0


def test_no_web_server_is_imported_for_it(file: Path) -> None:
    told = subprocess.run(
        (sys.executable, "-X", "importtime", "-m", "rooftree.cli", "addon", "validate", str(file)),
        capture_output=True,
        text=True,
        check=False,
    ).stderr

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "yaml" in imported
    assert not imported & {"aiohttp", "apscheduler", "regex"}
