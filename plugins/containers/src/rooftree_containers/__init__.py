"""What every domain that runs containers shares: containers that are looked after, the routes of the logs family and of
stats.

A library, not a plugin: it has no entry point and keeps nothing of its own. What a domain describes its containers with
is here; the rest is in modules, such as :mod:`rooftree_containers.logs`, :mod:`rooftree_containers.plans` and
:mod:`rooftree_containers.standing`.
"""

from rooftree_containers.managed import (
    ContainerDomain,
    ContainerErrors,
    ContainerJobs,
    ContainerState,
    ContainerSteps,
    Desired,
    DomainNames,
    ImageVersion,
    ManagedContainer,
    NothingToRollBack,
    Probation,
    ProbationState,
    RolledBack,
    Stage,
    UpdateRolledBack,
)
from rooftree_containers.managed_containers import ManagedContainers, containers_of, managed_containers
from rooftree_containers.update_backup import UpdateBackup

__all__ = [
    "ContainerDomain",
    "ContainerErrors",
    "ContainerJobs",
    "ContainerState",
    "ContainerSteps",
    "Desired",
    "DomainNames",
    "ImageVersion",
    "ManagedContainer",
    "ManagedContainers",
    "NothingToRollBack",
    "Probation",
    "ProbationState",
    "RolledBack",
    "Stage",
    "UpdateBackup",
    "UpdateRolledBack",
    "containers_of",
    "managed_containers",
]
