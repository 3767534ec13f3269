"""The shapes of the add-ons' answers and bodies, as the contract has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from attrs import frozen

from rooftree import UNSET, Invalid, Unset
from rooftree.interfaces.hardware import Device
from rooftree_addons.addons import Addons
from rooftree_addons.device_grants import HardwareRule, chosen_disks
from rooftree_addons.devices import HostDevices
from rooftree_addons.installed import AddonOptions, InstalledAddon, Seccomp
from rooftree_addons.sandbox import MOST_PROCESSES, rating_of, relaxations, sandbox
from rooftree_containers.log_query import DEFAULT_FORMAT, LogFormat
from rooftree_store import (
    CHANGELOG,
    DOCUMENTATION,
    ICON,
    LOGO,
    AddonConfig,
    FormField,
    Offer,
    TranslationTexts,
    rating,
    resolve_webui,
    ui_schema,
)


@frozen
class Background:
    """The body of a call whose job may go on after the answer."""

    background: bool = False


@frozen
class UpdateRequest:
    """The body of an update."""

    background: bool = False
    backup: bool = False


@frozen
class UninstallRequest:
    """The body of an uninstallation."""

    remove_config: bool = False


@frozen
class RebuildRequest:
    """The body of a rebuild."""

    force: bool = False


@frozen
class SecurityChange:
    """The body of a change of protection, and of how far an add-on is kept from the kernel; what is absent stays."""

    protected: bool | Unset = UNSET
    seccomp: Seccomp | Unset | None = UNSET
    """Which system calls it may make; ``null``: what its configuration asks for."""
    pids_limit: int | Unset | None = UNSET
    """How many processes and threads it may have, 0 for any number; ``null``: the usual."""

    def given(self) -> dict[str, Any]:
        """What is to be changed; raises ``Invalid``."""
        if isinstance(self.pids_limit, int) and not 0 <= self.pids_limit <= MOST_PROCESSES:
            raise Invalid(f"pids_limit: must be 1 to {MOST_PROCESSES}, 0 for no limit, or null for the usual one")
        given = {name: getattr(self, name) for name in ("protected", "seccomp", "pids_limit")}
        given = {name: value for name, value in given.items() if value is not UNSET}
        if not given:
            raise Invalid("Send protected, seccomp, pids_limit, or several of them")
        return given


@frozen
class SystemOptionsChange:
    """The body of what only Home Assistant Core may set."""

    system_managed: bool | Unset = UNSET
    system_managed_config_entry: str | Unset | None = UNSET


@frozen
class OptionsVerdict:
    """Whether options fit."""

    message: str
    valid: bool
    pwned: bool | None
    """Whether a password is known to be leaked; ``None`` where nobody looked."""


@frozen(kw_only=True)
class AddonSummary:
    """An installed add-on as the listing shows it."""

    advanced: bool
    available: bool
    build: bool
    description: str
    detached: bool
    homeassistant: str | None
    icon: bool
    logo: bool
    name: str
    repository: str
    slug: str
    stage: str
    state: str
    system_managed: bool
    update_available: bool
    url: str | None
    version: str | None
    """``None`` for an add-on that the store offers and nobody has installed."""
    version_latest: str

    @classmethod
    def of(cls, addons: Addons, addon: InstalledAddon) -> Self:
        """The listing's view of an add-on."""
        return cls(**_summary(addons, addon))


@frozen
class AddonList:
    """The installed add-ons."""

    addons: list[AddonSummary]


