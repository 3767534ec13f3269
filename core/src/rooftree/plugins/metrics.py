"""Numbers of a plugin's own: counted and shown while it runs, at ``/kernel/v1/metrics``.

They are plain numbers in memory; whoever writes them out for Prometheus asks for all of them when it is scraped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, Literal

import structlog
from attrs import define, field, frozen

from rooftree.plugins.scope import Scope
from rooftree.services import Service

log = structlog.get_logger(__name__)

MOST_SERIES: Final = 1_000
"""Combinations of labels that one metric may have: more would be names that strangers choose, and fill the memory."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

type Labels = tuple[str, ...]


@frozen
class Family:
    """One metric as it is now.

    :ivar name: with the prefix, without Prometheus' ``_total``
    :ivar text: what it counts or shows, in a sentence
    :ivar labels: the names of its labels
    :ivar values: by the values of its labels, in that order
    """

    name: str
    text: str
    kind: Literal["counter", "gauge"]
    labels: Labels
    values: Mapping[Labels, float]


@define(eq=False)
class _Metric:
    name: str
    text: str
    labels: Labels
    _values: dict[Labels, float] = field(factory=dict)
    _is_full: bool = False

    def _set(self, labels: Mapping[str, str], value: Callable[[float], float]) -> None:
        if labels.keys() != set(self.labels):
            raise TypeError(f"metric {self.name}: give {', '.join(self.labels) or 'no label'}, not {', '.join(labels)}")
        key = tuple(labels[name] for name in self.labels)
        if key not in self._values and len(self._values) >= MOST_SERIES:
            if not self._is_full:
                self._is_full = True
                log.warning("metric_full", metric=self.name, most=MOST_SERIES)
            return
        self._values[key] = value(self._values.get(key, 0.0))


@define(eq=False)
class Counter(_Metric):
    """Counts what happens; only ever more."""

    def add(self, amount: float = 1, **labels: str) -> None:
        """Something happened, or that much of it; ``ValueError`` for less than nothing, ``TypeError`` unless each label
        has a value. Beyond a thousand combinations of labels no new one is counted."""
        if amount < 0:
            raise ValueError(f"metric {self.name}: a counter only counts up, not by {amount}")
        self._set(labels, lambda value: value + amount)

    def family(self) -> Family:
        """How it is now."""
        values: dict[Labels, float] = {} if self.labels else {(): 0.0}
        return Family(self.name, self.text, "counter", self.labels, values | self._values)


@define(eq=False)
class Gauge(_Metric):
    """Shows how much there is of something now."""

    read: Callable[[], float] | None = None

    def set(self, value: float, **labels: str) -> None:
        """It is that much now; ``TypeError`` unless each label has a value."""
        self._set(labels, lambda _: value)

    def family(self) -> Family:
        """How it is now."""
        values: dict[Labels, float] = {} if self.read is None else {(): float(self.read())}
        return Family(self.name, self.text, "gauge", self.labels, values | self._values)


class Metrics:
    """The metrics of every plugin that runs."""

    def __init__(self) -> None:
        self._metrics: dict[str, Counter | Gauge] = {}

    def add(self, metric: Counter | Gauge) -> None:
        """Show one from now on; raises ``ValueError`` where another has its name."""
        if metric.name in self._metrics:
            raise ValueError(f"there is a metric {metric.name} already")
        self._metrics[metric.name] = metric

    def remove(self, name: str) -> None:
        """Show it no longer."""
        self._metrics.pop(name, None)

    def __iter__(self) -> Iterator[Family]:
        """Each as it is now; one that can't be read is left out, and logged."""
        for metric in list(self._metrics.values()):
            try:
                yield metric.family()
            except Exception:
                log.exception("metric_not_read", metric=metric.name)


METRICS = Service[Metrics]("metrics/1")


@frozen
class PluginMetrics:
    """The metrics of one plugin, each called ``rooftree_plugin_<plugin>_<name>``, gone when it stops."""

    _all: Metrics
    _plugin: str
    _scope: Scope

    def counter(self, name: str, text: str, labels: Labels = ()) -> Counter:
        """Count something.

        :param name: such as ``fetches`` or ``fetched_bytes``; lower-case letters, digits and underscores. Prometheus
            shows it with ``_total``
        :param text: what is counted, in a sentence
        :param labels: what tells one count from another, such as ``("repository",)``; each :meth:`Counter.add` gives
            every one a value

        Raises ``ValueError`` for a name that is no such name, or is taken.
        """
        return self._added(Counter(self._full_name(name), text, labels))

    def gauge(self, name: str, text: str, labels: Labels = (), *, read: Callable[[], float] | None = None) -> Gauge:
        """Show how much there is of something.

        :param read: asked for it at each look, in the event loop; without it, :meth:`Gauge.set` tells

        Raises ``ValueError`` for a name that is no such name, or is taken, and for labels beside ``read``.
        """
        if labels and read is not None:
            raise ValueError(f"metric {name}: what is read has no labels")
        return self._added(Gauge(self._full_name(name), text, labels, read=read))

    def _full_name(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"metric {name!r}: a name has lower-case letters, digits and underscores")
        return f"rooftree_plugin_{self._plugin.replace('-', '_')}_{name}"

    def _added[M: (Counter, Gauge)](self, metric: M) -> M:
        self._all.add(metric)
        self._scope.push(f"metric {metric.name}", partial(self._all.remove, metric.name))
        return metric
