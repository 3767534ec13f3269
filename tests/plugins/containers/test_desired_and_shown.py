"""The table that tells what to do with a container, from what is desired and what the engine shows."""

from __future__ import annotations

import pytest

from rooftree.interfaces.containers import Container, ContainerSpec, ContainerStatus, Health
from rooftree_containers import Desired, ManagedContainer, Stage
from rooftree_containers.reconciliation import action


async def nothing(_: str) -> ContainerSpec:
    """What nobody asks for here."""
    raise NotImplementedError


def described(desired: str, stage: Stage) -> ManagedContainer:
    """A container of which that is desired."""
    return ManagedContainer(
        name="lamp",
        version="1.0",
        image="lamp:1.0",
        desired=Desired(desired),
        specification=nothing,
        stage=stage,
    )


def shown(state: str) -> Container | None:
    """A container as the engine shows it."""
    if state == "absent":
        return None
    status, _, code = state.partition(" ")
    return Container(
        id="id",
        name="lamp",
        image="lamp:1.0",
        image_id="sha256:1",
        status=ContainerStatus(status),
        health=Health.NONE,
        exit_code=int(code) if code else None,
        labels={},
        ip_address=None,
        started_at=None,
    )


@pytest.mark.parametrize(
    ("desired", "stage", "state", "expected"),
    [
        ("started", Stage.APPLICATION, "absent", "start"),
        ("started", Stage.APPLICATION, "created", "start"),
        ("started", Stage.APPLICATION, "running", "adopt"),
        ("started", Stage.APPLICATION, "exited 0", "start"),
        ("started", Stage.APPLICATION, "exited 1", "start"),
        ("started", Stage.ONCE, "absent", "start"),
        ("started", Stage.ONCE, "created", "start"),
        ("started", Stage.ONCE, "running", "adopt"),
        ("started", Stage.ONCE, "exited 0", "leave"),
        ("started", Stage.ONCE, "exited 1", "leave"),
        ("stopped", Stage.APPLICATION, "absent", "leave"),
        ("stopped", Stage.APPLICATION, "created", "leave"),
        ("stopped", Stage.APPLICATION, "running", "stop"),
        ("stopped", Stage.APPLICATION, "exited 0", "leave"),
        ("stopped", Stage.APPLICATION, "exited 1", "leave"),
        ("stopped", Stage.ONCE, "absent", "leave"),
        ("stopped", Stage.ONCE, "created", "leave"),
        ("stopped", Stage.ONCE, "running", "stop"),
        ("stopped", Stage.ONCE, "exited 0", "leave"),
        ("stopped", Stage.ONCE, "exited 1", "leave"),
    ],
)
def test_desired_and_shown_tell_what_to_do(desired: str, stage: Stage, state: str, expected: str) -> None:
    assert action(described(desired, stage), shown(state)) == expected
