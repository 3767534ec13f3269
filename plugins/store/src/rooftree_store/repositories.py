"""Repositories: which there are, fetching them, and the jobs that add, remove and reload them."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import structlog
from attrs import evolve

from rooftree import (
    Conflict,
    Invalid,
    Lock,
    RooftreeError,
    Run,
    Step,
    Steps,
    Unavailable,
    job,
    step,
)
from rooftree_store import git
from rooftree_store.catalogue import open_repository, read_repository_file
from rooftree_store.git_process import BranchMissing, GitFailed, RepositoryTooLarge
from rooftree_store.leftovers import OLD
from rooftree_store.repository_file import RepositoryFile
from rooftree_store.slugs import RepositorySlug
from rooftree_store.sources import LOCAL, RepositorySource
from rooftree_store.store import AddonStore
from rooftree_store.submodules import Brought, bring_submodules
from rooftree_workers import to_thread_whole

log = structlog.get_logger(__name__)


class RepositoryInvalid(Invalid):
    """What was fetched is no add-on repository."""

    error_key = "store_repository_unknown_error"


class RepositoryAlreadyAdded(Conflict):
    """The repository is there already."""

    error_key = "store_repository_already_added_error"


class LocalRepositoryFixed(Invalid):
    """The local repository is a plain folder: there is nothing to fetch again."""

    error_key = "store_repository_local_cannot_reset"


async def fetch(store: AddonStore, source: RepositorySource) -> Brought:
    """Clone a repository, in place of what is there; what comes is checked first, so nothing bad replaces good."""
    folder = store.repository_folder(source.slug)
    limits, login = store.fetching.limits, store.login(source.slug)
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    await asyncio.to_thread(_make, folder.parent)
    try:
        await git.clone(source, fresh, limits, login)
        try:
            await asyncio.to_thread(_described, fresh)
        except RooftreeError as error:
            raise RepositoryInvalid(f"{source} is no add-on repository: {error.message}") from None
        brought = await bring_submodules(source, fresh, limits, login)
        old = await to_thread_whole(_replace, fresh, folder)
        if old is not None:
            await store.leftovers.remove(old)
    finally:
        await store.leftovers.remove(fresh)
    return evolve(brought, changed=True)


def _make(clones: Path) -> None:
    clones.mkdir(parents=True, exist_ok=True)  # ours: no add-on has apps or apps/git


def _described(clone: Path) -> RepositoryFile:
    with open_repository(clone) as folder:
        return read_repository_file(folder)


def _replace(fresh: Path, folder: Path) -> Path | None:
    """Put a clone in its place; where the one is that it takes the place of, which is to be deleted."""
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{OLD}")
    there = folder.exists()  # ours: no add-on has apps/git
    if there:
        folder.rename(old)  # ours: as above
    fresh.rename(folder)  # ours: as above
    return old if there else None


def _is_clone(folder: Path) -> bool:
    return (folder / ".git").is_dir()  # ours: git's own folder of a clone; no add-on has apps/git


async def bring_up_to_date(store: AddonStore, source: RepositorySource) -> Brought:
    """Fetch what is new; a clone that is missing or damaged is made anew."""
    folder = store.repository_folder(source.slug)
    limits, login = store.fetching.limits, store.login(source.slug)
    if await asyncio.to_thread(_is_clone, folder):
        try:
            changed = await git.update(source, folder, limits, login)
            await asyncio.to_thread(_described, folder)
            brought = await bring_submodules(source, folder, limits, login)
            return evolve(brought, changed=changed or brought.changed)
        except BranchMissing:
            raise
        except GitFailed as error:
            if not await git.reachable(source, limits, login):
                raise
            log.warning("clone_damaged", repository=str(source), reason=error.message)
        except (Unavailable, RepositoryTooLarge):
            raise
        except RooftreeError as error:
            raise RepositoryInvalid(f"{source} is no add-on repository any more: {error.message}") from None
    return await fetch(store, source)


@step("store.keep_login/1")
class KeepLogin(Step):
    """Keep the login that came with a repository's address. The journal never sees it."""

    repository: RepositorySlug

    async def before(self, store: AddonStore) -> bool:
        """Whether there was one."""
        return store.login(self.repository) is not None

    async def do(self, store: AddonStore) -> None:
        """Keep what the address had."""
        await store.keep_login(self.repository)

    async def undo(self, was_there: bool, store: AddonStore) -> None:
        """Forget it, if there was none before."""
        if not was_there:
            await store.forget_login(self.repository)


