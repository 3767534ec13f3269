"""Which hardware an add-on gets: one rule, by what the kernel goes by (type, major, minor).

A protected add-on gets no whole disk, no partition that is in use or on the system's disk, and nothing that is memory,
a disk or a kernel control in disguise, whoever chose it. What an add-on chooses for itself, by a call of its own, is
held to more: no partition at all, and no device that another add-on's options name. What is refused is named: before,
in the plan and the answer to who chose it; at the start, as a problem.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from rooftree import Problem
from rooftree_addons.block_devices import BlockDevices
from rooftree_addons.device_paths import HOST, HostTree, why_not_canonical
from rooftree_addons.devices import DeviceNode, Number, class_rules, node_of
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.raw_access import character_drivers, why_raw_node
from rooftree_files import printable
from rooftree_store import AddonConfig, AddonSlug, device_options

REFUSED_PROBLEM: Final = "device_refused"
EVERYTHING: Final = "a *:* rwm"
PROTECTION_OFF: Final = "switch the add-on's protection off if it is to have it all the same"
MOST_DEVICES: Final = 1000
"""How many single devices an add-on may ask for; no machine has so many that are worth it."""
SHOWN_REFUSALS: Final = 20
"""How many refused devices are named in one sentence; the rest are counted. Some add-ons list a hundred."""


class HardwareRule:
    """What of this host's hardware an add-on may have. Looks at the disks once, when the first is asked about.

    :param protected: whether the add-on is
    :param data: the data folder
    :param private: the devices that another add-on's options name; empty for who may give these too
    :param own_choice: whether it is the add-on itself that chooses
    :param ask_kernel: whether the kernel is asked too whether a partition is in use, which may wake a disk that sleeps
    """

    def __init__(
        self,
        *,
        protected: bool,
        data: Path | None,
        private: Iterable[Number] = (),
        own_choice: bool = False,
        ask_kernel: bool = True,
        tree: HostTree = HOST,
    ) -> None:
        self._protected = protected
        self._private = frozenset(private)
        self._own_choice = own_choice
        self._tree = tree
        self._drivers = functools.cache(lambda: character_drivers(tree))
        self._disks = functools.cache(lambda: BlockDevices.read(data, tree, ask_kernel=ask_kernel))

    def why_not(self, node: DeviceNode) -> str | None:
        """Why it may not have the device, and who could give it, as the end of a sentence; ``None`` where it may.
        Blocks for a moment."""
        if self._own_choice and node.kind == "b":
            return "is a disk, which an add-on can't choose for itself; who looks after it can set this option"
        if self._own_choice and node.number in self._private:
            return (
                "is another add-on's, so an add-on can't choose it for itself; who looks after it can set this option"
            )
        reason = self.why_dangerous(node) if self._protected or self._own_choice else None
        if reason is None:
            return None
        if self._own_choice:
            return f"is not an add-on's to choose for itself ({reason})"
        return f"is not for a protected add-on ({reason}); {PROTECTION_OFF}"

    def why_dangerous(self, node: DeviceNode) -> str | None:
        """Why a protected add-on may not have it; ``None`` where it may."""
        if node.kind == "b":
            return self._disks().why_not((node.major, node.minor))
        return why_raw_node(node.major, node.minor, self._tree, self._drivers())


@frozen
class RefusedDevice:
    """A device that an add-on asks for and does not get."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path} ({self.reason})"


@frozen
class Grants:
    """The hardware that an add-on's container is let at."""

    nodes: tuple[DeviceNode, ...] = ()
    """The single devices."""
    classes: tuple[str, ...] = ()
    """Rules for whole classes of devices."""
    refused: tuple[RefusedDevice, ...] = ()
    everything: bool = False
    """``full_access``, without protection."""

    @property
    def rules(self) -> tuple[str, ...]:
        """The container's device rules."""
        if self.everything:
            return (EVERYTHING,)
        return tuple(dict.fromkeys([*(node.rule for node in self.nodes), *self.classes]))

    def sentences(self) -> list[str]:
        """What is granted and what is refused, for who has to decide about it."""
        if self.everything:
            return ["hardware: everything (full_access, without protection)"]
        granted = [*dict.fromkeys(node.path for node in self.nodes), *self.classes]
        lines = [f"hardware granted: {', '.join(granted)}"] if granted else []
        named = [f"hardware refused: {device}" for device in self.refused[:SHOWN_REFUSALS]]
        more = len(self.refused) - len(named)
        return [*lines, *named, *([f"hardware refused: {more} more"] if more else [])]


def grants(addon: InstalledAddon, option_devices: Iterable[str], data: Path | None, tree: HostTree = HOST) -> Grants:
    """What an add-on gets, of what its configuration and its options ask for. Blocks for a moment.

    :param option_devices: the paths that its options name
    """
    config = addon.config
    if config.full_access and not addon.protected:
        return Grants(everything=True)
    rule = HardwareRule(protected=addon.protected, data=data, tree=tree)
    nodes: list[DeviceNode] = []
    refused: list[RefusedDevice] = []
    for number, path in enumerate(dict.fromkeys((*(config.devices or ()), *option_devices))):
        wrong = why_not_canonical(path) if number < MOST_DEVICES else f"it is more than {MOST_DEVICES} devices"
        node = None if wrong else node_of(path, tree)
        reason = wrong or (rule.why_dangerous(node) if node and addon.protected else None)
        if reason is not None:
            refused.append(RefusedDevice(printable(path.encode("utf-8", "backslashreplace").decode()), reason))
        elif node is not None:
            nodes.append(node)
    classes = class_rules(uart=config.uart, video=config.video, gpio=config.gpio, usb=config.usb)
    return Grants(tuple(nodes), tuple(classes), tuple(refused))


def numbers(paths: Iterable[str]) -> set[Number]:
    """The devices of those paths, by number; of those that there are. Blocks for a moment."""
    nodes = map(node_of, paths)
    return {node.number for node in nodes if node is not None}


def chosen_devices(config: AddonConfig, options: Mapping[str, object]) -> list[str]:
    """The paths that an add-on's ``device`` options name."""
    return [] if config.schema is None else device_options(config.schema, options)


def chosen_disks(config: AddonConfig, options: Mapping[str, object]) -> tuple[str, ...]:
    """The disks and partitions among them. Blocks for a moment."""
    nodes = map(node_of, chosen_devices(config, options))
    return tuple(dict.fromkeys(node.path for node in nodes if node is not None and node.kind == "b"))


def refusal_problem(slug: AddonSlug, refused: Sequence[RefusedDevice]) -> Problem:
    """What is wrong with an add-on that asks for devices which it does not get."""
    named = ", ".join(map(str, refused[:SHOWN_REFUSALS]))
    more = f" and {len(refused) - SHOWN_REFUSALS} more" if len(refused) > SHOWN_REFUSALS else ""
    return Problem(
        REFUSED_PROBLEM,
        "addon",
        slug,
        f"Add-on {slug} asks for devices that it does not get: {named}{more}. Free them, choose others, or "
        f"{PROTECTION_OFF}",
        extra={"devices": [device.path for device in refused[:SHOWN_REFUSALS]]},
    )
