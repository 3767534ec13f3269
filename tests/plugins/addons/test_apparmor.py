"""AppArmor profiles that add-ons bring: which are taken, under which name, and what becomes of them.

The parser is the real one, told not to load into the kernel, which need not have AppArmor here.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rooftree.state import failpoints
from rooftree.testing.containers import FakeContainerEngine
from rooftree_addons import apparmor
from rooftree_addons import plugin as addons_plugin
from rooftree_addons.apparmor import ProfileInvalid, Profiles, host_parser, named_profile
from tests.plugins.addons.house import HELLO, REGISTRY, House, done, house, refusal
from tests.requirements import needs
from tests.rig.pace import on_this_machine

PARSER = shutil.which("apparmor_parser", path="/usr/sbin:/sbin:/usr/bin:/bin")
CONTAINER = f"app_{HELLO}"
PROFILE = """\
#include <tunables/global>

profile hello flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>
  file,
  profile inner { file, }
}
"""

needs_parser = needs(PARSER is not None, "apparmor_parser is not installed (package apparmor)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("profile hello {\n}\n", "profile local_hello {\n}\n"),
        ("profile  hello  flags=(complain) {}", "profile  local_hello  flags=(complain) {}"),
        ('profile "hello world" {\n}', "profile local_hello {\n}"),
        ("# profile\nprofile hello{\n  profile inner {}\n}", "# profile\nprofile local_hello{\n  profile inner {}\n}"),
    ],
)
def test_profile_is_named_after_the_add_on(text: str, expected: str) -> None:
    assert named_profile(text, HELLO) == expected


@pytest.mark.parametrize(
    "text", ["", "hat x {}", " profile x {}", "profile", "profile a {}\nprofile b {}", "profile a\0 {"]
)
def test_text_without_exactly_one_profile_is_refused(text: str) -> None:
    with pytest.raises(ProfileInvalid):
        named_profile(text, HELLO)


@pytest.mark.parametrize(
    "attachment",
    ["/usr/bin/*", '"/usr/bin/x y"', "@{bin}/x", "\n /**", "# what\n/**", '/x xattrs=(a="b") flags=(complain)'],
)
def test_profile_for_programs_of_the_host_is_refused(attachment: str) -> None:
    with pytest.raises(ProfileInvalid, match="programs of the host"):
        named_profile(f"profile hello {attachment} {{\n}}\n", HELLO)


@pytest.mark.parametrize(
    "line",
    [
        'include "/dev/zero"',
        "include /etc/shadow",
        '#include "/etc/shadow"',
        "#include/etc/shadow",
        'abi "/etc/shadow",',
        "abi /etc/shadow,",
        "file,abi </etc/shadow>,",
        "abi/etc/shadow,",
        '/foo{#a,b} r, include "/etc/shadow"',
        '/foo\\ #b r, include "/etc/shadow"',
        '# x" r, include "/etc/shadow"',
        '/a\x0b#b r, include "/etc/shadow"',
        'A#include "/etc/shadow"',
        "#included/etc/shadow",
        '"/a/b" r, # and include more',
        "# include what is needed",
        "include <.hidden>",
        "include <a/.b>",
        "include <a//b>",
        "include </etc/shadow>",
        "include <../../etc/shadow>",
        "include <abstractions/../../shadow>",
        'include if exists "/etc/shadow"',
        'capability chown,include "/etc/shadow"',
        '"/a #b" r, include "/etc/shadow"',
        '/a#b r, include "/etc/shadow"',
        "include",
    ],
)
def test_profile_that_includes_files_of_the_host_is_refused(line: str) -> None:
    with pytest.raises(ProfileInvalid, match=r"line 2: after #?(include|abi) must stand rules of the host's own"):
        named_profile(f"profile hello {{\n  {line}\n}}\n", HELLO)


@pytest.mark.parametrize(
    "line",
    [
        "#include <abstractions/base>",
        "include <abstractions/nameservice> # and what else there is",
        "include if exists <local/hello>",
        "#include<abstractions/base>",
        "abi <abi/3.0>,",
        "include if exists <a/b/c-d_e.f>",
        "include\tif\texists\t<local/hello>",
        "# what is included",
        "/usr/include/** r,",
        "/a-include r,",
        "/a.include r,",
        "/a_abi r,",
        "/usr/lib/abi r,",
        "capability chown,",
        "ptrace peer=abide,",
    ],
)
def test_rules_of_the_host_can_be_included(line: str) -> None:
    text = f"profile {HELLO} {{\n  {line}\n}}\n"

    assert named_profile(text, HELLO) == text


@pytest.mark.parametrize("name", ["include", "abi"])
def test_profile_can_have_any_name(name: str) -> None:
    assert named_profile(f"profile {name} {{\n}}\n", HELLO) == f"profile {HELLO} {{\n}}\n"


def test_long_line_of_includes_is_read_quickly() -> None:
    began = time.process_time()

    named_profile(" include <a>" * 20_000 + "\nprofile hello {}", HELLO)

    assert time.process_time() - began < on_this_machine(1)


def test_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ProfileInvalid, match="more than"):
        named_profile("profile x {}\n" + "#" * apparmor.MOST_CHARACTERS, HELLO)


lines = st.lists(
    st.text(st.characters(exclude_characters="\n\0"), max_size=30).map(lambda line: f" {line}"), max_size=6
)


@given(before=lines, after=lines, name=st.text("abc_-/*.", min_size=1, max_size=12))
def test_nothing_but_the_name_changes(before: list[str], after: list[str], name: str) -> None:
    text = "\n".join([*before, f"profile {name} {{", *after, "}"])

    assert named_profile(text, HELLO) == "\n".join([*before, f"profile {HELLO} {{", *after, "}"])


@given(st.text(st.sampled_from('profile \t\n"{}x\0#'), max_size=60))
def test_any_text_is_renamed_or_refused(text: str) -> None:
    try:
        named = named_profile(text, HELLO)
    except ProfileInvalid:
        return

    assert named_profile(named, HELLO) == named


def test_host_without_apparmor_has_no_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = tmp_path / "enabled"
    monkeypatch.setattr(apparmor, "_ENABLED", enabled)
    without = host_parser()
    enabled.write_text("N\n")
    switched_off = host_parser()
    enabled.write_text("Y\n")

    assert (without, switched_off) == (None, None)
    assert host_parser() == ((PARSER,) if PARSER else None)


# --- with the parser --------------------------------------------------------------------------------------------------


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    """Profiles of a host with AppArmor, but for the kernel."""
    assert PARSER is not None
    return Profiles(tmp_path / "apparmor", (PARSER, "--skip-kernel-load"))


@needs_parser
async def test_profile_is_kept_and_loaded_until_it_is_removed(profiles: Profiles, tmp_path: Path) -> None:
    await profiles.install(HELLO, PROFILE)
    kept = (tmp_path / "apparmor" / HELLO).read_text()
    loaded = await profiles.ensure_loaded(HELLO)

    await profiles.install(HELLO, None)

    assert kept == PROFILE.replace("profile hello", f"profile {HELLO}")
    assert loaded
    assert await asyncio.to_thread(profiles.kept, HELLO) is None
    assert not await profiles.ensure_loaded(HELLO)


@needs_parser
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROFILE.replace("file,", "bananas,", 1), "syntax error"),
        (PROFILE + " profile docker-default { file, }\n", "besides its own: docker-default"),
        (PROFILE + f" profile {HELLO}_twin {{ file, }}\n", f"besides its own: {HELLO}_twin"),
        (PROFILE + "/usr/sbin/sshd { file, }\n", "besides its own: /usr/sbin/sshd"),
    ],
)
async def test_profile_that_is_wrong_or_replaces_anothers_is_refused(
    profiles: Profiles, text: str, reason: str
) -> None:
    await profiles.install(HELLO, PROFILE)
    kept = await asyncio.to_thread(profiles.kept, HELLO)

    with pytest.raises(ProfileInvalid, match=reason):
        await profiles.install(HELLO, text)

    assert await asyncio.to_thread(profiles.kept, HELLO) == kept


pieces = st.sampled_from(
    ["include", "#include", "include if exists", "abi", '"FILE"', "FILE", "<FILE>", "<../..FILE>", "<abi/3.0>", " ",
     "<abstractions/base>", " ", "\t", "\n", "\x0b", ",", "{", "}", "(", ")", "#", "# x ", '"', "\\", "\\ ", "A", "/",
     ".", "-", "_", "->", "/a r,", '"/a #b" r,', "/a#b r,", "/a{#b,c} r,", "mount fstype=(", "dbus (send", "@{X}=",
     "file,"]
)  # fmt: skip


@needs_parser
@pytest.mark.parametrize("there", [True, False])
@given(st.lists(pieces, max_size=12).map("".join))
@settings(deadline=None, max_examples=65)
def test_parser_looks_for_no_file_of_the_host_for_what_is_taken(own_rules: Path, there: bool, text: str) -> None:
    file = own_rules if there else own_rules / "none"
    try:
        profile = named_profile(f"profile hello {{\n{text}\n}}\n".replace("FILE", str(file)), HELLO)
    except ProfileInvalid:
        return

    done = subprocess.run([PARSER or "", "--preprocess"], input=profile, capture_output=True, text=True, check=False)

    assert "kill" not in done.stdout, repr(text)
    assert f"Could not open '{file}" not in done.stderr, repr(text)


@pytest.fixture(scope="module")
def own_rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of rules, which say "kill", where nobody's profile may look."""
    file = tmp_path_factory.mktemp("host") / "rules"
    file.write_text("capability kill,\n")
    return file