@step("store.clone_repository/1")
class CloneRepository(Step):
    """Fetch a repository that is not there yet."""

    source: RepositorySource
    weight = 20
    interruptible = True

    async def before(self, store: AddonStore) -> bool:
        """Whether its folder was there."""
        return await asyncio.to_thread(store.repository_folder(self.source.slug).exists)  # ours: in apps/git

    async def fetch_bytes(self) -> int | None:
        """Not known: git tells it only while it fetches."""
        return None

    async def do(self, store: AddonStore) -> None:
        brought = await fetch(store, self.source)
        store.report_lacking(self.source.slug, brought.lacking)

    async def undo(self, was_there: bool, store: AddonStore) -> None:
        """Take the folder away, if this made it."""
        if not was_there:
            await store.leftovers.remove(store.repository_folder(self.source.slug))


@step("store.register_repository/1")
class RegisterRepository(Step):
    """Enter a repository in the state, and what it offers in the catalogue."""

    source: RepositorySource

    async def before(self, store: AddonStore) -> bool:
        """Whether it was registered."""
        return self.source.slug in store.sources

    async def do(self, store: AddonStore) -> None:
        await store.register(self.source)

    async def undo(self, was_there: bool, store: AddonStore) -> None:
        """Take it out again, if this entered it."""
        if not was_there:
            await store.unregister(self.source.slug)


@step("store.unregister_repository/1")
class UnregisterRepository(Step):
    """Take a repository out of the state, and what it offers out of the catalogue."""

    source: RepositorySource

    async def do(self, store: AddonStore) -> None:
        await store.unregister(self.source.slug)

    async def undo(self, _: None, store: AddonStore) -> None:
        await store.register(self.source)


@step("store.remove_clone/1")
class RemoveClone(Step):
    """Delete a repository's folder, and its login. What can't be deleted is a problem, and tried again."""

    repository: RepositorySlug
    tidies = True

    async def do(self, store: AddonStore) -> None:
        await store.forget_login(self.repository)
        await store.leftovers.remove(store.repository_folder(self.repository))


@step("store.update_repositories/1")
class UpdateRepositories(Step):
    """Fetch what is new in these repositories, side by side, and read what changed.

    One that cannot be fetched is reported as a problem and stays as it was. None waits for another's server: what is
    new is on offer as soon as it is there.
    """

    repositories: tuple[RepositorySlug, ...]

    async def fetch_bytes(self) -> int | None:
        """Nothing for the local one; of the others it is not known."""
        return 0 if set(self.repositories) <= {LOCAL} else None

    async def do(self, run: Run, store: AddonStore) -> None:
        await store.leftovers.try_again()
        done = 0

        async def update(slug: RepositorySlug, source: RepositorySource) -> None:
            nonlocal done
            if source == LOCAL or await _is_new(store, slug, source):
                await store.refresh([slug])
            done += 1
            run.progress(done, len(wanted))

        wanted = {slug: store.sources[slug] for slug in self.repositories if slug in store.sources}
        async with asyncio.TaskGroup() as group:
            for slug, source in wanted.items():
                group.create_task(update(slug, source))


async def _is_new(store: AddonStore, slug: RepositorySlug, source: RepositorySource) -> bool:
    """Fetch a repository; whether it has to be read, which it has not where nothing has changed since it was."""
    try:
        async with store.fetching.at_once:
            brought = await bring_up_to_date(store, source)
    except RooftreeError as error:
        store.report_unfetched(slug, error.message)
        return True
    except OSError as error:  # a full or broken disk, where another repository may lie elsewhere
        store.report_unfetched(slug, f"its folder cannot be written: {error}")
        return True
    store.clear_unfetched(slug)
    store.report_lacking(slug, brought.lacking)
    return brought.changed or not store.has_read(slug)


def repository_lock(slug: RepositorySlug, *, shared: bool = False) -> Lock:
    """What a job holds that changes a repository's folder or, ``shared``, only needs it to stay as it is."""
    return Lock("repository", slug, shared)


