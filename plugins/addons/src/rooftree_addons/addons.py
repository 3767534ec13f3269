"""Add-ons: what is installed, what state it is in, and what its user may set. The service that other plugins use."""

from __future__ import annotations

import asyncio
import enum
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import orjson
import structlog
from attrs import evolve, frozen

from rooftree import (
    UNSET,
    Collection,
    Event,
    Invalid,
    Kernel,
    Principal,
    Problem,
    Role,
    Service,
    Unset,
)
from rooftree.access import Token, TokenUsedElsewhere
from rooftree.interfaces.callers import ADDON
from rooftree.interfaces.containers import CONTAINER_ENGINE, Container, ContainerEngine, ContainerStatus, Health
from rooftree.interfaces.hooks import ContainerOwner
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_addons.apparmor import Profiles
from rooftree_addons.brought_images import BroughtImage
from rooftree_addons.choices import devices_to_choose, is_itself
from rooftree_addons.container import (
    LABEL_SLUG,
    LABEL_TOKEN,
    config_folder,
    container_spec,
    data_folder,
    wants_config_folder,
    writes_all_configs,
)
from rooftree_addons.core_secrets import PROBLEM as SECRETS_PROBLEM
from rooftree_addons.core_secrets import CoreSecrets, core_secrets
from rooftree_addons.device_grants import REFUSED_PROBLEM, Grants, chosen_devices, grants, refusal_problem
from rooftree_addons.devices import HostDevices
from rooftree_addons.feasibility import refuse_infeasible
from rooftree_addons.installed import (
    AddonNotInstalled,
    AddonOptions,
    BootCannotChange,
    Desired,
    InstalledAddon,
    OptionsRefused,
)
from rooftree_addons.mount_sources import refuse_movable
from rooftree_addons.own_folders import (
    config_folders,
    has_folder,
    make_folders,
    refuse_what_is_no_folder,
    remove_cid,
    write_cid,
    write_options,
)
from rooftree_addons.ports import PROBLEM as PORT_PROBLEM
from rooftree_addons.ports import clear_settled_conflict, refuse_doubled_ports
from rooftree_addons.probation import ROLLED_BACK, Probation
from rooftree_addons.removals import Removals
from rooftree_addons.sandbox import SandboxSettings, sandbox
from rooftree_addons.whereabouts import AddonWhereabouts
from rooftree_containers.additions import with_additions
from rooftree_containers.timezone import host_timezone
from rooftree_store import (
    AddonSlug,
    AddonStore,
    Boot,
    CheckedOptions,
    Installed,
    OptionsInvalid,
    Startup,
    effective_options,
    is_update,
    validate_options,
)

log = structlog.get_logger(__name__)

DEVICE_PROBLEM = "device_access_missing"
TOKEN_PROBLEM = "token_used_elsewhere"  # noqa: S105  # the type of a problem
RESTART_PROBLEM = "restart_due"
"""The type of the problem that says that an add-on runs as it was started, and not as it is set up since."""
UNKNOWN = "unknown_container"
"""The type of the problem that says that a container's add-on is not known."""
ADOPTED = "addon_taken_over"
"""The type of the problem that says that an add-on is known by its container only; cleared when its user sets it up."""
FAILURE_PROBLEMS = ("boot_fail", "watchdog_gave_up", PORT_PROBLEM)
"""The types of problems that an add-on has until it runs well, or is gone."""
ADDON_PROBLEMS = (
    *FAILURE_PROBLEMS, DEVICE_PROBLEM, REFUSED_PROBLEM, TOKEN_PROBLEM, RESTART_PROBLEM, ROLLED_BACK, ADOPTED,
)  # fmt: skip
"""The types of problems that an add-on can have as long as it is installed."""

SETTABLE = "boot, auto_update, network, options, watchdog, ingress_panel, audio_input, audio_output"


class AddonState(enum.StrEnum):
    """What an add-on is doing, in the words of the API."""

    STARTED = "started"
    STOPPED = "stopped"
    STARTUP = "startup"
    ERROR = "error"
    UNKNOWN = "unknown"


@frozen
class AddonStateChanged(Event):
    """An add-on started, ended or failed."""

    slug: AddonSlug
    state: AddonState


