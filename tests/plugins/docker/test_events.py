"""The engine's messages become events of ours, strangers' do not."""

from __future__ import annotations

from typing import Any

from rooftree.interfaces.containers import ContainerChanged, Health
from rooftree_docker.events import container_change
from rooftree_docker.specification import Naming

OURS = Naming("me", "rt_")


def message(action: str, **attributes: str) -> dict[str, Any]:
    about = {"name": "rt_app_x", "io.rooftree.instance": "me", **attributes}
    return {"Type": "container", "Action": action, "Actor": {"ID": "abc", "Attributes": about}}


def test_end_carries_the_exit_code() -> None:
    change = container_change(message("die", exitCode="137"), OURS)

    assert change == ContainerChanged("app_x", "abc", "die", exit_code=137)


def test_health_carries_the_verdict() -> None:
    change = container_change(message("health_status: unhealthy"), OURS)

    assert change == ContainerChanged("app_x", "abc", "health", health=Health.UNHEALTHY)


def test_other_actions_other_instances_and_other_names_are_nobodys_business() -> None:
    assert container_change(message("exec_create: sh"), OURS) is None
    assert container_change(message("start", **{"io.rooftree.instance": "you"}), OURS) is None
    assert container_change(message("start", name="app_x"), OURS) is None
    assert container_change({"Type": "network", "Action": "connect"}, OURS) is None
