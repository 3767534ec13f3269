"""The store: the repositories there are, and what they offer. This is the service that other plugins use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from attrs import field, frozen

from rooftree import CallMemory, Collection, Invalid, Kernel, NotFound, Problem, RooftreeError, Service, document
from rooftree.interfaces.hooks import reload_updates
from rooftree.interfaces.machine import RECOGNIZED_MACHINE
from rooftree.interfaces.store import StoreReloaded
from rooftree_files import Folder, FolderMissing, PathRefused
from rooftree_machine.machine_types import generic_machine, host_architecture
from rooftree_store.addon_config import AddonConfig
from rooftree_store.assessment import CoreTooOld, Reason, WrongArchitecture, availability, image_reference, pick_arch
from rooftree_store.catalogue import PICTURES, ConfigReader, Contents, Offer, open_repository, read_contents
from rooftree_store.git_process import USUAL, Limits
from rooftree_store.languages import Languages
from rooftree_store.leftovers import Leftovers, sweep
from rooftree_store.logins import Login, RepositoryAddress
from rooftree_store.repository_file import RepositoryFile
from rooftree_store.slugs import AddonSlug, RepositorySlug
from rooftree_store.sources import LOCAL, RepositorySource
from rooftree_store.translations import TranslationTexts
from rooftree_workers import to_thread_stoppable

log = structlog.get_logger(__name__)

GIT_FOLDER = "apps/git"
MOST_PICTURE_BYTES = 4 * 1024**2
"""Of one of an add-on's pictures, which is cut there: a repository packs gigabytes into nothing."""
MOST_TEXT_BYTES = 2 * 1024**2
"""Of one of an add-on's texts, which is cut there. It is in memory several times over while it is answered."""
MOST_READERS = 2
"""As many threads read what add-ons say in words. They are none of those that everybody else waits for."""
_NEW_LOGINS: Final = CallMemory[Login]("logins that come with addresses of repositories")
LOCAL_DESCRIPTION = RepositoryFile(name="Local add-ons", url=None, maintainer="you")


class StoreAddonNotFound(NotFound):
    """No repository offers such an add-on."""

    error_key = "store_app_not_found_error"


class ArchitectureUnsupported(Invalid):
    """The add-on is not made for this machine's processor."""

    error_key = "addon_not_supported_architecture_error"


class MachineUnsupported(Invalid):
    """The add-on is not made for this machine."""

    error_key = "addon_not_supported_machine_type_error"


class CoreUnsupported(Invalid):
    """The add-on needs a newer Home Assistant Core."""

    error_key = "addon_not_supported_home_assistant_version_error"


class RepositoryNotFound(NotFound):
    """There is no such repository."""


@document("store.repository", version=1)
@frozen
class Repository:
    """A repository that was added through the API; built-in ones are the operator's affair."""

    source: RepositorySource


@frozen
class Installed:
    """What the store's answers say of an add-on that is installed."""

    version: str
    update_available: bool
    config: AddonConfig | None = None
    """What it was installed with, which is all there is of it once no repository offers it any more."""


@frozen
class Machine:
    """What add-ons may run on here."""

    arch: str
    supported_arch: tuple[str, ...]
    machine: str


@frozen
class Fetching:
    """How repositories are fetched."""

    limits: Limits = USUAL
    at_once: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(8), eq=False)
    """As many servers as are asked at the same time."""


