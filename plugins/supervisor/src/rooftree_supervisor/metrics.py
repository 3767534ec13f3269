"""``/kernel/v1/metrics``: how the kernel is, in numbers, for Prometheus.

What is counted is counted elsewhere, as plain numbers; Prometheus' own library is imported at the first scrape, so that
it costs nothing where nobody scrapes. A picture is taken in the loop, and written out in a thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from attrs import frozen

from rooftree import (
    JOBS,
    PLUGINS,
    PROBLEMS,
    Event,
    JobChanged,
    JobInfo,
    Kernel,
    Service,
)
from rooftree.http import BOUNDS_S, TRAFFIC, Answers, RouteOutcome
from rooftree.plugins import METRICS, Family
from rooftree.process import LOOP_WATCHDOG
from rooftree_supervisor.event_stream import EVENTS, event_type
from rooftree_supervisor.version import rooftree_version

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4"
"""The text format of Prometheus, as its documentation names it."""


class Scrape:
    """Counts what is only told as events, and writes everything out: the kernel's numbers, and those of plugins."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._jobs_ended: Counter[tuple[str, ...]] = Counter()
        self._events: Counter[str] = Counter()
        kernel.on(JobChanged, self._note_end)
        kernel.on(Event, self._note_event)

    def _note_end(self, event: JobChanged) -> None:
        if event.job.done:
            self._jobs_ended[event.job.name, _outcome(event.job)] += 1

    def _note_event(self, event: Event) -> None:
        self._events[event_type(type(event))] += 1

    async def text(self) -> str:
        """Everything, in the text format."""
        families = [*self._of_the_kernel(), *self._kernel.service(METRICS)]
        return await asyncio.to_thread(_written, self._kernel.service(TRAFFIC).answers(), families)

    def _of_the_kernel(self) -> Iterator[Family]:
        service = self._kernel.service
        stream, watchdog = service(EVENTS), service(LOOP_WATCHDOG)
        jobs = Counter("waits" if job.done is None else "runs" for job in service(JOBS).listing() if not job.done)
        problems = Counter(problem.severity for problem in service(PROBLEMS))
        yield _gauge("jobs", "Jobs that are not over, by whether they run",
                     {(state,): jobs[state] for state in ("runs", "waits")}, "state")  # fmt: skip
        yield _counter(
            "jobs_ended",
            "Jobs that are over",
            dict(self._jobs_ended),
            "job",
            "outcome",
        )
        yield _counter("events_published", "Events, by type",
                       {(name,): count for name, count in self._events.items()}, "type")  # fmt: skip
        yield _gauge("event_readers", "Clients that follow the events", {(): stream.readers})
        yield _counter("event_readers_dropped", "Clients that were too slow for the events", {(): stream.dropped})
        yield _gauge("plugin_state", "Plugins; the state that each is in has a 1",
                     {(plugin.name, plugin.state): 1 for plugin in service(PLUGINS)}, "plugin", "state")  # fmt: skip
        yield _gauge("problems", "What is wrong now, by severity",
                     {(known,): problems[known] for known in ("issue", "unsupported", "unhealthy")},
                     "severity")  # fmt: skip
        yield _gauge("loop_lag_seconds", "How late the event loop just was", {(): watchdog.lag_s})
        yield _gauge("loop_longest_lag_seconds", "How late it was at most, since the start",
                     {(): watchdog.longest_lag_s})  # fmt: skip
        yield _counter("loop_blocks", "How often it was blocked for a second or more", {(): watchdog.blocks})


SCRAPE = Service[Scrape]("supervisor.scrape/1")


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Family:
    return Family(f"rooftree_{name}", text, "gauge", labels, values)


def _counter(name: str, text: str, values: Mapping[tuple[str, ...], float], *labels: str) -> Family:
    return Family(f"rooftree_{name}", text, "counter", labels, values)


def _outcome(job: JobInfo) -> str:
    if not job.errors:
        return "done"
    return "cancelled" if any(error.error_key == "job_cancelled_error" for error in job.errors) else "failed"


def _written(traffic: Mapping[RouteOutcome, Answers], families: Sequence[Family]) -> str:
    """All of it in the text format, with how much of the machine the process uses; called in a thread."""
    import prometheus_client as prometheus  # noqa: PLC0415  # 2 MB and 60 ms that only a scrape has to pay for

    registry = prometheus.CollectorRegistry()
    registry.register(_Collector(traffic, families))
    prometheus.ProcessCollector(registry=registry)
    return prometheus.generate_latest(registry).decode()


@frozen(eq=False)
class _Collector:
    """The numbers as Prometheus' library wants to be given them."""

    traffic: Mapping[RouteOutcome, Answers]
    families: Sequence[Family]

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415  # as above
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        yield self._requests()
        yield InfoMetricFamily("rooftree", "What runs here", {"version": rooftree_version()})
        kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
        for family in self.families:
            metric = kinds[family.kind](family.name, family.text, labels=family.labels)
            for labels, value in family.values.items():
                metric.add_metric(labels, value)
            yield metric

    def _requests(self) -> Metric:
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415  # as above

        requests = HistogramMetricFamily(
            "rooftree_http_request_duration_seconds",
            "How long answers took, by method, route and status; streams count when they end",
            labels=("method", "route", "status"),
        )
        limits = [*map(str, BOUNDS_S), "+Inf"]
        for asked, answers in self.traffic.items():
            sums = accumulate(answers.by_duration)
            requests.add_metric(
                (asked.method, asked.route, str(asked.status)), list(zip(limits, sums, strict=True)), answers.seconds
            )
        return requests
