"""What an instance has of the machine: two of these are compared to say that nothing was left behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from attrs import frozen

from tests.rig.daemon import Daemon
from tests.rig.engine import BUILT_BY_LABEL, INSTANCE_LABEL, Engine

KEPT = "rooftree-kept"
"""The name of images that are kept for the way back from an update."""


@frozen
class Footprint:
    """Everything add-ons bring, by name."""

    installed: frozenset[str]
    """Slug and version of each."""
    containers: frozenset[str]
    """Name and state of each, and the image that it runs."""
    images: frozenset[str]
    files: frozenset[str]
    """The folders of the add-ons and the files beside them."""
    tokens: int

    @classmethod
    async def of(cls, daemon: Daemon, engine: Engine, *, registry: str) -> Self:
        """What there is now; ``registry`` is the address whose images count beside those that were built."""
        addons = (await daemon.ok("GET", "/addons"))["addons"]
        tokens = (await daemon.ok("GET", "/kernel/v1/tokens"))["tokens"]
        containers = engine.containers(label=f"{INSTANCE_LABEL}={daemon.instance}")
        own = [
            *engine.image_names(reference=f"{registry}/*/*"),
            *engine.image_names(label=f"{BUILT_BY_LABEL}={daemon.instance}"),
        ]
        names = {image: name for image, name in own if not name.startswith(KEPT)}
        kept = {f"kept: {names[image]}" for image, _ in engine.image_names(reference=KEPT) if image in names}
        return cls(
            installed=frozenset(f"{addon['slug']} {addon['version']} {addon['state']}" for addon in addons),
            containers=frozenset(f"{shown.name} {shown.state} {shown.image}" for shown in containers),
            images=frozenset({*names.values(), *kept}),
            files=frozenset(
                [
                    *_names(daemon.data_dir, ("apps/data", "app_configs", "cid_files", "apps/git")),
                    *_kept(daemon.data_dir / "apps" / "kept"),
                    *(f"to be deleted: {name}" for name in _removed(daemon.data_dir / "apps" / "removed")),
                ]
            ),
            tokens=sum(token["kind"] == "addon" for token in tokens),
        )


def _kept(folder: Path) -> list[str]:
    """What is kept of the add-ons' data, without the names that are new each time."""
    folders = sorted(folder.glob("*/*"))
    return [f"{path.parent.name} {path.name[:6] if path.name.startswith('failed') else 'kept'}" for path in folders]


def _removed(folder: Path) -> list[str]:
    """Where that was which is still to be deleted."""
    return sorted(path.name.partition(".")[2] for path in folder.glob("*"))


def _names(data_dir: Path, folders: Iterable[str]) -> list[str]:
    places = (data_dir / folder for folder in folders)
    return [str(path.relative_to(data_dir)) for place in places if place.is_dir() for path in place.iterdir()]