class AddonStore:
    """The catalogue in memory, and the repositories it comes from."""

    def __init__(
        self,
        kernel: Kernel,
        added: Collection[Repository],
        logins: Collection[Login],
        built_in: Sequence[RepositorySource],
        machine: str | None,
        fetching: Fetching,
    ) -> None:
        self._configured_machine = machine
        self._arch = host_architecture()
        self.fetching = fetching
        self._core_version: str | None = None
        self._kernel = kernel
        self._data = kernel.data.path
        self._added = added
        self._logins = logins
        self._built_in = {source.slug: source for source in built_in}
        self._contents: dict[RepositorySlug, Contents] = {}
        self._addons: dict[AddonSlug, Offer] = {}
        self._installed: Mapping[AddonSlug, Installed] = {}
        self._reader = ConfigReader()
        self._readers = ThreadPoolExecutor(MOST_READERS, "reading add-ons' files")
        self._languages = Languages(self._readers)
        self.leftovers = Leftovers(kernel.problems)
        self._refreshing = asyncio.Lock()
        self._revision = 0

    @property
    def revision(self) -> str:
        """Changes whenever what the store would answer does."""
        return f"{self._revision}.{self.machine.machine}"

    @property
    def machine(self) -> Machine:
        """What add-ons may run on here: the machine that the operator names, or that is recognised, which may be later
        than the start, or the generic one."""
        recognized = self._kernel.find(RECOGNIZED_MACHINE)
        name = self._configured_machine or (recognized.machine if recognized else None)
        return Machine(self._arch, (self._arch,), name or generic_machine(self._arch))

    @property
    def core_version(self) -> str | None:
        """The version of Home Assistant Core, where it is known."""
        return self._core_version

    @core_version.setter
    def core_version(self, version: str | None) -> None:
        if version != self._core_version:
            self._core_version = version
            self._revision += 1  # what can be installed depends on it

    @property
    def sources(self) -> Mapping[RepositorySlug, RepositorySource]:
        """Every repository's source, built-in ones first."""
        added = {RepositorySlug(slug): repository.source for slug, repository in self._added.items()}
        return {**self._built_in, **added}

    def source(self, repository: RepositorySlug) -> RepositorySource:
        """The source of one; raises :class:`RepositoryNotFound`."""
        try:
            return self.sources[repository]
        except KeyError:
            raise RepositoryNotFound(f"There is no repository {repository}") from None

    def known_as(self, source: RepositorySource) -> RepositorySource:
        """The source of the repository that is there, where the same was entered in other words: its slug names folders
        and add-ons, and stays. Else the one that is given."""
        there = (other for other in self.sources.values() if other.is_same_as(source))
        return source if source.slug in self.sources else next(there, source)

    def is_built_in(self, repository: RepositorySlug) -> bool:
        """Whether the operator's settings, not the API, decide that it is there."""
        return repository in self._built_in

    def description(self, repository: RepositorySlug) -> RepositoryFile | None:
        """What a repository says of itself; ``None`` until it was fetched."""
        contents = self._contents.get(repository)
        return LOCAL_DESCRIPTION if repository == LOCAL else contents.file if contents else None

    def login(self, repository: RepositorySlug) -> Login | None:
        """What its server wants to see, where it does."""
        return self._logins.get(repository)

    def offered_logins(self, addresses: Iterable[RepositoryAddress]) -> AbstractContextManager[None]:
        """While a job is under way, let it find the logins in these addresses: only memory knows them until it has kept
        them."""
        return _NEW_LOGINS.of(
            {self.known_as(address.source).slug: address.login for address in addresses if address.login is not None}
        )

    def new_login(self, repository: RepositorySlug) -> Login | None:
        """The login that waits to be kept."""
        return _NEW_LOGINS.get(repository)

    async def keep_login(self, repository: RepositorySlug) -> None:
        """Keep the login that waits, if one does."""
        login = _NEW_LOGINS.get(repository)
        if login is not None:
            await self._kernel.commit(self._logins.put(repository, login))

    async def forget_login(self, repository: RepositorySlug) -> None:
        """Forget a login, if there is one."""
        if repository in self._logins:
            await self._kernel.commit(self._logins.delete(repository))

    def has_read(self, repository: RepositorySlug) -> bool:
        """Whether what it offers is known as it lies in its folder."""
        return repository in self._contents

    def repository_folder(self, repository: RepositorySlug) -> Path:
        below = Path("apps") if repository in {LOCAL, "core"} else Path(GIT_FOLDER)
        return self._data / below / repository

    @property
    def addons(self) -> Mapping[AddonSlug, Offer]:
        """Everything on offer, by slug."""
        return self._addons

    def addon(self, slug: AddonSlug) -> Offer:
        """One add-on on offer; raises :class:`StoreAddonNotFound`."""
        try:
            return self._addons[slug]
        except KeyError:
            raise StoreAddonNotFound(f"No repository offers an add-on {slug}", addon=str(slug)) from None

    def shown(self, slug: AddonSlug) -> Offer:
        """One add-on on offer, or one that is installed and no longer is; raises :class:`StoreAddonNotFound`."""
        installed = self._installed.get(slug)
        if slug in self._addons or installed is None or installed.config is None:
            return self.addon(slug)
        return Offer(
            slug,
            slug.repository,
            installed.config,
            folder="",
            place="",
            changed=datetime.fromtimestamp(0, UTC),
            files=frozenset(),
        )

    def unavailable(self, offer: Offer) -> Sequence[Reason]:
        """Why an add-on cannot be installed here; empty when it can."""
        machine = self.machine
        return availability(offer.config, machine.supported_arch, machine.machine, self.core_version)

    def refuse_unavailable(self, offer: Offer) -> None:
        """Raise the error of the first reason why an add-on cannot be installed here; its sentence has them all."""
        reasons = self.unavailable(offer)
        if not reasons:
            return
        sentence = f"Add-on {offer.slug} cannot be installed here: {'; '.join(map(str, reasons))}"
        config = offer.config
        if isinstance(reasons[0], WrongArchitecture):
            raise ArchitectureUnsupported(sentence, slug=offer.slug, architectures=", ".join(config.arch))
        if isinstance(reasons[0], CoreTooOld):
            raise CoreUnsupported(sentence, slug=offer.slug, version=config.homeassistant)
        raise MachineUnsupported(sentence, slug=offer.slug, machine_types=", ".join(config.machine or ()))

    def image(self, offer: Offer) -> str:
        """The image an add-on runs as here, ``name:tag``."""
        arch = pick_arch(offer.config, self.machine.supported_arch)
        name = image_reference(offer.config, offer.repository, arch, machine=self.machine.machine)
        return f"{name}:{offer.config.version}"

    def open_repository(self, repository: RepositorySlug) -> Folder:
        """A repository's folder, open: the way to an add-on's files, by ``offer.within(name)``. The caller closes it.

        Raises ``FolderMissing``. Blocks: call in a thread.
        """
        return open_repository(self.repository_folder(repository))

    async def read_file(self, offer: Offer, name: str) -> bytes | None:
        """One of an add-on's shown files, or ``None`` where it has none, or a link out of its repository."""
        if name not in offer.files:
            return None
        return await to_thread_stoppable(self._readers, self._read_file, offer, name)

    def _read_file(self, stop: Callable[[], bool], offer: Offer, name: str) -> bytes | None:
        del stop  # soon done: one file, and not much of it
        try:
            with self.open_repository(offer.repository) as folder:
                most = MOST_PICTURE_BYTES if name in PICTURES else MOST_TEXT_BYTES
                return folder.read_beginning(offer.within(name), most, links=True)
        except (FolderMissing, FileNotFoundError, NotADirectoryError):
            return None
        except PathRefused as error:
            log.warning("file_of_add_on_refused", addon=offer.slug, file=name, reason=error.message)
            return None

    async def translations(self, offer: Offer) -> Mapping[str, TranslationTexts]:
        """The translations of an add-on by language code; a file that cannot be read is left out."""
        return await self._languages.of(self.repository_folder(offer.repository), offer)

    def close(self) -> None:
        """Read no more of what add-ons say in words."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    @property
    def installed(self) -> Mapping[AddonSlug, Installed]:
        """The add-ons that are installed, as last noted."""
        return self._installed

    def note_installed(self, installed: Mapping[AddonSlug, Installed]) -> None:
        """Take note of what is installed, so that listings can say so. Called by whoever installs add-ons."""
        if installed != self._installed:
            self._installed = dict(installed)
            self._revision += 1

    async def register(self, source: RepositorySource) -> None:
        """Enter a repository whose folder is there, and read it."""
        await self._kernel.commit(self._added.put(source.slug, Repository(source)))
        self._revision += 1
        await self.refresh([source.slug])

    async def unregister(self, repository: RepositorySlug) -> None:
        """Take a repository out, and what it offers."""
        await self._kernel.commit(self._added.delete(repository))
        self._revision += 1
        self.clear_unfetched(repository)
        self.report_lacking(repository, {})
        await self.refresh([repository])

    async def refresh(self, repositories: Iterable[RepositorySlug]) -> None:
        """Read the folders of these repositories anew; files that did not change cost nothing."""
        async with self._refreshing:
            changed = []
            for slug in repositories:
                fresh = await self._read(slug) if slug in self.sources else None
                if fresh != self._contents.get(slug):
                    changed.append(slug)
                if fresh is None:
                    self._contents.pop(slug, None)
                    self._reader.forget(self.repository_folder(slug))
                else:
                    self._contents[slug] = fresh
                self._report_broken(slug, fresh)
                self._report_pointers(slug, fresh)
            if changed:
                self._addons = {
                    slug: offer for contents in self._contents.values() for slug, offer in contents.offers.items()
                }
                self._revision += 1
                self._kernel.publish(StoreReloaded(tuple(changed)))
                log.info("catalogue_read", addons=len(self._addons), changed=changed)

    async def _read(self, slug: RepositorySlug) -> Contents | None:
        folder = self.repository_folder(slug)
        try:
            return await asyncio.to_thread(read_contents, self._data, folder, slug, self._reader)
        except FolderMissing:
            return None
        except RooftreeError as error:
            self.report_unfetched(slug, error.message)
        except OSError as error:
            self.report_unfetched(slug, f"its folder cannot be read: {error}")
        return self._contents.get(slug)

    async def let_others_reload(self) -> None:
        """Let every domain ask which versions there are of what it updates; raises what went wrong with the first that
        could not."""
        for failure in filter(None, await self._kernel.call(reload_updates)):
            raise failure

    async def sweep(self) -> None:
        """Delete what a kill left of half-made clones, and clones and logins of repositories that are not there."""
        for slug in [slug for slug in self._logins if slug not in self.sources]:
            await self._kernel.commit(self._logins.delete(slug))
        kept = {str(slug) for slug in self.sources}
        self.leftovers.note(await asyncio.to_thread(sweep, self._data / "apps", kept))

    def report_unfetched(self, slug: RepositorySlug, reason: str) -> None:
        """A repository could not be fetched or read; what was known of it stays on offer."""
        way_out = "" if self.is_built_in(slug) else f". If it has gone for good: DELETE /store/repositories/{slug}"
        self._kernel.problems.report(
            Problem(
                "fatal_error",
                "store",
                slug,
                f"The repository {slug} could not be brought up to date: {reason}. What is known of it stays on offer, "
                f"and each reload tries again{way_out}",
                suggestions=("execute_reload",),
            )
        )

    def clear_unfetched(self, slug: RepositorySlug) -> None:
        """It was fetched and read."""
        self._kernel.problems.clear("fatal_error", "store", slug)

    def report_lacking(self, slug: RepositorySlug, lacking: Mapping[str, str]) -> None:
        """Submodules of a repository could not be fetched: what is built from them will be incomplete."""
        if not lacking:
            self._kernel.problems.clear("submodules_missing", "store", slug)
            return
        shown = _first_of(lacking)
        self._kernel.problems.report(
            Problem(
                "submodules_missing",
                "store",
                slug,
                f"The repository {slug} is there without some of its submodules: {shown}",
                suggestions=("execute_reload",),
                extra={"submodules": dict(lacking)},
            )
        )

    def _report_pointers(self, slug: RepositorySlug, contents: Contents | None) -> None:
        pointers = contents.pointers if contents else ()
        if contents is None or not pointers:
            self._kernel.problems.clear("lfs_files", "store", slug)
            return
        more = len(pointers) - 5 + contents.more_pointers
        shown = ", ".join(pointers[:5]) + (f" (and {more} more)" if more > 0 else "")
        self._kernel.problems.report(
            Problem(
                "lfs_files",
                "store",
                slug,
                f"The repository {slug} keeps files in git LFS, which is not fetched, so these are missing: {shown}",
                extra={"files": list(pointers)},
            )
        )

    def _report_broken(self, slug: RepositorySlug, contents: Contents | None) -> None:
        broken = contents.broken if contents else {}
        if contents is None or not broken:
            self._kernel.problems.clear("broken_addon_config", "store", slug)
            return
        shown = _first_of(broken, contents.more_broken)
        self._kernel.problems.report(
            Problem(
                "broken_addon_config",
                "store",
                slug,
                f"The repository {slug} has add-ons that cannot be offered, or not as a whole: {shown}. "
                "`rooftree addon validate` tells authors all of it",
                extra={"files": dict(broken)},
            )
        )


ADDON_STORE = Service[AddonStore]("addon_store/1")


def _first_of(reasons: Mapping[str, str], unnamed: int = 0) -> str:
    """The first few of them, in one line."""
    shown = "; ".join(f"{path}: {reason}" if path else reason for path, reason in list(reasons.items())[:5])
    more = len(reasons) - 5 + unnamed
    return f"{shown} (and {more} more)" if more > 0 else shown
