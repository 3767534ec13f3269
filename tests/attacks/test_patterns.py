"""No text that a stranger writes makes the daemon stand still: every regular expression of the product, timed."""

from __future__ import annotations

import importlib
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml
from attrs import frozen

from rooftree.interfaces.containers import BuildFailed
from rooftree.model.conversion import ParsedString
from rooftree_docker.build_context import base_images
from rooftree_docker.dockerfile import images_used
from rooftree_docker.ignore_rules import IgnoreRules
from rooftree_docker.image_reference import ImageReference
from rooftree_docker.registry_errors import pull_error
from rooftree_files.dockerfile import ImageNotTold
from rooftree_homeassistant.core_options import LONGEST_IMAGE
from rooftree_store.versions import LONGEST_CHARACTERS, order
from rooftree_store.yaml_files import MAX_NUMBER_CHARACTERS
from tests.attacks.regular_expressions import LARGE, ROOT, Use, modules, slowest, uses
from tests.rig.pace import on_this_machine

DEADLINE_S: Final = 20.0
"""Seconds of a processor of a child that times one expression: it can't be interrupted otherwise."""


@frozen
class Foreign:
    """Text that a stranger writes."""

    limit: int | None = None
    """Its longest length in characters, where something before the expression sees to it."""
    methods: frozenset[str] = frozenset()
    """Where the source does not tell at once how it is used."""


@frozen
class Ours:
    """Text that no stranger writes."""

    why: str


FOREIGN: Final = Foreign()
BY_READERS: Final = Foreign(methods=frozenset({"fullmatch"}))
HEADER: Final = Foreign(8190)
SAID: Final = Foreign(2000)
PATTERN: Final = Foreign(2000)
VERSION: Final = Foreign(LONGEST_CHARACTERS)
OPERATOR: Final = Ours("the operator's settings and command line")
CODE: Final = Ours("names and documentation in the code of plugins")
KERNEL: Final = Ours("the kernel's own files, of the daemon's own container")

