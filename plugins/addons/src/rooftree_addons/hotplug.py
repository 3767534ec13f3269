"""Devices that appear while an add-on runs which asked for them.

A container's device rules are made when it is created. On cgroup v1 a rule can be added to one that runs; on cgroup v2
the rules are a program in the kernel, which only the engine can replace: there the add-on has to be restarted, and a
problem says so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from rooftree import Kernel, Problem, RooftreeError
from rooftree.interfaces.containers import ContainerChanged, ContainerStatus
from rooftree.interfaces.hardware import Device
from rooftree_addons.addons import DEVICE_PROBLEM, Addons
from rooftree_addons.device_grants import HardwareRule
from rooftree_addons.devices import DeviceNode, class_rules
from rooftree_addons.installed import InstalledAddon
from rooftree_store import AddonSlug

log = structlog.get_logger(__name__)

CGROUP: Final = Path("/sys/fs/cgroup/devices")


class Hotplug:
    """Gives add-ons the devices that appear for them."""

    def __init__(self, kernel: Kernel, addons: Addons) -> None:
        self._kernel = kernel
        self._addons = addons

    async def added(self, device: Device) -> None:
        """A device appeared on the host."""
        node = await asyncio.to_thread(DeviceNode.at, device.dev_path)
        if node is None:
            return
        for addon in self._addons.installed.values():
            if self._addons.runs(addon.slug) and await self._lacks(addon, device, node):
                reason = await asyncio.to_thread(self._why_not, addon, node)
                if reason is None:
                    await self._give(addon, node)
                else:
                    self._addons.tell_refused(addon.slug, await self._addons.hardware_now(addon))

    def removed(self, device: Device) -> None:
        """A device vanished: nobody lacks it any more."""
        for problem in self._kernel.problems:
            if problem.type == DEVICE_PROBLEM and (problem.extra or {}).get("device") == device.dev_path:
                self._kernel.problems.clear(DEVICE_PROBLEM, "addon", problem.reference)

    def container_changed(self, event: ContainerChanged) -> None:
        """A container that is started, or made anew after its end, has the devices that are there then."""
        slug = self._addons.containers.domain.name_of(event.name)
        if slug is not None and event.action in {"start", "die"}:
            self._kernel.problems.clear(DEVICE_PROBLEM, "addon", slug)

    async def _lacks(self, addon: InstalledAddon, device: Device, node: DeviceNode) -> bool:
        """Whether an add-on asks for this very device, and no rule of its container lets it in already."""
        config = addon.config
        if config.full_access and not addon.protected:
            return False
        rules = await asyncio.to_thread(
            class_rules, uart=config.uart, video=config.video, gpio=config.gpio, usb=config.usb
        )
        if f"{node.kind} {node.major}:* rwm" in rules:
            return False
        names = {device.dev_path, device.sysfs, device.by_id}
        declared = set(config.devices or ())
        return bool(names & declared) or node.path in await asyncio.to_thread(
            _nodes, declared | await self._chosen(addon)
        )

    def _why_not(self, addon: InstalledAddon, node: DeviceNode) -> str | None:
        rule = HardwareRule(protected=addon.protected, data=self._kernel.data.path)
        return rule.why_dangerous(node) if addon.protected else None

    async def _chosen(self, addon: InstalledAddon) -> set[str]:
        """The devices that its options name."""
        try:
            return {device.path for device in (await self._addons.checked_options(addon)).devices}
        except RooftreeError:
            return set()  # its options went wrong since it was started

    async def _give(self, addon: InstalledAddon, node: DeviceNode) -> None:
        try:
            container = await self._addons.engine.container(addon.container)
        except RooftreeError as error:
            log.info("device_not_given", addon=addon.slug, device=node.path, reason=error.message)
            return
        if container is None or container.status is not ContainerStatus.RUNNING:
            return
        if await asyncio.to_thread(allow, container.id, node):
            log.info("device_given", addon=addon.slug, device=node.path)
        else:
            self._report(addon.slug, node)

    def _report(self, slug: AddonSlug, node: DeviceNode) -> None:
        message = (
            f"The device {node.path} appeared after add-on {slug} was started, which asks for it. Restart the add-on"
        )
        self._kernel.problems.report(
            Problem(DEVICE_PROBLEM, "addon", slug, message, ("execute_restart",), extra={"device": node.path})
        )


def allow(container_id: str, node: DeviceNode, cgroup: Path = CGROUP) -> bool:
    """Let a running container use a device, where its cgroup can be told so (cgroup v1). Blocks for a moment."""
    for group in (f"docker/{container_id}", f"system.slice/docker-{container_id}.scope"):
        rules = cgroup / group / "devices.allow"
        if rules.exists():  # ours: the kernel's
            try:
                rules.write_text(node.rule)  # ours: the kernel's
            except OSError as error:
                log.info("device_rule_refused", group=group, reason=str(error))
                return False
            return True
    return False


def _nodes(paths: set[str]) -> set[str]:
    """The host's nodes at those paths, links followed."""
    return {node.path for node in map(DeviceNode.at, paths) if node is not None}
