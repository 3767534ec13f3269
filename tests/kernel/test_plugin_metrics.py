"""Numbers of a plugin's own: what is counted, what is refused, and that they go with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rooftree import Kernel, Plugin
from rooftree.plugins import metrics as metrics_module
from rooftree.plugins.metrics import Family, Metrics, PluginMetrics
from rooftree.plugins.scope import Scope
from rooftree.testing import running_system


@pytest.fixture
def everything() -> Metrics:
    return Metrics()


@pytest.fixture
def scope() -> Scope:
    return Scope("tower-clock")


@pytest.fixture
def own(everything: Metrics, scope: Scope) -> PluginMetrics:
    return PluginMetrics(everything, "tower-clock", scope)


def test_counter_and_gauge_are_shown_with_their_labels_under_the_plugins_name(
    everything: Metrics, own: PluginMetrics
) -> None:
    strikes = own.counter("strikes", "Strikes of the bell, by bell", labels=("bell",))
    strikes.add(bell="great")
    strikes.add(2.5, bell="great")
    strikes.add(bell="small")
    own.gauge("weight", "Kilograms left", labels=("side",)).set(3, side="left")
    own.gauge("hands", "How many hands there are", read=lambda: 2)
    own.counter("wound", "How often it was wound")

    assert {family.name: family for family in everything} == {
        family.name: family
        for family in (
            Family("rooftree_plugin_tower_clock_strikes", "Strikes of the bell, by bell", "counter", ("bell",),
                   {("great",): 3.5, ("small",): 1}),
            Family("rooftree_plugin_tower_clock_weight", "Kilograms left", "gauge", ("side",), {("left",): 3}),
            Family("rooftree_plugin_tower_clock_hands", "How many hands there are", "gauge", (), {(): 2}),
            Family("rooftree_plugin_tower_clock_wound", "How often it was wound", "counter", (), {(): 0}),
        )
    }  # fmt: skip


def test_wrong_uses_are_refused_with_what_is_allowed(own: PluginMetrics) -> None:
    counter = own.counter("strikes", "Strikes", labels=("bell",))
    with pytest.raises(ValueError, match="rooftree_plugin_tower_clock_strikes already"):
        own.gauge("strikes", "Strikes")
    with pytest.raises(ValueError, match="'Strikes-2': a name has lower-case letters"):
        own.counter("Strikes-2", "Strikes")
    with pytest.raises(ValueError, match="what is read has no labels"):
        own.gauge("hands", "Hands", labels=("side",), read=lambda: 1)
    with pytest.raises(ValueError, match="only counts up, not by -1"):
        counter.add(-1, bell="great")
    with pytest.raises(TypeError, match="give bell, not side"):
        counter.add(side="left")


def test_labels_that_strangers_choose_do_not_fill_the_memory(
    everything: Metrics, own: PluginMetrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics_module, "MOST_SERIES", 3)
    counter = own.counter("calls", "Calls, by caller", labels=("caller",))
    for number in range(9):
        counter.add(caller=str(number))
    counter.add(caller="0")

    (family,) = everything
    assert family.values == {("0",): 2, ("1",): 1, ("2",): 1}
    assert caplog.text.count("metric_full") == 1


def test_one_that_can_not_be_read_is_left_out(
    everything: Metrics, own: PluginMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    own.gauge("broken", "Never there", read=lambda: 1 / 0)
    own.counter("fine", "Always there")

    assert [family.name for family in everything] == ["rooftree_plugin_tower_clock_fine"]
    assert "metric_not_read" in caplog.text


async def test_metrics_go_when_their_plugin_stops_or_its_setup_fails(tmp_path: Path) -> None:
    class Counting(Plugin):
        name = "counting"
        fails = False

        async def setup(self, kernel: Kernel) -> None:
            kernel.metrics.counter("begun", "How often it has begun").add()
            if self.fails:
                raise RuntimeError("no")

    async with running_system(tmp_path, plugins=[Counting], allow={"plugin_failed"}) as system:
        assert [family.values for family in system.metrics] == [{(): 1}]
        await system.plugins.restart("counting")
        assert [family.values for family in system.metrics] == [{(): 1}]
        await system.plugins.disable("counting")
        assert list(system.metrics) == []
        Counting.fails = True
        await system.plugins.enable("counting")
        assert system.plugins.info("counting").state == "failed"
        assert list(system.metrics) == []