REVIEWED: Final[dict[str, Foreign | Ours]] = {
    "rooftree/cli/new_plugin.py:_NAME": OPERATOR,
    "rooftree/model/conversion.py:ParsedString.check": FOREIGN,
    "rooftree/model/printable_text.py:_ADDRESS": FOREIGN,
    "rooftree/plugins/metrics.py:_NAME": CODE,
    "rooftree_supervisor/event_stream.py:_WORDS": CODE,
    "rooftree_supervisor/event_stream.py:Position.parse": FOREIGN,
    "rooftree/state/folder.py:_INSTANCE_ID": Ours("a file of ours"),
    "rooftree/state/folder.py:_COPY": Ours("names of our own files"),
    "rooftree/state/folder.py:_SET_ASIDE": Ours("names of our own folders"),
    "rooftree/state/folder.py:_literal": Ours("names of our own files"),
    "rooftree/http/bodies.py:_TEXTS": FOREIGN,
    "rooftree/http/binding.py:_WHOLE": FOREIGN,
    "rooftree/http/binding.py:_DECIMAL": FOREIGN,
    "rooftree/http/paths.py:_SEGMENT": FOREIGN,
    "rooftree/http/paths.py:_PLAIN": FOREIGN,
    "rooftree/http/paths.py:_SPELT": FOREIGN,
    "rooftree/http/paths.py:_decoded": FOREIGN,
    "rooftree/http/routes.py:_PART": CODE,
    "rooftree_mounts/models.py:Server.check": Foreign(255),
    "rooftree/http/routes.py:_TAIL": CODE,
    "rooftree/http/table.py:_PART": CODE,
    "rooftree/http/table.py:_TAIL": CODE,
    "rooftree/daemon/logs.py:_IN_URL": FOREIGN,
    "rooftree/daemon/logs.py:_IN_TEXT": FOREIGN,
    "rooftree/daemon/logs.py:_BEARER": FOREIGN,
    "rooftree/settings/secret_names.py:_SECRET": FOREIGN,
    "rooftree/settings/secret_names.py:_ABOUT_A_SECRET": FOREIGN,
    "rooftree/settings/sources.py:_VARIABLE": OPERATOR,
    "rooftree/settings/sources.py:_SYNTAX": OPERATOR,
    "rooftree/settings/toml_lines.py:_CLOSING": OPERATOR,
    "rooftree_addons/apparmor.py:_HEAD": FOREIGN,
    "rooftree_addons/apparmor.py:_FLAGS": FOREIGN,
    "rooftree_addons/apparmor.py:_NAMES_A_FILE": FOREIGN,
    "rooftree_backups/download.py:_RANGE": HEADER,
    "rooftree_containers/log_place.py:_CURSOR": HEADER,
    "rooftree_containers/log_query.py:_RANGE": HEADER,
    "rooftree_containers/log_query.py:_TIME": HEADER,
    "rooftree_containers/logs.py:_ESCAPES": FOREIGN,
    "rooftree_docker/build_labels.py:_NAME": FOREIGN,
    "rooftree_docker/build_labels.py:_READ_AS_WRITTEN": FOREIGN,
    "rooftree_docker/build_output.py:_STEP": FOREIGN,
    "rooftree_docker/build_output.py:_ESCAPES": FOREIGN,
    "rooftree_docker/data_folder.py:_OWN_FILES": KERNEL,
    "rooftree_docker/data_folder.py:_CONTROL_GROUP": KERNEL,
    "rooftree_docker/data_folder.py:_SHORT_ID": KERNEL,
    "rooftree_docker/image_reference.py:_REFERENCE": FOREIGN,
    "rooftree_docker/log_stream.py:_TIME": FOREIGN,
    "rooftree_docker/plugin.py:_is_prefix": OPERATOR,
    "rooftree_docker/registry.py:_PARAMETER": FOREIGN,
    "rooftree_docker/registry_errors.py:_QUOTED_STATUS": SAID,
    "rooftree_docker/registry_errors.py:_RATE_LIMIT": SAID,
    "rooftree_docker/retry_after.py:_QUOTED": SAID,
    "rooftree_docker/retry_after.py:_PART": Foreign(40),
    "rooftree_docker/wire_rules.py:_MAC": Ours("what the engine says of its own containers"),
    "rooftree_docker/registry_errors.py:_BROKEN": SAID,
    "rooftree_docker/registry_errors.py:_DISK_FULL": SAID,
    "rooftree_docker/registry_errors.py:_NOT_FOR_PLATFORM": SAID,
    "rooftree_docker/registry_errors.py:_NOT_FOUND": SAID,
    "rooftree_docker/registry_errors.py:_LOGIN": SAID,
    "rooftree_docker/registry_errors.py:_UNREACHABLE": SAID,
    "rooftree_docker/signature_check.py:DIGEST": BY_READERS,
    "rooftree_docker/specification.py:_CONTAINER_NAME": FOREIGN,
    "rooftree_docker/start_refusal.py:_PORT_IN_USE": FOREIGN,
    "rooftree_docker/start_refusal.py:_named_port": FOREIGN,
    "rooftree_files/dockerfile.py:_VARIABLE": FOREIGN,
    "rooftree_host/export_format.py:_BINARY_NAME": FOREIGN,
    "rooftree_host/export_format.py:_NAME_AT_END": FOREIGN,
    "rooftree_host/export_format.py:_CURSOR": FOREIGN,
    "rooftree_host/export_format.py:_TIME_OF_CURSOR": FOREIGN,
    "rooftree_host/hostname.py:_LABEL": FOREIGN,
    "rooftree_host/sound_cards.py:_PCM": FOREIGN,
    "rooftree_host/sound_cards.py:_CARD_LINE": FOREIGN,
    "rooftree_host/sound_cards.py:_PCM_LINE": FOREIGN,
    "rooftree_host/time_servers.py:_NAME": FOREIGN,
    "rooftree_homeassistant/core_options.py:_IMAGE": Foreign(LONGEST_IMAGE),
    "rooftree_homeassistant/core_session.py:_PATH": CODE,
    "rooftree_machine/home_assistant_os.py:_PIECE": Ours("/etc/os-release"),
    "rooftree_machine/home_assistant_os.py:_ESCAPED": Ours("/etc/os-release"),
    "rooftree_proxying/chunked_coding.py:_SIZE": FOREIGN,
    "rooftree_proxying/response_heads.py:_FOLD": FOREIGN,
    "rooftree_proxying/response_heads.py:_STATUS": FOREIGN,
    "rooftree_store/local_build.py:_BETWEEN_PARTS": FOREIGN,
    "rooftree_network/wifi_keys.py:_HEX_KEY": FOREIGN,
    "rooftree_network/wifi_keys.py:_WEP_HEX": FOREIGN,
    "rooftree_store/addon_config.py:_service_role_text": BY_READERS,
    "rooftree_store/addon_config.py:_port_key": BY_READERS,
    "rooftree_store/addon_config.py:_MAP_TEXT": FOREIGN,
    "rooftree_store/git_process.py:_PASSED_ON": OPERATOR,
    "rooftree_store/git_process.py:_SAID_TWICE": SAID,
    "rooftree_store/git_process.py:_UNREACHABLE": SAID,
    "rooftree_store/git_process.py:_BROKEN": SAID,
    "rooftree_store/git_process.py:_NO_DEPTH": SAID,
    "rooftree_store/git_process.py:_NO_LOGIN": SAID,
    "rooftree_store/git_process.py:_TOO_LARGE": SAID,
    "rooftree_store/git_process.py:_EMPTY": SAID,
    "rooftree_store/git_process.py:_MISSING": SAID,
    "rooftree_store/git_process.py:_LOGIN_IN_ADDRESS": SAID,
    "rooftree_store/image_name.py:_HOST": FOREIGN,
    "rooftree_store/image_name.py:_COMPONENT": FOREIGN,
    "rooftree_store/image_name.py:_IMAGE": FOREIGN,
    "rooftree_store/image_name.py:_BASE_SEGMENT": FOREIGN,
    "rooftree_store/image_name.py:_BASE_OWNER": FOREIGN,
    "rooftree_store/image_name.py:_BASE_NAME": FOREIGN,
    "rooftree_store/lint/addon_folder.py:_PROFILE": FOREIGN,
    "rooftree_store/lint/config_file.py:_PORT": FOREIGN,
    "rooftree_store/lint/config_file.py:_PROTOCOL": FOREIGN,
    "rooftree_store/logins.py:_WITH_LOGIN": FOREIGN,
    "rooftree_store/logins.py:_UNPRINTABLE": FOREIGN,
    "rooftree_store/options.py:_EMAIL": FOREIGN,
    "rooftree_store/options_schema.py:_TYPE": FOREIGN,
    "rooftree_store/options_schema.py:_ARGUMENTS": FOREIGN,
    "rooftree_store/patterns.py:_HIDES": PATTERN,
    "rooftree_store/patterns.py:_PATTERN_ITEM": PATTERN,
    # The pattern itself is foreign: it is bounded when it is compiled, and matched with `regex`, which has a deadline.
    "rooftree_store/patterns.py:compiled": FOREIGN,
    "rooftree_store/slugs.py:_ADDON": FOREIGN,
    "rooftree_store/slugs.py:RepositorySlug.check": FOREIGN,
    "rooftree_store/sources.py:_BRANCH": FOREIGN,
    "rooftree_store/sources.py:_HOST": FOREIGN,
    "rooftree_store/sources.py:_UNPRINTABLE": FOREIGN,
    "rooftree_store/url_templates.py:_WEBUI": BY_READERS,
    "rooftree_store/url_templates.py:_WATCHDOG": BY_READERS,
    "rooftree_store/versions.py:_HASH": VERSION,
    "rooftree_store/versions.py:_VERSION": VERSION,
    "rooftree_store/versions.py:_PART": VERSION,
    "rooftree_store/versions.py:_YEAR": VERSION,
    "rooftree_store/versions.py:_DATE": VERSION,
    "rooftree_store/versions.py:_SHORT_YEAR": VERSION,
    "rooftree_store/versions.py:_PADDED": VERSION,
    "rooftree_supervisor/api_documents/openapi.py:_remarks": CODE,
    "rooftree_supervisor/api_documents/source_texts.py:_ROLE": CODE,
    "rooftree_supervisor/api_documents/source_texts.py:_NAMED": CODE,
    "rooftree_supervisor/preferences.py:_ADDRESS": OPERATOR,
    "rooftree_supervisor/version_file.py:_ADDRESS": BY_READERS,
    "rooftree_supervisor/version_file.py:_TEMPLATE": BY_READERS,
    "rooftree_supervisor/version_file.py:_VERSION": BY_READERS,
}
"""Whose text each expression is for. A new one is reviewed here; one for foreign text has to pass the test below."""
MADE_AT_RUN_TIME: Final = frozenset(
    {
        "rooftree/model/conversion.py:ParsedString.check",
        "rooftree_store/slugs.py:RepositorySlug.check",
        "rooftree_store/patterns.py:compiled",
    }
)


