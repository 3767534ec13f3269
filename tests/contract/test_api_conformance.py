"""What is answered is what the document says, whatever is asked: schemathesis asks, of a system with add-ons in it.

The document is made stricter first. An answer may have no key that its schema does not name, and slugs are those of
add-ons that are there, so that more than refusals is looked at.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rooftree import Principal, Rate, Role
from rooftree.access import wrong_tokens
from rooftree.testing import Client, token_for
from tests.contract.inhabited import INSTALLED, OFFERED, RUNS, inhabited_house

CORE = Principal("core", "homeassistant", Role.ADMIN)
"""May do more than anybody."""
ENDLESS = "/follow$|^/kernel/v1/events$"
"""Answers that go on for ever, which schemathesis would wait for; what they begin with is looked at beside it."""
ADDONS_AND_CORE = "^/(addons|store|core|homeassistant|auth)/"
OF_CORE = ("/core/", "/homeassistant/")
"""How the paths begin of Core, which is not there in the house that is asked."""
NOWHERE = {"enum": ["local", "http://127.0.0.1:9/nothing"]}
"""Repositories that can be asked for without leaving this machine."""
CONFIG = Path(__file__).with_name("schemathesis.toml")
LETTERS = Path(__file__).parents[2] / ".hypothesis"
"""Where hypothesis keeps what it found out about all of Unicode: that takes it seconds of a processor."""


@pytest.fixture(autouse=True)
def many_wrong_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong tokens are answered with what they are, however many come."""
    monkeypatch.setattr(wrong_tokens, "ALLOWED", Rate(1_000_000, timedelta(minutes=1)))


def stricter(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it is tested."""
    found = json.loads(json.dumps(document))
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    schemas["store.AddonSlug"] = {"enum": [RUNS, INSTALLED, OFFERED, "local_none"]}
    schemas["store.RepositorySlug"] = {"enum": ["local", "core", "0123abcd"]}
    schemas["store.RepositorySource"] = NOWHERE
    schemas["supervisor.OptionsChange"]["properties"]["addons_repositories"]["items"] = NOWHERE
    schemas["kernel.PluginName"] = {"enum": ["spare", "none"]}
    return found


async def conform(folder: Path, *options: str, but: str = ENDLESS) -> str:
    """Ask everything, and return what schemathesis says; fails the test where it found something."""
    async with inhabited_house(folder) as system, Client.over_tcp(system) as client:
        token = await token_for(system, CORE)
        document = json.loads((await client.get("/openapi.json")).body)
        place = folder / "openapi.json"
        await asyncio.to_thread(place.write_text, json.dumps(stricter(document)))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", str(place),
            "--url", f"http://127.0.0.1:{system.port}", "-H", f"Authorization: Bearer {token}",
            "--phases", "coverage,fuzzing,stateful", "--exclude-path-regex", but, "--continue-on-failure",
            "--request-timeout", "20", "--generation-database", "none", "--no-color", *options,
            cwd=folder, env=os.environ | {"HYPOTHESIS_STORAGE_DIRECTORY": str(LETTERS)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()


# In two parts, which run side by side; each asks for a minute or two. Each part more would be a start more of
# schemathesis and of a house: four seconds of a processor.
pytestmark = pytest.mark.timeout(600)


async def test_answers_about_add_ons_and_core_are_what_the_document_says(tmp_path: Path) -> None:
    said = await conform(tmp_path, "--include-path-regex", ADDONS_AND_CORE, "--max-examples", "6", "--seed", "1")

    assert asked(said) >= 2_800


async def test_answers_about_all_else_are_what_the_document_says(tmp_path: Path) -> None:
    but = f"{ENDLESS}|{ADDONS_AND_CORE}"
    said = await conform(tmp_path, "--max-examples", "6", "--seed", "1", but=but)

    assert asked(said) >= 4_800


@pytest.mark.torture
async def test_answers_are_what_the_document_says_however_often_it_is_asked(tmp_path: Path) -> None:
    said = await conform(tmp_path, "--max-examples", "150")

    assert asked(said) >= 8_000


async def test_two_tokens_that_differ_are_refused_by_each_operation_as_the_document_says(tmp_path: Path) -> None:
    async with inhabited_house(tmp_path) as system, Client.over_tcp(system, token="none-of-ours") as client:
        document = stricter(json.loads((await client.get("/openapi.json")).body))
        operations = [
            (path, method, operation["responses"]["401"]["$ref"])
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        for path, method, refusal in operations:
            place = re.sub(r"{\w+}", "0", path)
            answer = await client.request(method.upper(), place, headers={"X-Supervisor-Token": "another"})
            assert answer.status == 401, (method, path)
            if method != "head":
                schema = {"$ref": f"{refusal}/content/application~1json/schema", "components": document["components"]}
                Draft202012Validator(schema).validate(answer.envelope)

    assert len(operations) >= 240


async def test_what_goes_on_for_ever_begins_as_the_document_says(tmp_path: Path) -> None:
    async with inhabited_house(tmp_path) as system, Client.over_unix(system) as client:
        paths = json.loads((await client.get("/openapi.json")).body)["paths"]
        endless = [path for path in paths if re.search(ENDLESS, path)]

        async def look_at(path: str) -> None:
            chosen = path.replace("{addon}", RUNS).replace("{bootid}", "0").replace("{identifier}", "kernel")
            async with client.streaming("GET", chosen) as response:
                is_there = not path.startswith(OF_CORE)
                assert response.status == (200 if is_there else 404), path
                content = paths[path]["get"]["responses"]["200"]["content"]
                assert response.content_type in content or not is_there, path

        await asyncio.gather(*map(look_at, endless))  # logs of containers that say nothing take a second to begin

    assert len([path for path in endless if not path.startswith(OF_CORE)]) >= 3


def asked(said: str) -> int:
    """How many requests schemathesis made."""
    found = re.search(r"(\d+) generated", said)
    assert found is not None, said
    return int(found[1])
