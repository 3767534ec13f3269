"""Adding, removing and reloading repositories: all of it or nothing, and one that is broken harms no other."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from rooftree import RooftreeError
from rooftree.events.bus import Event
from rooftree.interfaces.hooks import RepositoriesChange, backup_facts, set_repositories
from rooftree.state import failpoints
from rooftree_store import Installed, StoreReloaded, store
from rooftree_store.repositories import add_repository
from rooftree_store.slugs import AddonSlug
from rooftree_store.sources import RepositorySource
from tests.plugins.store.shop import Shop, config, refusal, shop
from tests.rig.files import write_files
from tests.rig.git_server import GitRepository, GitServer
from tests.rig.git_server import git as run_git
from tests.rig.line import line_to
from tests.rig.service_process import free_port
from tests.rig.waiting import until

type Publish = Callable[..., GitRepository]


@pytest.fixture
def publish(git_server: GitServer) -> Publish:
    """Makes add-on repositories on the server."""

    def make(**files: str) -> GitRepository:
        usual = {"repository.yaml": "name: Mine\nmaintainer: Me\n", "hello/config.json": config()}
        return git_server.repository(secrets.token_hex(4), usual | files)

    return make


@pytest.fixture
def break_step() -> Iterator[Callable[[str], None]]:
    """Let the steps of a kind do what they do, and then fail."""
    yield lambda kind: failpoints.arm(f"step:{kind}:done=raise")
    failpoints.arm("")


def slug(repository: GitRepository) -> str:
    """The slug of a repository."""
    return str(RepositorySource.parse(repository.url).slug)


def served(repository: GitRepository, server: GitServer) -> Path:
    """The repository as it lies on the server."""
    return server.served / f"{repository.folder.name}.git"


async def add_as_before(here: Shop, text: str) -> RepositorySource:
    """Add a repository as it was entered when nothing was taken off its address."""
    source = RepositorySource.parse(text)
    await here.system.jobs.run(add_repository(source=source))
    return source


# --- adding -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{url}/", " {url}", "{url} ", "{url}//", "{without_git}"])
async def test_address_in_other_words_is_the_repository_that_is_there(here: Shop, publish: Publish, text: str) -> None:
    repository = publish()
    await here.add(repository.url)

    again = await here.add(text.format(url=repository.url, without_git=repository.url.removesuffix(".git")))

    assert "is already there" in refusal(again, 409, "store_repository_already_added_error")
    assert here.sources() == [repository.url]


async def test_address_is_kept_without_what_does_not_count(here: Shop, publish: Publish) -> None:
    repository = publish()

    await here.add(f" {repository.url}/ ")

    assert here.sources() == [repository.url]
    assert list(here.offered()) == [f"{slug(repository)}_hello"]


async def test_repository_that_was_entered_with_a_slash_before_keeps_its_slug(
    here: Shop, publish: Publish, tmp_path: Path
) -> None:
    repository = publish()
    older = await add_as_before(here, f"{repository.url}/")

    again = await here.add(repository.url)

    assert f"{older} is already there" in refusal(again, 409, "store_repository_already_added_error")
    assert here.sources() == [older]
    assert list(here.offered()) == [f"{older.slug}_hello"]
    assert older.slug != slug(repository)


async def test_added_repository_is_offered_and_kept_over_a_restart(tmp_path: Path, publish: Publish) -> None:
    repository = publish()
    name = slug(repository)
    async with shop(tmp_path) as here:
        answer = await here.add(repository.url)
        shown = (await here.client.get(f"/store/repositories/{name}")).data
        offered = here.offered()

    async with shop(tmp_path) as here:
        assert here.offered() == offered
        assert here.sources() == [repository.url]

    assert answer.data == {}
    assert shown == {
        "slug": name, "name": "Mine", "source": repository.url, "url": repository.url, "maintainer": "Me"
    }  # fmt: skip
    assert offered == {f"{name}_hello": "1.0"}


async def test_repository_that_is_there_is_not_added_again(here: Shop, publish: Publish) -> None:
    repository = publish()

    answers = await asyncio.gather(*(here.add(repository.url) for _ in range(2)))
    again = await here.add(repository.url)
    built_in = await here.add("local")

    assert sorted(answer.status for answer in answers) == [200, 409]
    refusal(again, 409, "store_repository_already_added_error")
    refusal(built_in, 409, "store_repository_already_added_error")
    assert here.folders() == [slug(repository)]


@pytest.mark.parametrize(
    "source", ["ext::sh -c id", "file:///etc", "--upload-pack=id", "https://a.b", "ssh://u:hunter2@a.b/c", "x y", ""]
)
async def test_source_that_git_must_not_see_is_refused_by_field(here: Shop, source: str) -> None:
    answer = await here.add(source)

    message = refusal(answer, 400)
    assert message.startswith("repository")
    assert "hunter2" not in message
    assert here.folders() == []


@pytest.mark.parametrize("body", [{}, {"repository": 1}, {"repository": "local", "more": 1}, []])
async def test_body_of_another_shape_is_refused(here: Shop, body: object) -> None:
    answer = await here.client.post("/store/repositories", json=body)

    refusal(answer, 400)


async def test_what_is_no_add_on_repository_leaves_nothing(here: Shop, git_server: GitServer) -> None:
    bare = git_server.repository(secrets.token_hex(4), {"README.md": "Hello"})
    broken = git_server.repository(secrets.token_hex(4), {"repository.yaml": "name: ["})

    answers = [await here.add(repository.url) for repository in (bare, broken)]

    for answer in answers:
        assert "is no add-on repository" in refusal(answer, 400, "store_repository_unknown_error")
    assert here.folders() == []
    assert here.sources() == []


async def test_server_that_cannot_be_reached_leaves_nothing(here: Shop) -> None:
    answer = await here.add(f"git://127.0.0.1:{free_port()}/a.git")

    assert "cannot be reached" in refusal(answer, 503, "store_repository_unreachable_error")
    assert here.folders() == []
    assert here.sources() == []


@pytest.mark.parametrize("step", ["store.clone_repository/1", "store.register_repository/1"])
async def test_adding_that_fails_at_any_step_leaves_nothing(
    here: Shop, publish: Publish, step: str, break_step: Callable[[str], None]
) -> None:
    repository = publish()
    break_step(step)

    answer = await here.add(repository.url)

    refusal(answer, 503, "disk_failing_error")
    assert (here.folders(), here.sources(), here.offered()) == ([], [], {})


# --- removing ---------------------------------------------------------------------------------------------------------


async def test_removed_repository_leaves_nothing(tmp_path: Path, publish: Publish) -> None:
    repository = publish(**{"bad/config.json": '{"slug"'})
    async with shop(tmp_path) as here:
        await here.add(repository.url)
        broken = here.problem("broken_addon_config")

        answer = await here.remove(repository.url)

        assert answer.data == {}
        assert broken is not None
        assert here.problem("broken_addon_config") is None
        assert (here.folders(), here.sources(), here.offered()) == ([], [], {})

    async with shop(tmp_path) as here:
        assert here.sources() == []


async def test_repository_is_not_removed_while_it_is_used_built_in_or_unknown(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.add(repository.url)
    used = AddonSlug(f"{slug(repository)}_hello")
    here.store.note_installed({used: Installed("1.0", update_available=False)})

    in_use = await here.remove(repository.url)
    built_in = await here.remove("local")
    unknown = await here.client.delete("/store/repositories/01234567")

    assert used in refusal(in_use, 400)
    assert in_use.envelope["extra_fields"] == {"used_by": [used]}
    refusal(built_in, 400)
    refusal(unknown, 404)
    assert here.sources() == [repository.url]


async def test_removing_that_failed_leaves_the_repository_known(
    here: Shop, publish: Publish, break_step: Callable[[str], None]
) -> None:
    repository = publish()
    await here.add(repository.url)
    break_step("store.unregister_repository/1")

    failed = await here.remove(repository.url)
    known = here.sources()
    failpoints.arm("")
    again = await here.remove(repository.url)

    refusal(failed, 503, "disk_failing_error")
    assert known == [repository.url]
    assert again.data == {}
    assert (here.folders(), here.sources()) == ([], [])


# --- reloading --------------------------------------------------------------------------------------------------------


async def test_reload_brings_what_is_new_and_tells_which_repositories_changed(here: Shop, publish: Publish) -> None:
    changing, same = publish(), publish()
    await here.add(changing.url)
    await here.add(same.url)
    told: list[StoreReloaded] = []
    here.system.bus.subscribe(StoreReloaded, told.append, "test")
    changing.write({"hello/config.json": config(version="2.0"), "new/config.json": config("new")})
    changing.push()

    await here.reload()
    await here.system.bus.drained()

    name = slug(changing)
    assert here.offered() == {f"{name}_hello": "2.0", f"{name}_new": "1.0", f"{slug(same)}_hello": "1.0"}
    assert [event.repositories for event in told] == [(name,)]


async def test_repository_that_vanished_keeps_its_add_ons_until_it_is_back(
    here: Shop, publish: Publish, git_server: GitServer
) -> None:
    gone, other = publish(), publish()
    await here.add(gone.url)
    await here.add(other.url)
    before = here.offered()
    place = served(gone, git_server)
    other.write({"hello/config.json": config(version="2.0")})
    other.push()

    place.rename(place.with_suffix(".away"))
    await here.reload()
    meanwhile, problem = here.offered(), here.problem("fatal_error")
    place.with_suffix(".away").rename(place)
    await here.reload()

    assert meanwhile == before | {f"{slug(other)}_hello": "2.0"}
    assert problem is not None
    assert problem.reference == slug(gone)
    assert here.problem("fatal_error") is None


async def test_server_that_hangs_delays_no_other_and_is_given_up(
    tmp_path: Path, publish: Publish, git_server: GitServer
) -> None:
    slow, quick = publish(), publish()
    async with line_to(git_server.port) as line, shop(tmp_path, {"plugins.store.answer_timeout_s": 5}) as here:
        behind = slow.url.replace(str(git_server.port), str(line.port))
        await here.add(behind)
        await here.add(quick.url)
        line.hold_after(0)
        quick.write({"hello/config.json": config(version="2.0")})
        quick.push()

        reloading = asyncio.create_task(here.reload())
        await line.held()

        async def offered() -> bool:
            return here.offered()[f"{slug(quick)}_hello"] == "2.0"

        await until(offered, within_s=4, what="the quick server's new version")
        assert not reloading.done()
        await reloading
        problem = here.problem("fatal_error")
        assert problem is not None
        assert problem.reference == RepositorySource.parse(behind).slug
        assert "took more than 5 s" in problem.message
        assert len(here.offered()) == 2


async def test_as_many_servers_are_asked_at_once_as_the_setting_says(
    tmp_path: Path, publish: Publish, git_server: GitServer
) -> None:
    async with line_to(git_server.port) as line, shop(tmp_path, {"plugins.store.fetches_at_once": 2}) as here:
        for _ in range(4):
            assert (await here.add(publish().url.replace(str(git_server.port), str(line.port)))).data == {}
        line.hold_after(0)
        already = line.connections
        reloading = asyncio.create_task(here.reload())

        async def full() -> bool:
            return here.store.fetching.at_once.locked() and line.connections == already + 2

        await until(full, within_s=10, what="the second connection")
        line.release()
        await reloading

        assert line.connections == already + 4


async def test_repository_that_did_not_change_is_not_read_again(
    here: Shop, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing, same = publish(), publish()
    for repository in (changing, same):
        await here.add(repository.url)
    read: list[str] = []
    real = store.read_contents

    def reading(data: Path, folder: Path, *rest: Any) -> Any:
        read.append(folder.name)
        return real(data, folder, *rest)

    monkeypatch.setattr(store, "read_contents", reading)
    changing.write({"hello/config.json": config(version="2.0")})
    changing.push()

    await here.reload()

    assert sorted(read) == sorted([slug(changing), "local"])


async def test_repository_that_grows_too_large_is_a_problem_and_stays_on_offer(
    tmp_path: Path, publish: Publish
) -> None:
    repository = publish()
    async with shop(tmp_path, {"plugins.store.max_repository_mib": 1}) as here:
        await here.add(repository.url)
        repository.write({"hello/config.json": config(version="2.0"), "large": secrets.token_hex(700_000)})
        repository.push()

        await here.reload()
        other = await here.add(publish(large=secrets.token_hex(700_000)).url)

        problem = here.problem("fatal_error")
        assert problem is not None
        assert "too large" in problem.message
        assert here.offered() == {f"{slug(repository)}_hello": "1.0"}
        assert "max_repository_mib" in refusal(other, 500, "store_repository_unknown_error")
        assert here.folders() == [slug(repository)]


async def test_repository_that_is_one_no_longer_keeps_its_add_ons(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.add(repository.url)
    before = here.offered()
    repository.delete("repository.yaml")
    repository.push()

    await here.reload()

    problem = here.problem("fatal_error")
    assert here.offered() == before
    assert problem is not None
    assert "no add-on repository" in problem.message


async def test_broken_add_on_among_good_ones_is_a_problem_until_it_is_repaired(here: Shop, publish: Publish) -> None:
    repository = publish(**{"bad/config.json": '{"slug"', "worse/config.yaml": "slug: ["})

    await here.add(repository.url)
    offered, problem = here.offered(), here.problem("broken_addon_config")
    repository.write({"bad/config.json": config("bad"), "worse/config.yaml": config("worse")})
    repository.push()
    await here.reload()

    assert list(offered) == [f"{slug(repository)}_hello"]
    assert problem is not None
    assert (problem.context, problem.reference) == ("store", slug(repository))
    assert "bad/config.json" in problem.message
    assert problem.extra is not None
    assert set(problem.extra["files"]) == {"bad/config.json", "worse/config.yaml"}
    assert here.problem("broken_addon_config") is None
    assert len(here.offered()) == 3


@pytest.mark.parametrize("damage", ["HEAD", "objects", "all"])
async def test_damaged_clone_is_made_anew(here: Shop, publish: Publish, damage: str) -> None:
    repository = publish()
    await here.add(repository.url)
    clone = here.clones / slug(repository)
    if damage == "HEAD":
        (clone / ".git" / "HEAD").write_text("nonsense")
    elif damage == "objects":
        shutil.rmtree(clone / ".git" / "objects")
    else:
        shutil.rmtree(clone)
    repository.write({"hello/config.json": config(version="2.0")})
    repository.push()

    await here.reload()

    assert here.offered() == {f"{slug(repository)}_hello": "2.0"}
    assert here.folders() == [slug(repository)]
    assert here.problem("fatal_error") is None


@pytest.mark.parametrize(
    ("what", "says"), [("branch", "has no branch main"), ("everything", "has no branch"), ("name", "path of more than")]
)
async def test_what_the_server_has_is_no_damage_of_the_clone(
    here: Shop, publish: Publish, git_server: GitServer, what: str, says: str
) -> None:
    repository = publish()
    url = f"{repository.url}#main" if what == "branch" else repository.url
    await here.add(url)
    place = served(repository, git_server)
    if what == "name":
        push_name(repository, "x" * 100_000)
    else:
        run_git("-C", place, "update-ref", "-d", "refs/heads/main")

    with capture_logs() as lines:
        await here.reload()

    assert "clone_damaged" not in [line["event"] for line in lines]
    problem = here.problem("fatal_error")
    assert problem is not None and says in problem.message
    assert here.offered() == {f"{RepositorySource.parse(url).slug}_hello": "1.0"}


def push_name(repository: GitRepository, name: str) -> None:
    """Push a commit with a file of that name, which no file system could have."""
    blob = run_git("-C", repository.folder, "rev-parse", "HEAD:repository.yaml")
    tree = subprocess.run(
        ["git", "-C", repository.folder, "mktree"],
        input=f"100644 blob {blob}\t{name}\n", text=True, check=True, capture_output=True,
    ).stdout.strip()  # fmt: skip
    commit = run_git("-C", repository.folder, "commit-tree", "-m", "long", "-p", "HEAD", tree)
    run_git("-C", repository.folder, "push", "--quiet", "origin", f"{commit}:main")


async def test_damaged_clone_stays_while_its_server_is_away(
    here: Shop, publish: Publish, git_server: GitServer
) -> None:
    repository = publish()
    await here.add(repository.url)
    (here.clones / slug(repository) / ".git" / "HEAD").write_text("nonsense")
    place = served(repository, git_server)
    place.rename(place.with_suffix(".away"))

    await here.reload()

    assert here.offered() == {f"{slug(repository)}_hello": "1.0"}
    problem = here.problem("fatal_error")
    assert problem is not None
    assert problem.message.endswith(
        f"each reload tries again. If it has gone for good: DELETE /store/repositories/{slug(repository)}"
    )


async def test_repair_fetches_again_from_nothing(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.add(repository.url)
    clone = here.clones / slug(repository)
    (clone / "hello" / "config.json").unlink()
    (clone / "mine").touch()

    answer = await here.client.post(f"/store/repositories/{slug(repository)}/repair")
    local = await here.client.post("/store/repositories/local/repair")
    unknown = await here.client.post("/store/repositories/01234567/repair")

    assert answer.data == {}
    assert here.offered() == {f"{slug(repository)}_hello": "1.0"}
    assert not (clone / "mine").exists()
    assert here.folders() == [slug(repository)]
    refusal(local, 400, "store_repository_local_cannot_reset")
    refusal(unknown, 404)


async def test_repair_that_fails_leaves_what_was_there(here: Shop, publish: Publish, git_server: GitServer) -> None:
    repository = publish()
    await here.add(repository.url)
    place = served(repository, git_server)
    place.rename(place.with_suffix(".away"))

    answer = await here.client.post(f"/store/repositories/{slug(repository)}/repair")

    assert answer.status == 500
    assert here.offered() == {f"{slug(repository)}_hello": "1.0"}
    assert here.folders() == [slug(repository)]


# --- all at once ------------------------------------------------------------------------------------------------------


async def set_all(here: Shop, *sources: str) -> RepositoriesChange:
    """Set the list, and wait for the job that it becomes."""
    (answer,) = await here.system.hooks.call(set_repositories, sources=list(sources))
    if answer.call is None:
        return answer
    try:
        await here.system.jobs.run(answer.call)
    except RooftreeError as error:
        return RepositoriesChange(refusal=error)
    return answer


async def test_list_in_other_words_changes_nothing(here: Shop, publish: Publish) -> None:
    repository = publish()
    older = await add_as_before(here, f"{repository.url}/")

    answer = await set_all(here, f" {repository.url}", f"{repository.url}//")

    assert answer.refusal is None
    assert here.sources() == [older]
    assert list(here.offered()) == [f"{older.slug}_hello"]


async def test_hook_backup_facts_has_the_repositories_that_were_added(here: Shop, publish: Publish) -> None:
    added = publish()
    await here.add(added.url)

    (facts,) = await here.system.hooks.call(backup_facts)

    assert set(facts["repositories"]) >= {added.url}
    assert not {"local", "core"} & set(facts["repositories"])


async def test_list_replaces_what_was_added(here: Shop, publish: Publish) -> None:
    old, kept, new = publish(), publish(), publish()
    await here.add(old.url)
    await here.add(kept.url)

    answer = await set_all(here, kept.url, new.url)

    assert answer.refusal is None
    assert sorted(here.sources()) == sorted([kept.url, new.url])
    assert here.folders() == sorted([slug(kept), slug(new)])
    assert set(here.offered()) == {f"{slug(kept)}_hello", f"{slug(new)}_hello"}


async def test_list_with_one_that_cannot_be_fetched_changes_nothing(here: Shop, publish: Publish) -> None:
    old, new = publish(), publish()
    await here.add(old.url)
    before = here.offered()

    await set_all(here, new.url, f"git://127.0.0.1:{free_port()}/a.git")

    (failed,) = [job for job in here.system.jobs.listing() if job.errors]
    assert failed.errors[0].error_key == "store_repository_unreachable_error"
    assert here.sources() == [old.url]
    assert here.offered() == before
    assert here.folders() == [slug(old)]


async def test_list_that_leaves_out_what_is_used_or_names_nonsense_is_refused(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.add(repository.url)
    used = AddonSlug(f"{slug(repository)}_hello")
    here.store.note_installed({used: Installed("1.0", update_available=False)})

    in_use = await set_all(here)
    nonsense = await set_all(here, repository.url, "file:///etc")

    assert in_use.refusal is not None
    assert used in in_use.refusal.message
    assert nonsense.refusal is not None
    assert nonsense.refusal.status == 400
    assert here.sources() == [repository.url]


async def test_list_leaves_built_in_repositories_alone(tmp_path: Path, publish: Publish) -> None:
    built_in = publish()
    async with shop(tmp_path, {"plugins.store.repositories": [built_in.url]}) as here:
        await until_fetched(here, built_in)

        answer = await set_all(here)

        assert answer.refusal is None
        assert here.sources() == [built_in.url]


# --- at the start -----------------------------------------------------------------------------------------------------


async def until_fetched(here: Shop, repository: GitRepository) -> None:
    """Wait until a repository was cloned and read."""

    async def fetched() -> bool:
        return f"{slug(repository)}_hello" in here.offered()

    await until(fetched, within_s=20, what=f"the clone of {repository.url}")


async def test_repository_of_the_settings_is_fetched_by_itself_and_cannot_be_removed(
    tmp_path: Path, publish: Publish
) -> None:
    repository = publish()
    async with shop(tmp_path, {"plugins.store.repositories": [repository.url]}) as here:
        await until_fetched(here, repository)

        refusal(await here.remove(repository.url), 400)

    async with shop(tmp_path) as here:
        assert (here.sources(), here.folders(), here.offered()) == ([], [], {})


async def test_one_that_cannot_be_fetched_at_the_start_is_a_problem_and_no_obstacle(
    tmp_path: Path, publish: Publish
) -> None:
    good, bad = publish(), f"git://127.0.0.1:{free_port()}/a.git"
    async with shop(tmp_path, {"plugins.store.repositories": [bad, good.url]}) as here:
        await until_fetched(here, good)

        problem = here.problem("fatal_error")
        shown = {entry["source"]: entry["name"] for entry in (await here.client.get("/store/repositories")).data}
        assert problem is not None
        assert problem.reference == RepositorySource.parse(bad).slug
        assert (shown[bad], shown[good.url]) == ("unknown", "Mine")


async def test_leftovers_of_a_kill_are_swept_and_what_is_known_stays(tmp_path: Path, publish: Publish) -> None:
    repository = publish()
    async with shop(tmp_path) as here:
        await here.add(repository.url)
        name = slug(repository)
    apps = tmp_path / "data" / "apps"
    for leftover in (f"git/.{name}.0123abcd", f"git/.{name}.0123abcd.old", "git/deadbeef", ".core.0123abcd"):
        write_files(apps / leftover, {"hello/config.json": config()})
    write_files(apps / "local" / "mine", {"config.json": config("mine")})

    async with shop(tmp_path) as here:
        assert here.folders() == [name]
        assert not (apps / ".core.0123abcd").exists()
        assert set(here.offered()) == {f"{name}_hello", "local_mine"}


async def test_clone_that_a_kill_left_aside_is_back_without_a_network(tmp_path: Path, publish: Publish) -> None:
    repository = publish()
    async with shop(tmp_path) as here:
        await here.add(repository.url)
        name = slug(repository)
    clones = tmp_path / "data" / "apps" / "git"
    (clones / name).rename(clones / f".{name}.0123abcd.old")

    async with shop(tmp_path) as here:
        assert here.folders() == [name]
        assert set(here.offered()) == {f"{name}_hello"}


async def test_files_in_git_lfs_are_a_problem_until_they_are_in_git(here: Shop, publish: Publish) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    repository = publish(**{".gitattributes": "*.png filter=lfs\n", "hello/icon.png": pointer})
    await here.add(repository.url)
    page = (await here.client.get(f"/store/addons/{slug(repository)}_hello")).data
    problem = here.problem("lfs_files")
    repository.write({".gitattributes": "", "hello/icon.png": "a picture"})
    repository.push()

    await here.reload()

    assert page["icon"] is False
    assert problem is not None
    assert problem.message.endswith("so these are missing: hello/icon.png")
    assert here.problem("lfs_files") is None


# --- the local repository ---------------------------------------------------------------------------------------------


async def test_local_folder_is_there_from_the_start_and_read_at_each_reload(here: Shop) -> None:
    assert here.local.is_dir()
    await here.offer({"hello/config.json": config()})
    first = here.offered()
    await here.offer({"hello/config.json": config(version="1.1")})
    second = here.offered()
    shutil.rmtree(here.local / "hello")
    await here.reload()

    assert (first, second, here.offered()) == ({"local_hello": "1.0"}, {"local_hello": "1.1"}, {})


# --- the revision -----------------------------------------------------------------------------------------------------


async def test_revision_changes_exactly_when_the_answers_do(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.offer({"needy/config.json": config("needy", homeassistant="2026.2.0")})
    seen: list[tuple[str, bytes]] = []

    async def look() -> None:
        seen.append((here.store.revision, (await here.client.get("/store")).body))

    def nothing() -> None:
        """Nothing is changed."""

    async def vanish() -> None:
        shutil.rmtree(here.clones / slug(repository))
        here.store._contents.pop(RepositorySource.parse(repository.url).slug)

    installed = {AddonSlug("local_needy"): Installed("1.0", update_available=True)}
    await look()
    for change in (
        here.reload,
        lambda: here.add(repository.url),
        here.reload,
        lambda: here.store.note_installed(installed),
        lambda: here.store.note_installed(dict(installed)),
        lambda: setattr(here.store, "core_version", "2026.1.0"),
        lambda: setattr(here.store, "core_version", "2026.1.0"),
        lambda: here.store.note_installed({}),
        vanish,
        lambda: here.remove(repository.url),
        nothing,
    ):
        waiting = change()
        if waiting is not None:
            await waiting
        await look()

    pairs = list(itertools.pairwise(seen))
    kept = [before[0] == after[0] for before, after in pairs]
    same = [before[1] == after[1] for before, after in pairs]
    assert kept == [True, False, True, False, True, False, True, False, True, False, True]
    assert same == kept


async def test_revision_changes_with_what_a_repository_calls_itself(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.add(repository.url)
    before = here.store.revision
    repository.write({"repository.yaml": "name: Ours\nmaintainer: We\n"})
    repository.push()

    await here.reload()

    assert here.store.revision != before
    listed = (await here.client.get("/store")).data["repositories"][-1]
    assert (listed["name"], listed["maintainer"]) == ("Ours", "We")


async def test_events_are_published_for_changes_only(here: Shop) -> None:
    told: list[Event] = []
    here.system.bus.subscribe(StoreReloaded, told.append, "test")

    await here.offer({"hello/config.json": config()})
    await here.reload()
    await here.reload()
    await here.system.bus.drained()

    assert len(told) == 1


async def test_repository_that_the_disk_refuses_hinders_no_other(here: Shop, publish: Publish) -> None:
    repository = publish()
    await here.add(repository.url)
    await asyncio.to_thread(shutil.rmtree, here.clones)
    here.clones.write_text("no folder")

    await here.offer({"hello/config.json": config(version="3.0")})

    assert here.offered()["local_hello"] == "3.0"
    problem = here.problem("fatal_error")
    assert problem is not None
    assert "its folder cannot be written" in problem.message