@cache
def all_uses() -> dict[str, Use]:
    """By their keys. To read the whole source takes a second, which only who runs these tests has to pay."""
    return {use.key: use for path in modules() for use in uses(path)}


def test_every_regular_expression_is_reviewed() -> None:
    assert set(all_uses()) == set(REVIEWED)
    assert {key for key, use in all_uses().items() if not use.patterns} == MADE_AT_RUN_TIME


def in_a_child(act: Callable[[], str | None], deadline_s: float = DEADLINE_S) -> str | None:
    """What a function says that may never come back."""

    def run() -> None:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, deadline_s)
        theirs.send(act())

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=run, daemon=True)
    child.start()
    theirs.close()
    try:
        said = ours.recv()
        return None if said is None else str(said)
    except EOFError:
        child.join()
        if child.exitcode != -signal.SIGPROF:
            raise
        return f"it was not done after {deadline_s:g} s of a processor"
    finally:
        child.kill()
        child.join()
        ours.close()


TIMED = [key for key, text in REVIEWED.items() if isinstance(text, Foreign) and key not in MADE_AT_RUN_TIME]


@pytest.mark.parametrize("key", TIMED)
def test_expression_for_foreign_text_takes_time_in_proportion_to_it(key: str) -> None:
    use, text = all_uses()[key], REVIEWED[key]
    assert isinstance(text, Foreign)
    methods = text.methods or use.methods
    assert methods, f"say in REVIEWED how {key} is used"

    def act() -> str | None:
        return next(filter(None, (slowest(pattern, methods, text.limit) for pattern in use.patterns)), None)

    assert in_a_child(act) is None


