"""What several domains add to a container, put together."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from rooftree.interfaces.containers import ContainerSpec, DataPath, Mount
from rooftree.interfaces.hooks import ContainerAdditions
from rooftree_containers.additions import merged_additions

DRAFT = ContainerSpec(
    name="app_local_hello",
    image="hello:1.0",
    environment={"TZ": "UTC", "SUPERVISOR_TOKEN": "own"},
    mounts=(Mount(DataPath("apps/data/local_hello"), "/data"),),
    extra_hosts={"supervisor": "172.30.32.2"},
    device_rules=("c 1:1 rwm",),
)
PULSE = Mount(DataPath("audio/external"), "/run/audio", read_only=True)


def test_nothing_added_leaves_the_draft_as_it_is() -> None:
    assert merged_additions(DRAFT, []) == DRAFT


def test_everything_added_is_there_beside_what_the_owner_wants() -> None:
    found = merged_additions(
        DRAFT,
        [
            ContainerAdditions(environment={"TZ": "Europe/Vienna"}, mounts=(PULSE,), device_rules=("c 116:* rwm",)),
            ContainerAdditions(
                extra_hosts={"core": "172.30.32.1"}, dns=("172.30.32.3",), dns_search=("local.hass.io",)
            ),
        ],
    )

    assert found.environment == {"TZ": "Europe/Vienna", "SUPERVISOR_TOKEN": "own"}
    assert found.mounts == (*DRAFT.mounts, PULSE)
    assert found.extra_hosts == {"supervisor": "172.30.32.2", "core": "172.30.32.1"}
    assert (found.dns, found.dns_search) == (("172.30.32.3",), ("local.hass.io",))
    assert found.device_rules == ("c 1:1 rwm", "c 116:* rwm")


@pytest.mark.parametrize(
    "addition",
    [
        ContainerAdditions(environment={"SUPERVISOR_TOKEN": "another"}),
        ContainerAdditions(extra_hosts={"supervisor": "10.0.0.1"}),
        ContainerAdditions(mounts=(Mount(DataPath("ssl"), "/data/"),)),
        ContainerAdditions(device_rules=("c 1:1 rwm",)),
        "no additions at all",
    ],
)
def test_what_its_owner_alone_decides_stays(addition: object) -> None:
    assert merged_additions(DRAFT, [addition]) == DRAFT


def test_of_two_that_contradict_each_other_the_first_counts() -> None:
    first = ContainerAdditions(environment={"A": "1"}, mounts=(PULSE,))
    second = ContainerAdditions(environment={"A": "2", "B": "2"}, mounts=(Mount(DataPath("share"), "/run/audio"),))

    found = merged_additions(DRAFT, [first, second])

    assert (found.environment["A"], found.environment["B"]) == ("1", "2")
    assert found.mounts == (*DRAFT.mounts, PULSE)


def test_slash_at_the_end_makes_no_other_place() -> None:
    twice = ContainerAdditions(mounts=(Mount(DataPath("share"), "/data/"),))
    slashed = evolve(DRAFT, mounts=(Mount(DataPath("apps/data/local_hello"), "/data/"),))

    assert merged_additions(DRAFT, [twice]).mounts == DRAFT.mounts
    assert merged_additions(slashed, [ContainerAdditions(mounts=DRAFT.mounts)]).mounts == slashed.mounts


@pytest.mark.parametrize(
    "nonsense",
    [
        {"environment": None},
        {"environment": {"A": 1}},
        {"environment": {1: "a"}},
        {"environment": {"A": "a\0"}},
        {"extra_hosts": ["core"]},
        {"mounts": None},
        {"mounts": ["/etc"]},
        {"dns": "172.30.32.3"},
        {"dns_search": [None]},
        {"device_rules": (1,)},
    ],
)
def test_additions_that_are_nonsense_are_left_out_as_a_whole(nonsense: dict[str, Any]) -> None:
    good = ContainerAdditions(mounts=(PULSE,))

    found = merged_additions(DRAFT, [ContainerAdditions(**({"dns": ("172.30.32.4",)} | nonsense)), good])

    assert found == merged_additions(DRAFT, [good])
