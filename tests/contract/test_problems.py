"""Every problem that this house can report is one that clients can read.

The client's contexts are a closed list: one issue with another makes the whole of ``/resolution/info`` unreadable.
Core shows issues of some keys as repairs, each in one context; whatever means the same goes by that key. So the sources
of the kernel, of every plugin and of every example are read for what they report and clear. The library of managed
containers reports in the context that a domain declares (``DomainNames``), and that declaration is read.
"""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen

pytestmark = pytest.mark.xdist_group("problems")  # all sources are read once

HOUSE: Final = Path(__file__).parents[2]
CONTEXTS: Final = {"addon", "core", "dns_server", "mount", "os", "plugin", "supervisor", "store", "system"}
REPAIRS: Final = {
    "app_port_conflict": "addon",
    "boot_fail": "addon",
    "deprecated_arch_addon": "addon",
    "detached_addon_missing": "addon",
    "detached_addon_removed": "addon",
    "pwned": "addon",
    "mount_failed": "mount",
    "disk_lifetime": "system",
    "docker_config": "system",
    "free_space": "system",
    "multiple_data_disks": "system",
    "ntp_sync_failed": "system",
    "reboot_required": "system",
}
"""Keys that Core shows as repairs, each with the context that it shows them in."""
RENAMED: Final = {"disk_full": "free_space"}
"""What a problem that is a repair was called before, by what it is called."""


@frozen
class Mention:
    """A problem that a source reports, or clears."""

    where: str
    owner: str
    """The distribution: ``core``, or the plugin's folder."""
    type: str | None
    """``None`` where it is worked out at run time, as the two that follow."""
    context: str | None
    reference: str | None
    """``""`` for a problem of which there is one."""


def sources() -> list[Path]:
    """Every module of the product and of the examples."""
    folders = ("core/src", "plugins/*/src", "examples/*")
    return sorted(path for folder in folders for path in HOUSE.glob(f"{folder}/**/*.py") if ".venv" not in path.parts)


def mentions(path: Path) -> Iterator[tuple[bool, Mention]]:
    """The problems that a module reports (``True``) and clears."""
    tree = ast.parse(path.read_text("utf-8"))
    names = constants(tree) | imported(tree)
    makes_problems = "Problem" in kernel_names(tree) or path.name == "problems.py"
    relative = path.relative_to(HOUSE)
    owner = relative.parts[0] if relative.parts[0] == "core" else "/".join(relative.parts[:2])
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        reports = isinstance(node.func, ast.Name) and node.func.id == "Problem" and makes_problems
        if not reports and not clears_problem(node):
            continue
        given = dict(zip(("type", "context", "reference"), node.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        said = [text(given.get(name), names, default) for name, default in
                (("type", ""), ("context", "system"), ("reference", ""))]  # fmt: skip
        yield reports, Mention(f"{relative}:{node.lineno}", owner, *said)


def clears_problem(node: ast.Call) -> bool:
    """Whether a call is ``….problems.clear(…)``."""
    function = node.func
    if not isinstance(function, ast.Attribute) or function.attr != "clear":
        return False
    of = function.value
    return isinstance(of, ast.Attribute | ast.Name) and ast.unparse(of).rpartition(".")[2].strip("_") == "problems"


def kernel_names(tree: ast.Module) -> set[str]:
    """What is imported from the kernel, whose ``Problem`` is meant: other domains have classes of that name."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rooftree"
        for alias in node.names
    }


def constants(tree: ast.Module) -> dict[str, str]:
    """The module's own texts by name."""
    found = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            found[target.id] = value.value
    return found


def imported(tree: ast.Module) -> dict[str, str]:
    """The texts that the module takes from others of this house."""
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("rooftree"):
            continue
        theirs = texts_of((node.module or "").replace(".", "/"))
        found |= {alias.asname or alias.name: theirs[alias.name] for alias in node.names if alias.name in theirs}
    return found


@functools.cache
def texts_of(module: str) -> dict[str, str]:
    """The texts by name of a module of this house, ``rooftree_docker/plugin``."""
    for folder in ("core", "plugins/*", "examples/*"):
        for source in HOUSE.glob(f"{folder}/src/{module}.py"):
            return constants(ast.parse(source.read_text("utf-8")))
    return {}


def text(node: ast.expr | None, names: Mapping[str, str], default: str) -> str | None:
    """What an argument is, or ``None`` for what is worked out at run time."""
    if node is None or (isinstance(node, ast.Constant) and node.value is None):
        return default
    if isinstance(node, ast.Constant):
        return str(node.value)
    return names.get(node.id) if isinstance(node, ast.Name) else None


def of_a_domain(mention: Mention) -> bool:
    """Whether the library of managed containers reports it, in its domain's context."""
    return mention.owner == "plugins/containers" and mention.context is None


type Mentions = list[Mention]


@pytest.fixture(scope="module")
def everything() -> tuple[Mentions, Mentions]:
    """What is reported, and what is cleared."""
    reported, cleared = [], []
    for path in sources():
        for reports, mention in mentions(path):
            (reported if reports else cleared).append(mention)
    return reported, cleared


@pytest.fixture
def reported(everything: tuple[Mentions, Mentions]) -> Mentions:
    return everything[0]


@pytest.fixture
def cleared(everything: tuple[Mentions, Mentions]) -> Mentions:
    return everything[1]


def test_problems_of_this_house_are_found(reported: Mentions, cleared: Mentions) -> None:
    types = {mention.type for mention in reported}

    assert {"free_space", "boot_fail", "engine_unavailable", "fatal_error", "hardware_monitor", "board_failed"} <= types
    assert len(reported) > 35
    assert len(cleared) > 20


def declared_contexts() -> dict[str, str | None]:
    """The contexts that domains declare for their containers, by where."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sources()}
    return {
        f"{path.relative_to(HOUSE)}:{node.lineno}": text(keyword.value, constants(tree) | imported(tree), "")
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DomainNames"
        for keyword in node.keywords
        if keyword.arg == "context"
    }


def test_every_problem_has_a_context_that_clients_know(reported: Mentions) -> None:
    declared = declared_contexts()
    said = {mention.where: mention.context for mention in reported if not of_a_domain(mention)} | declared

    assert {where: context for where, context in said.items() if context not in CONTEXTS} == {}
    assert "addon" in declared.values()


def test_what_core_shows_as_a_repair_has_its_key_and_the_context_that_it_looks_in(reported: Mentions) -> None:
    elsewhere = {
        mention.where: (mention.type, mention.context)
        for mention in reported
        if mention.type in REPAIRS and REPAIRS[mention.type] != mention.context and not of_a_domain(mention)
    }
    otherwise = {mention.where: mention.type for mention in reported if mention.type in RENAMED}

    assert (elsewhere, otherwise) == ({}, {})


def test_what_is_cleared_is_what_was_reported(reported: Mentions, cleared: Mentions) -> None:
    known = {(mention.type, mention.context) for mention in reported}
    contexts_of_unnamed = {mention.context for mention in reported if mention.type is None}
    never = {
        mention.where: (mention.type, mention.context)
        for mention in cleared
        if mention.type is not None and mention.context is not None
        if (mention.type, mention.context) not in known and mention.context not in contexts_of_unnamed
    }

    assert never == {}


def test_problem_of_which_there_is_one_belongs_to_one_domain(reported: Mentions) -> None:
    owners: dict[tuple[str, str], set[str]] = defaultdict(set)
    for mention in reported:
        if mention.type is not None and mention.context is not None and mention.reference == "":
            owners[mention.type, mention.context].add(mention.owner)

    assert {problem: names for problem, names in owners.items() if len(names) > 1} == {}