@job("store_manager_add_repository", reference="source", locks=lambda source: [repository_lock(source.slug)])
async def add_repository(store: AddonStore, source: RepositorySource) -> Steps:
    """Fetch a repository and enter it; of one that is there, a new login is tried and kept."""
    slug = source.slug
    login = store.new_login(slug)
    keep_login = [KeepLogin(slug)] if login is not None else []
    if slug not in store.sources:
        return [*keep_login, CloneRepository(source), RegisterRepository(source)]
    if login is None:
        raise RepositoryAlreadyAdded(f"The repository {source} is already there")
    await git.tip(source, store.fetching.limits, login)  # a login that does not work takes no other's place
    return [*keep_login, UpdateRepositories((slug,))]


@job(
    "store_manager_remove_repository",
    reference="repository",
    locks=lambda repository: [repository_lock(repository)],
    recovery="forward",
    makes_room=True,
)
async def remove_repository(store: AddonStore, repository: RepositorySlug) -> Steps:
    """Take a repository out; refused for built-in ones and while add-ons from it are installed."""
    source = store.source(repository)
    _refuse_removal(store, repository)
    return [UnregisterRepository(source), RemoveClone(repository)]


@job("store_manager_set_repositories", locks=lambda sources, touched: map(repository_lock, touched))
async def set_repositories(
    store: AddonStore, sources: tuple[RepositorySource, ...], touched: tuple[RepositorySlug, ...]
) -> Steps:
    """Make these the added repositories: all of it, or nothing. ``touched`` are the slugs of old and new ones."""
    wanted = {source.slug: source for source in sources}
    gone = [slug for slug in store.sources if slug not in wanted and not store.is_built_in(slug)]
    for slug in gone:
        _refuse_removal(store, slug)
    added = [source for slug, source in wanted.items() if slug not in store.sources]
    return [
        *(add_repository(source=source) for source in added),
        *(UnregisterRepository(store.source(slug)) for slug in gone),
        *(RemoveClone(slug) for slug in gone),
    ]


def _refuse_removal(store: AddonStore, repository: RepositorySlug) -> None:
    if store.is_built_in(repository):
        raise Invalid(
            f"The repository {repository} is built in; the setting repositories of [plugins.store] decides it"
        )
    used_by = sorted(slug for slug in store.installed if slug.repository == repository)
    if used_by:
        raise Invalid(f"The repository {repository} is in use; uninstall {', '.join(used_by)} first", used_by=used_by)


@job(
    "store_manager_reload",
    locks=lambda repositories: [Lock("store", "reload"), *map(repository_lock, repositories)],
    recovery="forward",
)
async def reload(store: AddonStore, repositories: tuple[RepositorySlug, ...]) -> Steps:
    """Fetch what is new in repositories and read them anew."""
    return [UpdateRepositories(repositories)]


@step("store.let_others_reload/1")
class LetOthersReload(Step):
    """Let the other domains ask for new versions of what they update."""

    async def do(self, store: AddonStore) -> None:
        """Ask them; raises what went wrong with the first that could not."""
        await store.let_others_reload()


@job(
    "store_manager_reload",
    locks=lambda repositories: [Lock("store", "reload"), *map(repository_lock, repositories)],
    recovery="forward",
)
async def refresh_updates(store: AddonStore, repositories: tuple[RepositorySlug, ...]) -> Steps:
    """Fetch what is new in repositories, and let the other domains look for what is new to them."""
    return [UpdateRepositories(repositories), LetOthersReload()]


@step("store.fetch_repository_again/1")
class FetchRepositoryAgain(Step):
    """Clone a repository anew, in place of a clone that may be damaged."""

    source: RepositorySource

    async def fetch_bytes(self) -> int | None:
        """Not known: git tells it only while it fetches."""
        return None

    async def do(self, store: AddonStore) -> None:
        slug = self.source.slug
        brought = await fetch(store, self.source)
        store.clear_unfetched(slug)
        store.report_lacking(slug, brought.lacking)
        await store.refresh([slug])


@job(
    "git_repo_reset", reference="repository", locks=lambda repository: [repository_lock(repository)], recovery="forward"
)
async def repair_repository(store: AddonStore, repository: RepositorySlug) -> Steps:
    """Fetch a repository again from nothing."""
    source = store.source(repository)
    if source == LOCAL:
        raise LocalRepositoryFixed("The local repository is a plain folder; there is nothing to fetch again")
    return [FetchRepositoryAgain(source)]
