"""Who of the host's users gets at what add-ons keep: nobody but root, whatever modes older versions left."""

from __future__ import annotations

import stat
from pathlib import Path

from rooftree.testing.containers import FakeContainerEngine
from tests.plugins.addons.house import house


def mode(path: Path) -> str:
    """Its permission bits."""
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


async def test_folders_of_add_ons_are_closed_and_what_is_in_them_is_not_touched(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ours = ("apps/data", "apps/kept", "apps/removed", "cid_files", "apparmor")
    for name in (*ours, "apps/data/local_x", "share", "app_configs", "app_configs/local_x"):
        (data / name).mkdir(parents=True, exist_ok=True)
        (data / name).chmod(0o2777 if name == "share" else 0o777)
    (data / "apps").chmod(0o777)

    async with house(tmp_path, FakeContainerEngine()) as home:
        assert home.data == data
        assert {name: mode(data / name) for name in ours} == dict.fromkeys(ours, "700")
        assert (mode(data), mode(data / "apps")) == ("750", "750")
        assert (mode(data / "share"), mode(data / "app_configs")) == ("2777", "777")
        assert (mode(data / "apps/data/local_x"), mode(data / "app_configs/local_x")) == ("777", "777")