@frozen(kw_only=True)
class AddonInfo(AddonSummary):
    """Everything about an add-on; what only an installed one has is empty for one that the store offers."""

    apparmor: str
    arch: list[str]
    audio: bool
    audio_input: str | None
    audio_output: str | None
    auth_api: bool
    auto_uart: bool
    auto_update: bool
    boot: str
    boot_config: str
    changelog: bool
    devices: list[str]
    devicetree: bool
    discovery: list[str]
    dns: list[str]
    docker_api: bool
    documentation: bool
    full_access: bool
    gpio: bool
    hassio_api: bool
    hassio_role: str
    homeassistant_api: bool
    host_dbus: bool
    host_ipc: bool
    host_network: bool
    host_pid: bool
    host_uts: bool
    hostname: str
    ingress: bool
    ingress_entry: str | None
    """Where its page is; said by who shows it."""
    ingress_panel: bool | None
    ingress_port: int | None
    ingress_url: str | None
    """What is opened first there."""
    ip_address: str
    kernel_modules: bool
    log_format: LogFormat
    """How its log is shown to who does not say how."""
    long_description: str | None
    machine: list[str]
    network: dict[str, int | None] | None
    network_description: dict[str, str] | None
    options: AddonOptions
    pids_limit: int | None
    """How many processes and threads it may have; ``None``: any number."""
    privileged: list[str]
    protected: bool
    rating: int
    """How far it can be trusted, 1 to 8: by what it asks for, less a point for each of ``relaxations``."""
    relaxations: list[str]
    """What its user has given it beyond what it would get, in sentences."""
    schema: list[FormField] | None
    """The form for its options; ``None`` where they are free."""
    seccomp: Seccomp
    """Which system calls it may make."""
    seccomp_lifted_by: list[str]
    """What in its configuration needs more than the engine's profile allows."""
    services: list[str]
    services_role: list[str]
    signed: bool
    startup: str
    stdin: bool
    system_managed_config_entry: str | None
    translations: dict[str, TranslationTexts]
    """By language."""
    uart: bool
    udev: bool
    usb: bool
    video: bool
    watchdog: bool
    webui: str | None

    @classmethod
    def of_addon(
        cls,
        addons: Addons,
        addon: InstalledAddon,
        *,
        readme: str | None,
        translations: Mapping[str, TranslationTexts],
        known_devices: Sequence[Device],
        with_options: bool,
    ) -> Self:
        """Everything about an add-on; its options only for those who may see them. Looks at devices: use a thread."""
        config = addon.config
        offer = addons.store.addons.get(addon.slug)
        files = offer.files if offer else frozenset()
        options = addon.effective_options
        has_profile = addons.profiles.is_custom(addon.slug)
        is_installed = addon.slug in addons.installed
        services = [f"{entry.service}:{entry.role}" for entry in config.services or ()]
        relaxed = relaxations(addon, addons.upkeep.sandboxes, chosen_disks(config, options)) if is_installed else []
        held = sandbox(addon, addons.upkeep.sandboxes)
        rule = HardwareRule(protected=addon.protected, data=addons.kernel.data.path, ask_kernel=False)
        return cls(
            **_summary(addons, addon),
            apparmor=_apparmor(config, has_profile),
            arch=list(config.arch),
            audio=config.audio,
            audio_input=addon.audio_input if config.audio else None,
            audio_output=addon.audio_output if config.audio else None,
            auth_api=config.auth_api,
            auto_uart=config.uart,
            auto_update=addon.auto_update,
            boot=addon.effective_boot,
            boot_config=config.boot,
            changelog=CHANGELOG in files,
            devices=list(config.devices or ()),
            devicetree=config.devicetree,
            discovery=list(config.discovery or ()),
            dns=[f"{addon.hostname}.local.hass.io"],
            docker_api=config.docker_api,
            documentation=DOCUMENTATION in files,
            full_access=config.full_access,
            gpio=config.gpio,
            hassio_api=config.hassio_api,
            hassio_role=config.hassio_role,
            homeassistant_api=config.homeassistant_api,
            host_dbus=config.host_dbus,
            host_ipc=config.host_ipc,
            host_network=config.host_network,
            host_pid=config.host_pid,
            host_uts=config.host_uts,
            hostname=addon.hostname,
            ingress=config.ingress,
            ingress_entry=None,
            ingress_panel=addon.ingress_panel if config.ingress else None,
            ingress_port=addon.page_port if is_installed else None,
            ingress_url=None,
            ip_address=addons.address(addon.slug) or "0.0.0.0",  # noqa: S104  # how clients know "none"
            kernel_modules=config.kernel_modules,
            log_format=DEFAULT_FORMAT,
            long_description=readme,
            machine=list(config.machine or ()),
            network=addon.ports,
            network_description=dict(config.ports_description) if config.ports_description else None,
            options=options if with_options else {},
            pids_limit=held.pids_limit,
            privileged=list(config.privileged or ()),
            protected=addon.protected,
            rating=rating_of(rating(config, custom_profile=has_profile), relaxed),
            relaxations=relaxed,
            schema=ui_schema(config.schema, HostDevices(known_devices, rule.why_not)),
            seccomp=held.seccomp,
            seccomp_lifted_by=list(held.because),
            services=services,
            services_role=services,
            signed=False,
            startup=config.startup,
            stdin=config.stdin,
            system_managed_config_entry=addon.system_managed_config_entry,
            translations=dict(translations),
            uart=config.uart,
            udev=config.udev,
            usb=config.usb,
            video=config.video,
            watchdog=addon.watchdog,
            webui=_webui(addon, options),
        )


def _summary(addons: Addons, addon: InstalledAddon) -> dict[str, Any]:
    config = addon.config
    offer: Offer | None = addons.store.addons.get(addon.slug)
    files = offer.files if offer else frozenset()
    return {
        "advanced": False,
        "available": offer is not None and not addons.store.unavailable(offer),
        "build": config.image is None,
        "description": config.description,
        "detached": offer is None,
        "homeassistant": config.homeassistant,
        "icon": ICON in files,
        "logo": LOGO in files,
        "name": config.name,
        "repository": addon.slug.repository,
        "slug": addon.slug,
        "stage": config.stage,
        "state": addons.state(addon.slug),
        "system_managed": addon.system_managed,
        "update_available": addons.update_available(addon),
        "url": config.url,
        "version": addon.version if addon.slug in addons.installed else None,
        "version_latest": addons.version_latest(addon),
    }


def _apparmor(config: AddonConfig, has_profile: bool) -> str:
    if not config.apparmor:
        return "disable"
    return "profile" if has_profile else "default"


def _webui(addon: InstalledAddon, options: Mapping[str, Any]) -> str | None:
    if addon.config.webui is None:
        return None
    return resolve_webui(
        addon.config.webui, ports=addon.ports or {}, options=options, host_network=addon.config.host_network
    )
