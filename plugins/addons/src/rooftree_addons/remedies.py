"""What is done about an add-on's problems when its user chooses what is suggested against them."""

from __future__ import annotations

from attrs import evolve

from rooftree import JobCall, Problem, Step, Steps, job, step
from rooftree_addons.addons import Addons
from rooftree_addons.installed import InstalledAddon
from rooftree_addons.verbs import addon_lock, restart, start
from rooftree_containers import Desired
from rooftree_store import AddonSlug, Boot


def remedy_of(addons: Addons, problem: Problem, suggestion: str) -> JobCall[None] | None:
    """The job that does what is suggested; ``None`` for what is no installed add-on's, and what add-ons don't do."""
    slug = next((slug for slug in addons.installed if slug == problem.reference), None)
    if problem.context != "addon" or slug is None:
        return None
    port = (problem.extra or {}).get("port")
    match suggestion:
        case "execute_start":
            return start(slug=slug)
        case "execute_restart":
            return restart(slug=slug)
        case "disable_boot":
            return disable_boot(slug=slug)
        case "clear_port_config" if port is not None:
            return clear_port(slug=slug, port=port)
    return None


@step("addons.set_boot/1")
class SetBoot(Step):
    """Choose whether an add-on starts with the host."""

    slug: AddonSlug
    boot: Boot | None

    async def before(self, addons: Addons) -> Boot | None:
        """What its user chose; ``None`` for what its configuration says."""
        return addons.get(self.slug).boot

    async def do(self, addons: Addons) -> None:
        await addons.change(self.slug, lambda addon: evolve(addon, boot=self.boot))

    async def undo(self, boot: Boot | None, addons: Addons) -> None:
        """The same again, unless the add-on is gone."""
        if self.slug in addons.installed:
            await addons.change(self.slug, lambda addon: evolve(addon, boot=boot))


@step("addons.give_up_port/1")
class GiveUpPort(Step):
    """Let an add-on do without a port of the host; its other ports stay."""

    slug: AddonSlug
    port: int

    async def before(self, addons: Addons) -> dict[str, int | None] | None:
        """What its user chose of its ports."""
        return addons.get(self.slug).network

    async def do(self, addons: Addons) -> None:
        def without(addon: InstalledAddon) -> InstalledAddon:
            ports = {name: None if host == self.port else host for name, host in (addon.ports or {}).items()}
            return addon if ports == addon.ports else evolve(addon, network=ports)

        await addons.change(self.slug, without)

    async def undo(self, network: dict[str, int | None] | None, addons: Addons) -> None:
        await addons.change(self.slug, lambda addon: evolve(addon, network=network))


@job("app_disable_boot", reference="slug")
async def disable_boot(addons: Addons, slug: AddonSlug) -> Steps:
    """Let an add-on no longer start with the host. A start that hangs is why: it waits for none."""
    addons.get(slug)
    return [SetBoot(slug, Boot.MANUAL)]


@job("app_clear_port", reference="slug", locks=lambda slug, port: [addon_lock(slug)])
async def clear_port(addons: Addons, slug: AddonSlug, port: int) -> Steps:
    """Run an add-on without a port of the host that somebody else has. Whether it can be started is looked at on the
    way: it could not while it wants that port."""
    addon, steps = addons.containers.domain.get(slug), addons.containers.steps
    return [
        GiveUpPort(slug, port),
        *await addon.missing_image(),
        steps.check_start(slug, None),
        steps.set_desired(slug, Desired.STARTED),
        steps.create(slug, False),
        steps.start(slug, False),
    ]