@frozen(kw_only=True)
class OptionsChange:
    """What a user may set; what is absent stays, what is null goes back to its default."""

    boot: Boot | Unset = UNSET
    auto_update: bool | Unset = UNSET
    network: dict[str, int | str | None] | Unset | None = UNSET
    options: AddonOptions | Unset | None = UNSET
    audio_output: str | Unset | None = UNSET
    audio_input: str | Unset | None = UNSET
    ingress_panel: bool | Unset = UNSET
    watchdog: bool | Unset = UNSET


class Addons:
    """The installed add-ons."""

    def __init__(
        self,
        kernel: Kernel,
        store: AddonStore,
        installed: Collection[InstalledAddon],
        probations: Collection[Probation],
        profiles: Profiles,
        removals: Removals,
        images: Collection[BroughtImage],
        failed_data_stays: timedelta,
        sandboxes: SandboxSettings,
    ) -> None:
        self.kernel = kernel
        self.store = store
        self.installed = installed
        self.probations = probations
        """The add-ons whose version has not proved itself yet, by slug."""
        self.failures: dict[AddonSlug, str] = {}
        """Why a version that is being installed failed, until the one before it is back."""
        self.profiles = profiles
        self.removals = removals
        self.images = images
        """The images that are on the engine because of add-ons, by name and tag."""
        self.failed_data_stays = failed_data_stays
        """For how long the data of versions that failed is kept."""
        self.sandboxes = sandboxes
        """How far add-ons are kept from the kernel."""
        self._choosing: defaultdict[AddonSlug, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._states: dict[AddonSlug, AddonState] = {}
        self._addresses: dict[AddonSlug, str | None] = {}
        self.whereabouts = AddonWhereabouts(self.look, self._gateway)
        """Where their tokens may be used."""
        self._leaving_startup: dict[AddonSlug, asyncio.Event] = {}
        self._ended: dict[AddonSlug, str] = {}
        self._state_changes = 0

    # --- looking -----------------------------------------------------------------------------------------------------

    def get(self, slug: AddonSlug) -> InstalledAddon:
        """One installed add-on; raises :class:`AddonNotInstalled`."""
        try:
            return self.installed[slug]
        except KeyError:
            raise AddonNotInstalled(f"Add-on {slug} is not installed", addon=str(slug)) from None

    @property
    def revision(self) -> str:
        """Changes with what the listing shows: what is installed, what it is doing, and what the store offers."""
        return f"{self.store.revision}.{self.installed.revision}.{self._state_changes}"

    def on_offer(self, slug: AddonSlug) -> InstalledAddon:
        """An add-on that is not installed, as it would be; raises :class:`AddonNotInstalled` where none is on offer."""
        offer = self.store.addons.get(slug)
        if offer is None:
            return self.get(slug)
        return InstalledAddon.fresh(slug, self.store.image(offer), offer.config.normalised(), set())

    def state(self, slug: AddonSlug) -> AddonState:
        """What it is doing."""
        return self._states.get(slug, AddonState.UNKNOWN)

    def runs(self, slug: AddonSlug) -> bool:
        """Whether its container runs, well or not yet."""
        return self.state(slug) in {AddonState.STARTED, AddonState.STARTUP}

    def address(self, slug: AddonSlug) -> str | None:
        """Its address on the add-on network while it runs."""
        return self._addresses.get(slug)

    def update_available(self, addon: InstalledAddon) -> bool:
        """Whether the store offers an update: another version, and none that is certainly older."""
        offer = self.store.addons.get(addon.slug)
        return offer is not None and is_update(offer.config.version, addon.version)

    def version_latest(self, addon: InstalledAddon) -> str:
        """The version the store offers; the installed one of an add-on that is detached."""
        offer = self.store.addons.get(addon.slug)
        return offer.config.version if offer else addon.version

    def principal(self, slug: str) -> Principal | None:
        """Whom an add-on's token stands for."""
        addon = self.installed.get(slug)
        if addon is None:
            return None
        config = addon.config
        grants = {name for name in ("auth_api", "homeassistant_api", "hassio_api") if getattr(config, name)}
        grants |= {f"service:{entry.service}:{entry.role}" for entry in config.services or ()}
        return Principal(ADDON.name, slug, Role(config.hassio_role) if config.hassio_api else None, frozenset(grants))

    # --- what changed ------------------------------------------------------------------------------------------------

    def tell_store(self) -> None:
        """Let the store's listings know what is installed."""
        self.store.note_installed(
            {
                addon.slug: Installed(addon.version, self.update_available(addon), addon.config)
                for addon in self.installed.values()
            }
        )

    def observe(self, slug: AddonSlug, container: Container | None) -> None:
        """Take over what the engine shows of an add-on's container."""
        self._addresses[slug] = container.ip_address if container else None
        self.whereabouts.note(slug, container)
        state = _state_of(container)
        if state is AddonState.ERROR and container is not None and self._was_to_end(slug, container.id):
            state = AddonState.STOPPED  # few programs end well when they are asked to
        self.note_state(slug, state)
        if not self.runs(slug):
            self.kernel.problems.clear(RESTART_PROBLEM, "addon", slug)

    def restart_due(self, slug: AddonSlug, what: str) -> None:
        """Say that a running add-on has something only from its next start on.

        :param what: what that is, as a sentence
        """
        if self.runs(slug):
            message = f"{what} That holds from the next start of add-on {slug}: restart it"
            self.kernel.problems.report(Problem(RESTART_PROBLEM, "addon", slug, message, ("execute_restart",)))

    def note_state(self, slug: AddonSlug, state: AddonState) -> None:
        """The add-on is in that state now."""
        if state is AddonState.STARTUP:
            self._settled(slug).clear()
        else:
            self._settled(slug).set()
        if self._states.get(slug) is not state:
            self._states[slug] = state
            self._state_changes += 1
            log.info("addon_state", addon=slug, state=state)
            self.kernel.publish(AddonStateChanged(slug, state))

    def forget(self, slug: AddonSlug) -> None:
        """The add-on is gone."""
        for known in (self._states, self._addresses, self._leaving_startup, self._ended, self._choosing):
            known.pop(slug, None)
        self.whereabouts.forget(slug)
        self._state_changes += 1
        for problem in ADDON_PROBLEMS:
            self.kernel.problems.clear(problem, "addon", slug)
        self.tell_store()

    def was_ended_by_us(self, slug: AddonSlug, container_id: str) -> bool:
        """Whether that container's end was our doing: no reason for the watchdog to bring it back."""
        return self._ended.get(slug) == container_id

    def _was_to_end(self, slug: AddonSlug, container_id: str) -> bool:
        addon = self.installed.get(slug)
        unwanted = addon is not None and addon.desired is Desired.STOPPED
        return unwanted or self.was_ended_by_us(slug, container_id)

    def _settled(self, slug: AddonSlug) -> asyncio.Event:
        return self._leaving_startup.setdefault(slug, asyncio.Event())

    async def until_settled(self, slug: AddonSlug) -> None:
        """Wait until the add-on is no longer starting: its health check is content with it, or it has ended."""
        await self._settled(slug).wait()

    async def look(self, slug: AddonSlug) -> Container | None:
        """Ask the engine about an add-on's container, and take the answer over."""
        engine = self.kernel.service(CONTAINER_ENGINE)
        container = await engine.container(f"app_{slug}")
        if slug in self.installed:
            self.observe(slug, container)
        return container

    async def _gateway(self) -> str:
        return (await self.engine.network()).gateway

    def token_used_elsewhere(self, event: TokenUsedElsewhere) -> None:
        """Somebody has an add-on's token; it ends with the container that it was made for."""
        slug = AddonSlug(event.subject)
        if event.kind != ADDON.name or slug not in self.installed:
            return
        self.kernel.problems.report(
            Problem(
                TOKEN_PROBLEM,
                "addon",
                slug,
                f"The token of add-on {slug}, which is {self.whereabouts.of(slug)}, was used "
                f"{f'from {event.address}' if event.address else 'on the unix socket'} and refused: somebody has "
                "copied or overheard it. Restart the add-on, which gives it another one, and look at what is there",
                suggestions=("execute_restart",),
            )
        )

    # --- options -----------------------------------------------------------------------------------------------------

    async def set_options(self, slug: AddonSlug, change: OptionsChange, caller: Principal | None = None) -> None:
        """Change what a user may set, all of it or, when any of it is wrong, nothing.

        :param caller: who sets it: an add-on may choose less for itself than its user may for it
        """
        self.get(slug)
        async with self._choosing[slug]:  # what is as it was is not asked about: it must stay so until it is written
            addon = self.get(slug)
            changes = self._changes(addon, change)
            if not changes:
                raise Invalid(f"Send at least one of {SETTABLE}")
            options, by_itself = changes.pop("options", None), is_itself(caller, slug)
            if options is not None:
                complete = effective_options(addon.config.options, options)
                await self.checked_choice(addon, options, complete, by_itself=by_itself)

            def changed(now: InstalledAddon) -> InstalledAddon:
                chosen = now if options is None else now.with_options(options, by_itself=by_itself)
                return evolve(chosen, **changes)

            await self.change(slug, changed)
        self.kernel.problems.clear(ADOPTED, "addon", slug)
        clear_settled_conflict(self, self.get(slug))

    async def change(self, slug: AddonSlug, fn: Callable[[InstalledAddon], InstalledAddon]) -> None:
        """Change what is kept of an installed add-on, as :meth:`~rooftree.Collection.update` does; raises
        :class:`AddonNotInstalled` where it was uninstalled meanwhile."""
        try:
            await self.kernel.commit(self.installed.update(slug, fn))
        except KeyError:
            self.get(slug)
            raise

    def _changes(self, addon: InstalledAddon, change: OptionsChange) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        if change.boot is not UNSET:
            if addon.config.boot is Boot.MANUAL_ONLY:
                raise BootCannotChange(f"Add-on {addon.slug} can be started by hand only", addon=str(addon.slug))
            if change.boot is Boot.MANUAL_ONLY:
                raise Invalid("boot: must be one of 'auto', 'manual', not 'manual_only'")
            changes["boot"] = change.boot
        if change.network is not UNSET:
            changes["network"] = None if change.network is None else _network(addon, change.network)
        if change.options is not UNSET:
            changes["options"] = _known(addon, change.options or {})
        if change.watchdog is not UNSET:
            changes["watchdog"] = change.watchdog and addon.config.startup is not Startup.ONCE
        for name in ("auto_update", "audio_output", "audio_input", "ingress_panel"):
            value = getattr(change, name)
            if value is not UNSET:
                changes[name] = value
        return changes

    async def checked_options(self, addon: InstalledAddon) -> CheckedOptions:
        """The options as the add-on will see them; raises :class:`OptionsRefused` naming every wrong field."""
        return await self._checked(addon, addon.effective_options, addon.secret_references, HostDevices())

    async def checked_choice(
        self, addon: InstalledAddon, chosen: AddonOptions, complete: AddonOptions, *, by_itself: bool
    ) -> CheckedOptions:
        """The same for options that somebody chooses; refuses besides what he may not choose.

        :param chosen: what he sets
        :param complete: what the add-on would see of it, secrets aside
        :param by_itself: whether it is the add-on that chooses
        """
        others = [other for other in self.installed.values() if other.slug != addon.slug]
        devices = await asyncio.to_thread(devices_to_choose, addon, others, self.kernel.data.path, by_itself=by_itself)
        references = addon.with_options(chosen, by_itself=by_itself).secret_references
        return await self._checked(addon, complete, references, devices)

    async def _checked(
        self, addon: InstalledAddon, options: AddonOptions, references: Mapping[str, str], devices: HostDevices
    ) -> CheckedOptions:
        secrets = await asyncio.to_thread(core_secrets, self.kernel.data.path)
        self._tell_of_secrets(secrets)
        try:
            return await asyncio.to_thread(
                validate_options,
                addon.config.schema,
                options,
                secrets=secrets.lookup,
                devices=devices,
                granted_secrets=references,
            )
        except OptionsInvalid as error:
            raise OptionsRefused(
                f"The options of {addon.config.name} ({addon.slug}) are not valid: {error.message}",
                app=str(addon.slug),
                validation_error=error.message,
            ) from None

    def _tell_of_secrets(self, secrets: CoreSecrets) -> None:
        if secrets.problem is None:
            self.kernel.problems.clear(SECRETS_PROBLEM, "core", None)
        else:
            self.kernel.problems.report(secrets.problem)

    async def hardware(self, addon: InstalledAddon, checked: CheckedOptions) -> Grants:
        """The devices that an add-on gets with these options."""
        paths = [device.path for device in checked.devices]
        return await asyncio.to_thread(grants, addon, paths, self.kernel.data.path)

    async def hardware_now(self, addon: InstalledAddon) -> Grants:
        """The devices that it would get if it were started now; its options need not be complete yet."""
        chosen = chosen_devices(addon.config, addon.effective_options)
        return await asyncio.to_thread(grants, addon, chosen, self.kernel.data.path)

    # --- containers --------------------------------------------------------------------------------------------------

    async def refuse_what_is_no_folder(self, slug: AddonSlug) -> None:
        """Raise :class:`~rooftree_addons.own_folders.FolderRefused` where a link or a file is in the place of one of an
        add-on's own folders; before anything is stopped for it."""
        folders = (data_folder(slug), config_folder(slug))
        await asyncio.to_thread(refuse_what_is_no_folder, self.kernel.data.path, folders)

    async def make_folders(self, slug: AddonSlug, *, config_folder_too: bool) -> None:
        """Make an add-on's own folders."""
        folders = (data_folder(slug), *((config_folder(slug),) if config_folder_too else ()))
        for folder in folders:
            await self.removals.reclaim(folder)
        is_new = config_folder_too and not await asyncio.to_thread(
            has_folder, self.kernel.data.path, config_folder(slug)
        )
        await asyncio.to_thread(make_folders, self.kernel.data.path, folders)
        if is_new:
            self._tell_who_may_not_write(slug)

    def _tell_who_may_not_write(self, slug: AddonSlug) -> None:
        """Those that may write all configurations have each folder mounted that was there when they were started."""
        for other in self.installed.values():
            if other.slug != slug and writes_all_configs(other.config):
                self.restart_due(other.slug, f"It may write all configurations, and that of add-on {slug} is new.")

    async def create_container(self, slug: AddonSlug) -> None:
        """Make a fresh container with a fresh token, in place of the one there is. The old token ends.

        A token is valid only once its container is there, so that no look at the engine finds one without the other.
        """
        addon = self.get(slug)
        engine = self.kernel.service(CONTAINER_ENGINE)
        await asyncio.to_thread(refuse_infeasible, addon, self.kernel.data.path)
        checked = await self.checked_options(addon)
        await self.make_folders(slug, config_folder_too=wants_config_folder(addon.config))
        data = self.kernel.data.path
        options = orjson.dumps(checked.options, option=orjson.OPT_INDENT_2)
        await asyncio.to_thread(write_options, data, slug, options)
        await asyncio.to_thread(write_cid, data, addon.container, "")
        token = self.kernel.tokens.new(ADDON.name, slug)
        preferences = self.kernel.find(INSTALLATION_PREFERENCES)
        hardware = await self.hardware(addon, checked)
        self.tell_refused(slug, hardware)
        spec = await asyncio.to_thread(
            container_spec,
            addon,
            await engine.network(),
            token.text,
            token.digest,
            timezone=await asyncio.to_thread(host_timezone),
            hardware=hardware,
            sandbox=sandbox(addon, self.sandboxes),
            own_profile=addon.config.apparmor and await self.profiles.ensure_loaded(slug),
            drop_net_raw=preferences is None or preferences.drop_net_raw,
            config_folders=await asyncio.to_thread(config_folders, data) if writes_all_configs(addon.config) else (),
        )
        spec = await with_additions(self.kernel, ContainerOwner("addon", slug), spec)
        refuse_movable(spec.mounts)
        container_id = await engine.create(spec)
        await asyncio.to_thread(write_cid, data, addon.container, container_id)
        tokens = self.kernel.tokens
        await self.kernel.commit(*map(tokens.revocation, tokens.known(ADDON.name, slug)), token.change)
        for settled in (TOKEN_PROBLEM, RESTART_PROBLEM):
            self.kernel.problems.clear(settled, "addon", slug)

    def tell_refused(self, slug: AddonSlug, hardware: Grants) -> None:
        """Say which devices an add-on does not get that it asks for, until it asks for none such."""
        if hardware.refused:
            log.warning("devices_refused", addon=slug, devices=[str(device) for device in hardware.refused][:20])
            self.kernel.problems.report(refusal_problem(slug, hardware.refused))
        else:
            self.kernel.problems.clear(REFUSED_PROBLEM, "addon", slug)

    async def end_container(self, slug: AddonSlug, timeout_s: int) -> None:
        """Let an add-on's container end."""
        container = await self.look(slug)
        if container is None:
            return
        self._ended[slug] = container.id
        try:
            await self.engine.stop(f"app_{slug}", timeout_s)
        except BaseException:
            self._ended.pop(slug, None)  # it runs on
            raise

    async def remove_container(self, slug: AddonSlug) -> None:
        """Take an add-on's container away, and end its token."""
        engine = self.kernel.service(CONTAINER_ENGINE)
        await engine.remove(f"app_{slug}")
        await self.revoke_tokens(slug)
        await asyncio.to_thread(remove_cid, self.kernel.data.path, f"app_{slug}")

    async def revoke_tokens(self, slug: AddonSlug) -> None:
        """End the add-on's tokens."""
        tokens = self.kernel.tokens
        stale = tokens.known(ADDON.name, slug)
        if stale:
            await self.kernel.commit(*map(tokens.revocation, stale))

    async def adopt(self, slug: AddonSlug, container: Container, known: Mapping[str, Token]) -> None:
        """Take a container over that runs: its token works, and no other of this add-on.

        :param known: the tokens from before the engine was asked: what was made or revoked since then belongs to a job
            that has replaced this container meanwhile, and is left alone
        """
        tokens = self.kernel.tokens
        label = container.labels.get(LABEL_TOKEN, "")
        own = {key for key, token in known.items() if token.subject == slug}
        changes = [tokens.revocation(key) for key in own & tokens.known(ADDON.name, slug).keys() if key != label]
        if label and label not in own:
            changes.append(tokens.restored(label, ADDON.name, slug))
        if changes:
            await self.kernel.commit(*changes)
        self.observe(slug, container)

    async def end_stale_tokens(self, slug: AddonSlug, container: Container | None, known: Mapping[str, Token]) -> None:
        """Let the tokens end whose container has ended, or is gone, without us.

        :param known: the tokens from before the engine was asked, as for :meth:`adopt`
        """
        if container is not None and container.status is not ContainerStatus.EXITED:
            return
        tokens = self.kernel.tokens
        stale = [key for key in tokens.known(ADDON.name, slug) if key in known]
        if stale:
            await self.kernel.commit(*map(tokens.revocation, stale))

    @property
    def engine(self) -> ContainerEngine:
        """The container engine."""
        return self.kernel.service(CONTAINER_ENGINE)


ADDONS = Service[Addons]("addons/1")


def slug_of(container: Container) -> AddonSlug | None:
    """The add-on a container belongs to, from its label."""
    label = container.labels.get(LABEL_SLUG)
    return AddonSlug(label) if label else None


def _state_of(container: Container | None) -> AddonState:
    if container is None or container.status is ContainerStatus.CREATED:
        return AddonState.STOPPED
    if container.status is ContainerStatus.RUNNING:
        return AddonState.STARTUP if container.health is Health.STARTING else AddonState.STARTED
    return AddonState.STOPPED if not container.exit_code else AddonState.ERROR


def _known(addon: InstalledAddon, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the add-on's schema knows; the rest would be dropped at each start anyway."""
    schema = addon.config.schema
    if schema is None:
        return dict(options)
    unknown = [key for key in options if key not in schema.root.fields]
    if unknown:
        log.warning("unknown_options_dropped", addon=addon.slug, keys=unknown[:20], count=len(unknown))
    return {key: value for key, value in options.items() if key in schema.root.fields}


def _network(addon: InstalledAddon, wanted: Mapping[str, int | str | None]) -> dict[str, int | None]:
    offered = addon.config.ports or {}
    ports: dict[str, int | None] = {}
    for port, host in wanted.items():
        if port not in offered:
            allowed = ", ".join(offered) or "none"
            raise Invalid(f"network.{port}: is no port of {addon.slug}; its ports are {allowed}")
        try:
            number = None if host is None else int(host)
        except ValueError:
            number = -1
        if number is not None and not 0 <= number <= 65535:
            raise Invalid(f"network.{port}: must be a port from 1 to 65535, or null for none, not {host!r}")
        ports[port] = number or None
    refuse_doubled_ports(ports)
    return ports


__all__ = ["ADDONS", "AddonState", "AddonStateChanged", "Addons", "OptionsChange", "slug_of"]
