"""What other domains add to a container before it is created (the hook ``container_spec``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import structlog
from attrs import evolve

from rooftree import Kernel
from rooftree.interfaces.containers import ContainerSpec, Mount
from rooftree.interfaces.hooks import ContainerAdditions, ContainerOwner, container_spec

log = structlog.get_logger(__name__)

OWNERS_VARIABLES: Final = frozenset({"SUPERVISOR_TOKEN", "HASSIO_TOKEN"})
OWNERS_NAMES: Final = frozenset({"supervisor", "hassio"})
"""Who a container is, and where it finds us, is nobody else's to say."""


async def with_additions(kernel: Kernel, owner: ContainerOwner, draft: ContainerSpec) -> ContainerSpec:
    """The draft with what all domains add to it. One that fails is recorded by the kernel, and left out."""
    return merged_additions(draft, await kernel.call(container_spec, owner, draft))


def merged_additions(draft: ContainerSpec, additions: Iterable[object]) -> ContainerSpec:
    """The draft with these additions; of two that contradict each other the first counts, and the log names both."""
    variables: dict[str, str] = {}
    names: dict[str, str] = {}
    mounts = list(draft.mounts)
    dns, search, rules = list(draft.dns), list(draft.dns_search), list(draft.device_rules)
    for added in additions:
        if not isinstance(added, ContainerAdditions) or not _is_sound(added):
            log.warning("addition_dropped", container=draft.name, what=type(added).__name__, reason="no additions")
            continue
        _add(draft.name, variables, added.environment, OWNERS_VARIABLES & draft.environment.keys())
        _add(draft.name, names, added.extra_hosts, OWNERS_NAMES & draft.extra_hosts.keys())
        mounts += _new_mounts(draft.name, mounts, added.mounts)
        for known, more in ((dns, added.dns), (search, added.dns_search), (rules, added.device_rules)):
            known += [entry for entry in dict.fromkeys(more) if entry not in known]
    return evolve(
        draft,
        environment={**draft.environment, **variables},
        extra_hosts={**draft.extra_hosts, **names},
        mounts=tuple(mounts),
        dns=tuple(dns),
        dns_search=tuple(search),
        device_rules=tuple(rules),
    )


def _is_sound(given: ContainerAdditions) -> bool:
    """Whether these are additions in all their parts: nobody has checked what another's plugin put in."""
    mappings: tuple[object, ...] = (given.environment, given.extra_hosts)
    rows: tuple[object, ...] = (given.dns, given.dns_search, given.device_rules)
    mounts: object = given.mounts
    return (
        all(isinstance(mapping, Mapping) and _are_texts((*mapping.keys(), *mapping.values())) for mapping in mappings)
        and all(isinstance(row, tuple | list) and _are_texts(row) for row in rows)
        and isinstance(mounts, tuple | list)
        and all(isinstance(mount, Mount) for mount in mounts)
    )


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) and "\0" not in value for value in values)


def _add(container: str, known: dict[str, str], more: Mapping[str, str], owners: frozenset[str]) -> None:
    for name, value in more.items():
        if name in owners:
            log.warning("addition_dropped", container=container, what=name, reason="its owner alone says what it is")
        elif known.setdefault(name, value) != value:
            log.warning("addition_dropped", container=container, what=name, reason="another domain adds it, too")


def _new_mounts(container: str, known: Iterable[Mount], more: Iterable[Mount]) -> list[Mount]:
    taken = {mount.target.rstrip("/"): mount for mount in known}
    fresh = []
    for mount in more:
        present = taken.setdefault(mount.target.rstrip("/"), mount)
        if present is mount:
            fresh.append(mount)
        elif present != mount:
            log.warning("addition_dropped", container=container, what=mount.target, reason="something is there already")
    return fresh
