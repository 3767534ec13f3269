"""``/kernel/v1/metrics``: how the kernel is, in numbers, for Prometheus.

What is counted is counted elsewhere, as plain numbers; Prometheus' own library is imported at the first scrape, so that
it costs nothing where nobody scrapes. A picture is taken in the loop, and written out in a thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
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
from rooftree.process import LOOP_WATCHDOG
from rooftree_supervisor.event_stream import EVENTS, event_type
from rooftree_supervisor.version import rooftree_version

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4"
"""The text format of Prometheus, as its documentation names it."""


@frozen
class _Picture:
    """What is written out."""

    traffic: Mapping[RouteOutcome, Answers]
    jobs: Mapping[str, int]
    """Open jobs, by whether they ``run`` or ``wait``."""
    jobs_ended: Mapping[tuple[str, str], int]
    events: Mapping[str, int]
    event_readers: int
    event_readers_dropped: int
    plugins: Mapping[str, str]
    problems: Mapping[str, int]
    loop_lag_s: float
    longest_loop_lag_s: float
    loop_blocks: int


class Metrics:
    """Counts what is only told as events, and writes everything out."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._jobs_ended: Counter[tuple[str, str]] = Counter()
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
        return await asyncio.to_thread(_written, self._picture())

    def _picture(self) -> _Picture:
        service = self._kernel.service
        stream, watchdog = service(EVENTS), service(LOOP_WATCHDOG)
        return _Picture(
            traffic=service(TRAFFIC).answers(),
            jobs=Counter("waits" if job.done is None else "runs" for job in service(JOBS).listing() if not job.done),
            jobs_ended=dict(self._jobs_ended),
            events=dict(self._events),
            event_readers=stream.readers,
            event_readers_dropped=stream.dropped,
            plugins={plugin.name: plugin.state for plugin in service(PLUGINS)},
            problems=Counter(problem.severity for problem in service(PROBLEMS)),
            loop_lag_s=watchdog.lag_s,
            longest_loop_lag_s=watchdog.longest_lag_s,
            loop_blocks=watchdog.blocks,
        )


METRICS = Service[Metrics]("supervisor.metrics/1")


def _outcome(job: JobInfo) -> str:
    if not job.errors:
        return "done"
    return "cancelled" if any(error.error_key == "job_cancelled_error" for error in job.errors) else "failed"


def _written(picture: _Picture) -> str:
    """The picture in the text format, with how much of the machine the process uses; called in a thread."""
    import prometheus_client as prometheus  # noqa: PLC0415  # 2 MB and 60 ms that only a scrape has to pay for

    registry = prometheus.CollectorRegistry()
    registry.register(_Collector(picture))
    prometheus.ProcessCollector(registry=registry)
    return prometheus.generate_latest(registry).decode()


class _Collector:
    """A picture as Prometheus' library wants to be given it."""

    def __init__(self, picture: _Picture) -> None:
        self._picture = picture

    def collect(self) -> Iterator[Metric]:
        """Every family of numbers."""
        yield from self._about_requests()
        yield from self._about_the_rest()

    def _about_requests(self) -> Iterator[Metric]:
        from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415  # as above

        requests = HistogramMetricFamily(
            "rooftree_http_request_duration_seconds",
            "How long answers took, by method, route and status; streams count when they end",
            labels=("method", "route", "status"),
        )
        limits = [*map(str, BOUNDS_S), "+Inf"]
        for asked, answers in self._picture.traffic.items():
            sums = accumulate(answers.by_duration)
            requests.add_metric(
                (asked.method, asked.route, str(asked.status)), list(zip(limits, sums, strict=True)), answers.seconds
            )
        yield requests

    def _about_the_rest(self) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415  # as above
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        now = self._picture
        yield InfoMetricFamily("rooftree", "What runs here", {"version": rooftree_version()})

        jobs = GaugeMetricFamily("rooftree_jobs", "Jobs that are not over, by whether they run", labels=("state",))
        for state in ("runs", "waits"):
            jobs.add_metric((state,), now.jobs.get(state, 0))
        yield jobs

        ended = CounterMetricFamily("rooftree_jobs_ended", "Jobs that are over", labels=("job", "outcome"))
        for (name, outcome), count in now.jobs_ended.items():
            ended.add_metric((name, outcome), count)
        yield ended

        events = CounterMetricFamily("rooftree_events_published", "Events, by type", labels=("type",))
        for name, count in now.events.items():
            events.add_metric((name,), count)
        yield events

        yield GaugeMetricFamily("rooftree_event_readers", "Clients that follow the events", now.event_readers)
        yield CounterMetricFamily(
            "rooftree_event_readers_dropped", "Clients that were too slow for the events", now.event_readers_dropped
        )

        plugins = GaugeMetricFamily(
            "rooftree_plugin_state", "Plugins; the state that each is in has a 1", labels=("plugin", "state")
        )
        for name, state in now.plugins.items():
            plugins.add_metric((name, state), 1)
        yield plugins

        problems = GaugeMetricFamily("rooftree_problems", "What is wrong now, by severity", labels=("severity",))
        for severity in ("issue", "unsupported", "unhealthy"):
            problems.add_metric((severity,), now.problems.get(severity, 0))
        yield problems

        yield GaugeMetricFamily("rooftree_loop_lag_seconds", "How late the event loop just was", now.loop_lag_s)
        yield GaugeMetricFamily(
            "rooftree_loop_longest_lag_seconds", "How late it was at most, since the start", now.longest_loop_lag_s
        )
        yield CounterMetricFamily(
            "rooftree_loop_blocks", "How often it was blocked for a second or more", now.loop_blocks
        )
