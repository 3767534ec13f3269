"""How far a pull is, from what the engine says of each layer.

A layer counts 70 % for its download and 30 % for its extraction, weighted by its size. Sizes become known one after
another, so a layer of unknown size counts as much as the average of the known ones; what was reached is never taken
back, even when the whole turns out larger.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from rooftree.interfaces.containers import Progress
from rooftree_docker.engine_client import Json

DOWNLOAD_SHARE: Final = 0.7
_LAYER_STATES: Final = frozenset(
    {
        "Pulling fs layer",
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
        "Pull complete",
    }
)


@define
class _Layer:
    size: int | None = None
    downloaded: float = 0.0
    extracted: float = 0.0

    @property
    def share(self) -> float:
        return DOWNLOAD_SHARE * self.downloaded + (1 - DOWNLOAD_SHARE) * self.extracted


class PullProgress:
    """Takes the engine's messages and says how far the pull is."""

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._last = (0, 1)

    def feed(self, message: Json) -> Progress | None:
        """What ``message`` changes, or ``None`` when there is nothing new to say."""
        status, layer_id = message.get("status", ""), message.get("id")
        if layer_id is None or status not in _LAYER_STATES:
            return None  # layers that "Already exist" cost nothing and do not count
        layer = self._layers.setdefault(layer_id, _Layer())
        detail = message.get("progressDetail") or {}
        current, total = detail.get("current"), detail.get("total")
        if status == "Downloading" and current is not None and total and total > 0:
            layer.size = total
            layer.downloaded = max(layer.downloaded, min(1.0, current / total))
        elif status in {"Verifying Checksum", "Download complete"}:
            layer.downloaded = 1.0
        elif status == "Extracting":
            layer.downloaded = 1.0
            if current is not None and total and total > 0:  # the containerd store counts seconds, without a total
                layer.size = layer.size or total
                layer.extracted = max(layer.extracted, min(1.0, current / total))
        elif status == "Pull complete":
            layer.downloaded = layer.extracted = 1.0
        return self._said()

    def finished(self) -> Progress:
        """The last word, once the engine has said that all is there."""
        total = max(1, self._total())
        return Progress(done=total, total=total)

    def _said(self) -> Progress | None:
        total = self._total()
        if total == 0:
            return None
        average = self._average()
        done = int(sum((layer.size or average) * layer.share for layer in self._layers.values()))
        last_done, last_total = self._last
        # The total may have grown since: then as much of it as was reached before, rounded up.
        done = min(total, max(done, -(-last_done * total // last_total)))
        if (done, total) == self._last:
            return None
        self._last = (done, total)
        return Progress(done=done, total=total)

    def _total(self) -> int:
        average = self._average()
        return round(sum(layer.size or average for layer in self._layers.values()))

    def _average(self) -> float:
        sizes = [layer.size for layer in self._layers.values() if layer.size]
        return sum(sizes) / len(sizes) if sizes else 0.0