def parsed_strings() -> Iterator[type[ParsedString]]:
    for path in modules():
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")
        if name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, ParsedString) and value.pattern is not None:
                yield value


@pytest.mark.parametrize("kind", sorted(set(parsed_strings()), key=lambda kind: kind.__name__))
def test_names_are_checked_in_time_in_proportion_to_them(kind: type[ParsedString]) -> None:
    assert kind.pattern is not None
    pattern = re.compile(kind.pattern)

    assert in_a_child(lambda: slowest(pattern, frozenset({"fullmatch"}), None)) is None


def test_numbers_of_yaml_are_told_in_no_time() -> None:
    patterns = {pattern for group in yaml.SafeLoader.yaml_implicit_resolvers.values() for _, pattern in group}

    def act() -> str | None:
        return next(
            filter(None, (slowest(pattern, frozenset({"match"}), MAX_NUMBER_CHARACTERS) for pattern in patterns)), None
        )

    assert in_a_child(act) is None


@pytest.mark.parametrize(
    "evil", [r"(a*)*b", r"(?:a|aa)+$", r"a*a*a*a*a*b", r"\s*FROM", r"x.*y.*z", r"(?:.*/)?(?:.*/)?(?:.*/)?x", r"a+b|a+c"]
)
def test_expressions_that_are_known_to_be_evil_are_told(evil: str) -> None:
    """What is looked for above would be seen."""
    pattern = re.compile(evil)

    assert in_a_child(lambda: slowest(pattern, frozenset({"search"}), None), 0.5) is not None


def quickly(act: Callable[[], object]) -> None:
    began = time.process_time()
    act()
    assert time.process_time() - began < on_this_machine(1)


@pytest.mark.parametrize(
    "text", ["manifest for " * 80_000, "repository " * 90_000, "lookup " * 140_000, "x" * 1_000_000, "HTTP 4" * 160_000]
)
def test_what_a_registry_says_is_told_at_once_and_short(text: str) -> None:
    image = ImageReference.parse("registry.example/a/b:1")

    def act() -> None:
        error = pull_error(image, status=500, text=text, platform=None, has_login=False)
        assert len(error.message) < 2500

    quickly(act)


@pytest.mark.parametrize(
    "text", ["\n" * 1_000_000, "\n" * 32_000 + "FROM x", "FROM\n" * 200_000, "FROM --a " * 100_000]
)
def test_dockerfile_of_nothing_is_read_at_once(text: str) -> None:
    quickly(lambda: base_images(text, {}))

    def act() -> None:
        try:
            images_used(text, {})
        except ImageNotTold:
            return

    quickly(act)


def test_thirty_double_stars_freeze_nothing() -> None:
    quickly(lambda: IgnoreRules.parse("**/" * 30 + "x").leave_out("a/" * 2000 + "y"))
    quickly(lambda: IgnoreRules.parse("*a" * 300 + "b").leave_out("a" * 4000))


def test_ignore_rules_without_an_end_are_refused() -> None:
    def act() -> None:
        with pytest.raises(BuildFailed):
            IgnoreRules.parse("a\n" * 500_000)

    quickly(act)


@pytest.mark.parametrize(
    "version", ["1" * LARGE, "1." * LARGE, "1.0-" + "a" * LARGE, "v" * LARGE, "1.0.0-" + "0.a-" * 5000]
)
def test_versions_are_compared_at_once(version: str) -> None:
    def act() -> str | None:
        began = time.process_time()
        order(version, "1.0")
        took = time.process_time() - began
        return f"{took:.2f} s" if took > on_this_machine(1) else None

    assert in_a_child(act) is None


def test_the_list_is_of_the_whole_product() -> None:
    assert len(list(modules())) > 250
    assert all((Path(ROOT) / use.module).is_file() for use in all_uses().values())
