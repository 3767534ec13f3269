"""The add-ons' routes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from attrs import asdict, evolve

from rooftree import (
    FreeText,
    Invalid,
    JobCall,
    JobStarted,
    Principal,
    RawBody,
    Role,
    Routes,
    Unset,
    itself,
    role,
)
from rooftree.interfaces.callers import ADDON, CORE_ONLY, OBSERVER
from rooftree.interfaces.containers import ContainerNotFound, ContainerNotRunning
from rooftree.interfaces.hardware import HARDWARE
from rooftree.interfaces.hooks import addon_facts
from rooftree.plugins import merged
from rooftree.principal import INCLUDES
from rooftree_addons import texts, updates, verbs
from rooftree_addons.addons import Addons
from rooftree_addons.choices import is_itself
from rooftree_addons.installed import AddonNotRunning, AddonOptions, OptionsRefused, StdinUnsupported
from rooftree_addons.leaked_passwords import LeakedPasswords
from rooftree_addons.models import (
    AddonInfo,
    AddonList,
    AddonSummary,
    Background,
    OptionsVerdict,
    RebuildRequest,
    SecurityChange,
    SystemOptionsChange,
    UninstallRequest,
    UpdateRequest,
)
from rooftree_addons.options_change import OptionsChange
from rooftree_containers import ProbationState, plans
from rooftree_containers.container_log import ContainerLog
from rooftree_containers.log_routes import log_routes
from rooftree_containers.stats import Stats
from rooftree_containers.update_steps import BY_HAND
from rooftree_store import CHANGELOG, DOCUMENTATION, AddonSlug, AddonStore, ShownText, shown_text

routes = Routes()
MANAGER = role(Role.MANAGER)

OWN = MANAGER | itself("addon", ADDON)
NOT_OWN = role(Role.MANAGER, not_on=itself("addon", ADDON))
STDIN_LIMIT = 16 * 1024 * 1024


# --- looking ----------------------------------------------------------------------------------------------------------


def listing_revision(addons: Addons) -> str:
    """Changes with what the listing shows."""
    return addons.revision


@routes.get("/addons", access=MANAGER, revision=listing_revision)
def installed(addons: Addons) -> AddonList:
    """The add-ons that are installed."""
    return AddonList([AddonSummary.of(addons, addon) for addon in addons.installed.values()])


@routes.get("/addons/{addon}/info", access=role(Role.DEFAULT) | itself("addon", ADDON) | OBSERVER)
async def info(addons: Addons, addon: AddonSlug, caller: Principal) -> AddonInfo:
    """Everything about an add-on. Its options are for itself and for managers."""
    shown = addons.installed.get(addon) or addons.on_offer(addon)
    trusted = caller.role in INCLUDES[Role.MANAGER] or is_itself(caller, addon)
    readme, translations = await texts.readme(addons, addon), await texts.translations(addons, addon)
    hardware = addons.kernel.find(HARDWARE)
    own = await asyncio.to_thread(
        AddonInfo.of_addon,
        addons,
        shown,
        readme=readme,
        translations=translations,
        known_devices=hardware.devices() if hardware else (),
        with_options=trusted,
    )
    facts = await addons.kernel.call(addon_facts, addon)
    return merged(AddonInfo, asdict(own, recurse=False), facts) if facts else own


@routes.get("/addons/{addon}/stats", access=OWN)
async def stats(addons: Addons, addon: AddonSlug) -> Stats:
    """What an add-on uses of the machine."""
    installed_addon = addons.get(addon)
    with _of_running(addon):
        return Stats.of(await addons.engine.stats(installed_addon.container))


@contextmanager
def _of_running(slug: AddonSlug) -> Iterator[None]:
    """Tell of an add-on that does not run, rather than of its container."""
    try:
        yield
    except (ContainerNotFound, ContainerNotRunning):
        raise AddonNotRunning(f"Add-on {slug} does not run. Start it first.", addon=str(slug)) from None


def addon_log(addons: Addons, addon: AddonSlug) -> ContainerLog:
    """An add-on's log; existing supervisors called its container by another name."""
    installed_addon = addons.get(addon)
    return ContainerLog(
        addons.kernel,
        addons.engine,
        installed_addon.container,
        former_names=(f"addon_{addon}",),
        earlier=partial(addons.containers.crash_logs.lines, addon),
    )


