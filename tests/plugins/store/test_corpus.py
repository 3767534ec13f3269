"""Every file of the corpus of real add-on repositories gets the verdict and the content that the reference gives it."""

import json
import time

from rooftree_store.addon_config import ConfigInvalid, ParsedAddon, parse_addon_config
from rooftree_store.build_file import parse_build_file
from rooftree_store.readers import ContentInvalid
from rooftree_store.repository_file import parse_repository_file
from rooftree_store.translations import parse_translation
from rooftree_store.yaml_files import FileInvalid, read_document
from tests.plugins.store.corpus import CORPUS, needs_corpus, rows
from tests.rig.pace import on_this_machine

pytestmark = needs_corpus

_OTHER_SERVICE = "names a service that the reference does not know; here a plugin can add it (hook service_kinds)"
DELIBERATE_DIFFERENCES: dict[str, str] = {
    "addon-history/FaserF__hassio-addons/wiki.js3@f17e76cb/config.yaml": _OTHER_SERVICE,
    "addon-history/alexbelgium__hassio-addons/postgres@06c1f41d/config.json": _OTHER_SERVICE,
}
"""Relative path to reason: files that are accepted here, and refused by the reference."""

MAX_CPU_S = 0.7
"""For every configuration of the corpus, the budget for the 406 of a store; reading takes most of it."""


def parse(path: str) -> ParsedAddon | None:
    try:
        return parse_addon_config(read_document(CORPUS / path).content)
    except (FileInvalid, ConfigInvalid):
        return None


def test_every_addon_config_gets_the_verdict_of_the_reference():
    expected = {row[0]: row[1] == "valid" for row in rows("expected.tsv") if row[0] not in DELIBERATE_DIFFERENCES}

    wrong = {path: valid for path, valid in expected.items() if (parse(path) is not None) != valid}

    assert len(expected) > 600
    assert wrong == {}


def test_what_is_accepted_on_purpose_is_accepted():
    assert [path for path in DELIBERATE_DIFFERENCES if parse(path) is None] == []


def test_every_other_file_gets_the_verdict_of_the_reference():
    parsers = {"repository": parse_repository_file, "build": parse_build_file, "translation": parse_translation}
    checked, wrong = 0, {}
    for kind, path, verdict, *_ in rows("expected-other.tsv"):
        if path in DELIBERATE_DIFFERENCES:
            continue
        try:
            parsed = parsers[kind](read_document(CORPUS / path).content)
            accepted = not getattr(parsed, "findings", ())  # what of such a file is right is used here
        except (FileInvalid, ContentInvalid):
            accepted = False
        checked += 1
        if accepted != (verdict == "valid"):
            wrong[path] = verdict

    assert checked > 400
    assert wrong == {}


def test_every_valid_config_normalises_to_the_content_of_the_reference():
    checked, wrong = 0, []
    for line in (CORPUS / "expected-normalized.jsonl").read_text(encoding="utf-8").splitlines():
        expected = json.loads(line)
        if expected["relpath"] in DELIBERATE_DIFFERENCES:
            continue
        parsed = parse(expected["relpath"])
        checked += 1
        # Compared as JSON text, so that 1 and true differ.
        ours = parsed and json.dumps([parsed.config.normalised(), list(parsed.advisories)], sort_keys=True)
        if ours != json.dumps([expected["config"], expected["advisories"]], sort_keys=True):
            wrong.append(expected["relpath"])

    assert checked > 500
    assert wrong == []


def test_reading_all_configs_stays_within_its_budget():
    paths = [row[0] for row in rows("expected.tsv")]

    started = time.process_time()
    for path in paths:
        parse(path)
    spent = time.process_time() - started

    assert spent < on_this_machine(MAX_CPU_S)
