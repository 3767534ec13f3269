"""What the operator may set of add-ons."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree.settings import SettingsInvalid, load
from rooftree_addons.plugin import AddonsSettings


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("probation_minutes", "-3", "from 0 to 525600"),
        ("failed_data_days", "1e12", "from 0 to 3650"),  # more than the clock can add
        ("pids_limit", "-1", "from 0 to 4194304"),
    ],
)
def test_number_that_means_nothing_is_refused_with_what_is_allowed(
    tmp_path: Path, key: str, value: str, allowed: str
) -> None:
    file = tmp_path / "rooftree.toml"
    file.write_text(f"[plugins.addons]\n{key} = {value}")

    with pytest.raises(SettingsInvalid, match=rf"line 2: plugins\.addons\.{key} must be {allowed}, not "):
        load(config=file, environ={}, flags={}).section("addons", AddonsSettings)