routes.include(log_routes("/addons/{addon}/logs", addon_log, access=OWN))


@routes.get("/addons/{addon}/changelog", access=OWN)
async def changelog(store: AddonStore, addon: AddonSlug) -> ShownText:
    """An add-on's changelog, or a sentence that it has none."""
    return await shown_text(store, addon, CHANGELOG, "changelog")


@routes.get("/addons/{addon}/documentation", access=OWN)
async def documentation(store: AddonStore, addon: AddonSlug) -> ShownText:
    """An add-on's documentation, or a sentence that it has none."""
    return await shown_text(store, addon, DOCUMENTATION, "documentation")


# --- options ----------------------------------------------------------------------------------------------------------


@routes.post("/addons/{addon}/options", access=OWN)
async def set_options(addons: Addons, addon: AddonSlug, body: OptionsChange, caller: Principal) -> None:
    """Change an add-on's options; what is absent stays, what is null goes back to its default. An add-on chooses no
    secret, no disk and no other add-on's device for itself."""
    await addons.set_options(addon, body, caller)


@routes.get("/addons/{addon}/options/config", access=itself("addon", ADDON))
async def options_config(addons: Addons, addon: AddonSlug) -> AddonOptions:
    """The options as the calling add-on sees them, checked and with secrets filled in."""
    return (await addons.checked_options(addons.get(addon))).options


@routes.post("/addons/{addon}/options/validate", access=OWN)
async def validate_options(
    addons: Addons, leaked_passwords: LeakedPasswords, addon: AddonSlug, body: AddonOptions, caller: Principal
) -> OptionsVerdict:
    """Whether the caller could set these options, complete; an empty body asks about those that are set."""
    installed = addons.get(addon)
    by_itself = is_itself(caller, addon)
    try:
        if body:
            checked = await addons.checked_choice(installed, body, body, by_itself=by_itself)
        else:
            checked = await addons.checked_options(installed)
    except OptionsRefused as error:
        return OptionsVerdict(error.message, valid=False, pwned=None)
    return OptionsVerdict("", valid=True, pwned=await leaked_passwords.any_of(checked.password_hashes))


@routes.post("/addons/{addon}/security", access=role(Role.ADMIN, not_on=itself("addon", ADDON)))
async def set_security(addons: Addons, addon: AddonSlug, body: SecurityChange) -> None:
    """Switch an add-on's protection, or change how far it is kept from the kernel; it counts from the next start."""
    before = addons.get(addon)
    given = body.given()
    await addons.change(addon, lambda current: evolve(current, **given))
    if addons.get(addon) != before:
        addons.restart_due(addon, f"How far it is kept from the machine was changed ({', '.join(sorted(given))}).")


@routes.post("/addons/{addon}/sys_options", access=CORE_ONLY)
async def set_system_options(addons: Addons, addon: AddonSlug, body: SystemOptionsChange) -> None:
    """Mark an add-on as managed by Home Assistant."""
    addons.get(addon)
    given = {
        name: value
        for name in ("system_managed", "system_managed_config_entry")
        if not isinstance(value := getattr(body, name), Unset)
    }
    if not given:
        raise Invalid("Send system_managed, system_managed_config_entry, or both")
    await addons.change(addon, lambda current: evolve(current, **given))


# --- verbs ------------------------------------------------------------------------------------------------------------


@routes.post("/store/addons/{addon}/install", access=MANAGER, aliases=("/addons/{addon}/install",))
def install(addon: AddonSlug, body: Background) -> JobCall[JobStarted | None]:
    """Install an add-on."""
    return verbs.install(slug=addon).in_background(body.background)


