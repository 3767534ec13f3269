"""The kernel knows no kind of callers, and nothing else of a domain: not in code, not in what it says of itself."""

from __future__ import annotations

import re

import pytest

from tests.lint.test_rooms import MODULES

BESIDE = ("rooftree.cli", "rooftree.interfaces", "rooftree.testing")
"""What no room of the kernel imports, and what may speak of domains."""
DOMAINS = re.compile(
    r"add[-_ ]?on(?!e\b)|(?<![a-z])core(?![a-z])|(?-i:\bCore(?=[A-Z])|(?<=[a-z])Core(?![a-z]))"
    r"|observer|hassio|home assistant|ingress|x-supervisor",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "text",
    [
        "ANY_ADDON",
        "an add-on's slug",
        "CORE_ONLY",
        "OF_CORE",
        "CoreOnly",
        "forCore",
        "OBSERVER",
        "Core",
        "X-Hassio-Key",
    ],
)
def test_words_of_domains_are_seen(text: str) -> None:
    assert DOMAINS.search(text)


def test_kernel_has_no_word_of_a_domain() -> None:
    lines = [
        f"{module} {number}: {line.strip()}"
        for module, path in MODULES.items()
        if not module.startswith(BESIDE)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if DOMAINS.search(line)
    ]
    assert lines == []
