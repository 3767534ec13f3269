"""A test that lacks something says so with ``needs``, which CI takes for a failure."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_no_test_is_skipped_for_what_is_missing_without_ci_noticing() -> None:
    passed_over = {
        f"{path.relative_to(TESTS)}:{number}"
        for path in TESTS.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\b(mark\.skip|importorskip)", line) and path != Path(__file__)
    }

    assert passed_over == set(), "use tests.requirements: needs, needs_shared or missing"