@routes.post("/store/addons/{addon}/install/{version}", access=MANAGER)
def install_version(
    store: AddonStore, addon: AddonSlug, version: FreeText, body: Background
) -> JobCall[JobStarted | None]:
    """Install an add-on in this version, which must be the one on offer."""
    _refuse_other_version(store, addon, version)
    return verbs.install(slug=addon).in_background(body.background)


@routes.post("/store/addons/{addon}/update", access=NOT_OWN, aliases=("/addons/{addon}/update",))
def update(addon: AddonSlug, body: UpdateRequest) -> JobCall[JobStarted | None]:
    """Bring an add-on to the newest version."""
    return updates.update(slug=addon, backup=body.backup).in_background(body.background)


@routes.post("/store/addons/{addon}/update/{version}", access=NOT_OWN)
def update_version(
    store: AddonStore, addon: AddonSlug, version: FreeText, body: UpdateRequest
) -> JobCall[JobStarted | None]:
    """Bring an add-on to this version, which must be the one on offer."""
    _refuse_other_version(store, addon, version)
    return updates.update(slug=addon, backup=body.backup).in_background(body.background)


def _refuse_other_version(store: AddonStore, slug: AddonSlug, version: str) -> None:
    offered = store.addon(slug).config.version
    if version != offered:
        raise Invalid(f"The store offers {slug} in version {offered} only, not {version}")


@routes.post("/addons/{addon}/uninstall", access=OWN)
def uninstall(addon: AddonSlug, body: UninstallRequest) -> JobCall[None]:
    """Remove an add-on with everything it brought."""
    return verbs.uninstall(slug=addon, remove_config=body.remove_config)


@routes.post("/addons/{addon}/rebuild", access=OWN)
def rebuild(addon: AddonSlug, body: RebuildRequest, caller: Principal) -> JobCall[None]:
    """Build a local add-on again."""
    return updates.rebuild(slug=addon, force=body.force, by_itself=is_itself(caller, addon))


@routes.get("/kernel/v1/addons/{addon}/probation", access=OWN)
def probation(addons: Addons, addon: AddonSlug) -> ProbationState:
    """Whether an add-on's version still has to prove itself, and what can be gone back to."""
    installed = addons.get(addon)
    return ProbationState.of(installed.version, addons.probations.get(addon), installed.failed_version)


@routes.post("/kernel/v1/addons/{addon}/roll-back", access=NOT_OWN)
def roll_back(addons: Addons, addon: AddonSlug) -> JobCall[None]:
    """Put the version before the last update back, with the data it had, while that is kept."""
    update = plans.probation_of(addons.containers, addon).kept.folder
    return updates.roll_back(slug=addon, update=update, reason=BY_HAND)


@routes.post("/addons/{addon}/start", access=OWN)
def start(addon: AddonSlug) -> JobCall[None]:
    """Start an add-on."""
    return verbs.start(slug=addon)


@routes.post("/addons/{addon}/stop", access=OWN)
def stop(addon: AddonSlug) -> JobCall[None]:
    """Stop an add-on."""
    return verbs.stop(slug=addon)


@routes.post("/addons/{addon}/restart", access=OWN)
def restart(addon: AddonSlug) -> JobCall[None]:
    """Stop an add-on and start it again."""
    return verbs.restart(slug=addon)


@routes.post("/addons/{addon}/stdin", access=OWN, max_body=STDIN_LIMIT)
async def stdin(addons: Addons, addon: AddonSlug, body: RawBody) -> None:
    """Hand the body to an add-on's standard input, as it is."""
    installed_addon = addons.get(addon)
    if not installed_addon.config.stdin:
        raise StdinUnsupported(f"Add-on {addon} does not read its standard input", addon=str(addon))
    with _of_running(addon):
        await addons.engine.write_stdin(installed_addon.container, await body.read())