@needs_parser
@pytest.mark.parametrize("statement", ['include "{}"', 'abi "{}",'])
def test_parser_tells_what_it_looks_for(own_rules: Path, statement: str) -> None:
    texts = [f"profile hello {{\n{statement.format(file)}\n}}\n" for file in (own_rules, own_rules / "none")]

    there, missing = (
        subprocess.run([PARSER or "", "--preprocess"], input=text, capture_output=True, text=True, check=False)
        for text in texts
    )

    assert ("kill" in there.stdout) is statement.startswith("include")
    assert f"Could not open '{own_rules / 'none'}'" in missing.stderr


async def test_parser_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apparmor, "PARSER_S", 0.1)
    profiles = Profiles(tmp_path, ("sh", "-c", "exec sleep 60"))

    with pytest.raises(ProfileInvalid, match="does not end"):
        await profiles.install(HELLO, PROFILE)


# --- in the life of an add-on -----------------------------------------------------------------------------------------


@pytest.fixture
def host_with_apparmor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with AppArmor, but for the kernel."""
    monkeypatch.setattr(addons_plugin, "host_parser", lambda: (str(PARSER), "--skip-kernel-load"))


@needs_parser
@pytest.mark.usefixtures("host_with_apparmor")
async def test_add_on_runs_under_the_profile_that_it_brings(tmp_path: Path, engine: FakeContainerEngine) -> None:
    async with house(tmp_path, engine) as home:
        await home.run(files={"apparmor.txt": PROFILE})
        info = await home.info(HELLO)
        plain = await home.info(await home.install("plain"))
    engine.crash(CONTAINER)
    async with house(tmp_path, engine) as home:  # the host may have been booted: it is loaded again
        done(await home.post(HELLO, "restart"))
        options = engine.spec(CONTAINER).security_options

        done(await home.post(HELLO, "uninstall"))

        assert (info["apparmor"], plain["apparmor"]) == ("profile", "default")
        assert info["rating"] == plain["rating"] + 1
        assert f"apparmor={HELLO}" in options
        assert not (home.data / "apparmor" / HELLO).exists()


@needs_parser
@pytest.mark.usefixtures("host_with_apparmor")
async def test_install_with_a_profile_that_is_wrong_leaves_nothing(tmp_path: Path, engine: FakeContainerEngine) -> None:
    async with house(tmp_path, engine) as home:
        slug = await home.offer(files={"apparmor.txt": "profile hello { bananas, }\n"})

        answer = await home.client.post(f"/store/addons/{slug}/install")

        assert "is no AppArmor profile" in refusal(answer, 400, "host_apparmor_load_profile_error")
        assert slug not in home.addons.installed
        assert not (home.data / "apparmor" / slug).exists()


@needs_parser
@pytest.mark.usefixtures("host_with_apparmor")
@pytest.mark.parametrize("fails", [False, True])
async def test_update_brings_its_profile_and_takes_it_back_when_it_fails(
    tmp_path: Path, engine: FakeContainerEngine, fails: bool
) -> None:
    async with house(tmp_path, engine) as home:
        await home.run(files={"apparmor.txt": PROFILE})
        newer = PROFILE.replace("  file,\n", "  file,\n  network,\n", 1)
        await home.offer("hello", "2.0", files={"apparmor.txt": newer})
        failpoints.arm("step:addons.change_version/1:done=raise" if fails else "")
        try:
            answer = await home.client.post(f"/store/addons/{HELLO}/update")
        finally:
            failpoints.arm("")

        assert (answer.status == 200) is not fails
        kept = await asyncio.to_thread(home.addons.profiles.kept, HELLO)
        assert kept is not None
        assert ("network," in kept) is not fails
        assert home.engine.spec(CONTAINER).image == f"{REGISTRY}/hello:{'1.0' if fails else '2.0'}"


async def test_roll_back_brings_the_profile_back_that_the_old_version_had(home: House) -> None:
    await home.run(files={"apparmor.txt": PROFILE})
    before = await asyncio.to_thread(home.addons.profiles.kept, HELLO)
    await home.offer("hello", "2.0", files={"apparmor.txt": PROFILE.replace("  file,\n", "  file,\n  network,\n", 1)})
    done(await home.client.post(f"/store/addons/{HELLO}/update"))
    updated = await asyncio.to_thread(home.addons.profiles.kept, HELLO)

    done(await home.client.post(f"/kernel/v1/addons/{HELLO}/roll-back"))

    assert updated != before
    assert await asyncio.to_thread(home.addons.profiles.kept, HELLO) == before


async def test_host_without_apparmor_keeps_the_profile_and_runs_without(home: House) -> None:
    await home.run(files={"apparmor.txt": PROFILE})
    info = await home.info(HELLO)

    assert info["apparmor"] == "default"
    assert await asyncio.to_thread(home.addons.profiles.kept, HELLO) is not None
    assert home.engine.spec(CONTAINER).security_options == ()
