"""``/host/logs`` and what is below it, from a real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from rooftree.testing import Client, running_system
from rooftree_host import host_log
from rooftree_host.plugin import HostPlugin
from tests.plugins.host.journal import NINE, GatewayProcess, boot_id, entry, write, writer

WITHIN_S = 20
KERNEL = "2026-02-01 09:00:02.000 homebox kernel: tick 1\n"
SSHD = "2026-02-01 09:00:01.000 homebox sshd[7]: hello 1\n"


@pytest.fixture
async def client(served: GatewayProcess, tmp_path: Path) -> AsyncIterator[Client]:
    """An administrator of a house whose journal has two boots, with a program, the kernel and a container in each."""
    for boot in range(2):
        write(
            tmp_path / "journal",
            entry(b"of a container", name="app_x", boot=boot, CONTAINER_TAG="app_x"),
            entry(b"hello %d" % boot, name="sshd", boot=boot, at=1, epoch=None, _PID="7"),
            entry(b"tick %d" % boot, name="kernel", boot=boot, at=2, epoch=None),
        )
    settings = {"plugins.host.journal": served.url}
    async with (
        running_system(tmp_path, plugins=[HostPlugin], settings=settings) as system,
        Client.over_unix(system) as found,
    ):
        yield found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/host/logs?lines=2", SSHD + KERNEL),
        ("/host/logs?format=plain", "hello 0\ntick 0\nhello 1\ntick 1\n"),
        ("/host/logs/boots/0", SSHD + KERNEL),
        ("/host/logs/boots/-1?format=plain", "hello 0\ntick 0\n"),
        ("/host/logs/identifiers/kernel?lines=1", "tick 1\n"),
        ("/host/logs/identifiers/kernel?lines=1&verbose", KERNEL),
        ("/host/logs/identifiers/app_x", "of a container\nof a container\n"),
        ("/host/logs/identifiers/nobody", ""),
        ("/host/logs/boots/-1/identifiers/sshd", "hello 0\n"),
        (f"/host/logs/boots/{boot_id(1)}/identifiers/sshd", "hello 1\n"),
        ("/host/logs/boots/0/identifiers/sshd?verbose", SSHD),
    ],
)
async def test_lines_are_those_of_the_host_its_boot_or_one_of_its_programs(
    client: Client, path: str, text: str
) -> None:
    answer = await client.get(path)

    assert (answer.status, answer.text) == (200, text)


@pytest.mark.parametrize("part", ["", "/boots/0", "/identifiers/kernel", "/boots/0/identifiers/kernel"])
async def test_followed_log_goes_on(client: Client, tmp_path: Path, part: str) -> None:
    async with (
        asyncio.timeout(WITHIN_S),
        writer(tmp_path / "journal") as journal,
        client.streaming("GET", f"/host/logs{part}/follow?lines=1&verbose") as answer,
    ):
        before = await answer.content.readline()
        journal.write(entry(b"of a container", name="app_x", boot=1, at=8, CONTAINER_TAG="app_x"))
        journal.write(entry(b"tick 9", name="kernel", boot=1, at=9, epoch=None))
        after = await answer.content.readline()

    assert (before.decode(), after) == (KERNEL, b"2026-02-01 09:00:09.000 homebox kernel: tick 9\n")


@pytest.mark.parametrize(("accept", "text"), [("text/plain", "tick 1\n"), ("text/x-log", KERNEL)])
async def test_lines_of_one_program_look_as_the_client_accepts_them(client: Client, accept: str, text: str) -> None:
    one = await client.get("/host/logs/identifiers/kernel?lines=1", headers={"Accept": accept})
    all_of_them = await client.get("/host/logs?lines=1", headers={"Accept": accept})

    assert (one.text, all_of_them.text) == (text, KERNEL)


async def test_cursor_leads_back_to_its_place(client: Client) -> None:
    cursor = (await client.get("/host/logs?lines=2")).headers["X-First-Cursor"]

    answer = await client.get("/host/logs", headers={"Range": f"entries={cursor}:1:1"})

    assert answer.text == KERNEL


ROUTES = ["", "/boots/0", "/identifiers/kernel", "/boots/0/identifiers/kernel"]


@pytest.mark.parametrize("path", ROUTES)
async def test_log_is_read_by_time_and_paged(client: Client, tmp_path: Path, path: str) -> None:
    times = [NINE + timedelta(days=1, seconds=60 + number) for number in range(9)]
    write(
        tmp_path / "journal",
        *(entry(b"%d" % number, name="kernel", boot=1, at=60 + number, epoch=None) for number in range(9)),
    )
    begin, end = (int(times[number].timestamp()) for number in (2, 5))

    async def read(range: str) -> tuple[str, str]:
        answer = await client.get(f"/host/logs{path}?format=plain", headers={"Range": range})
        assert answer.status == 200, answer.text
        return answer.text.replace("\n", ""), answer.headers.get("X-First-Cursor", "")

    timed, cursor = await read(f"realtime={begin}000000:{end}:1000")

    assert timed == "2345"
    assert (await read(f"realtime={begin}:{end}:1:2"))[0] == "34"
    assert (await read(f"realtime=:{end}.5:-1:"))[0] == "45"
    assert (await read(f"realtime=:{end}:-0:"))[0] == "5"
    assert (await read("entries=:-0:"))[0] == "8"
    assert (await read(f"entries={cursor}:-2:2"))[0] == "01"
    assert (await read(f"realtime={end + 9}:")) == ("", "")
    refused = await client.get(f"/host/logs{path}", headers={"Range": f"realtime={end}:{begin}"})
    assert (refused.status, "which is later" in refused.text) == (400, True)


@pytest.mark.parametrize("path", ROUTES)
async def test_followed_log_ends_with_its_time(client: Client, tmp_path: Path, path: str) -> None:
    until = NINE + timedelta(days=1, seconds=61)
    async with (
        asyncio.timeout(WITHIN_S),
        writer(tmp_path / "journal") as journal,
        client.streaming(
            "GET", f"/host/logs{path}/follow?format=plain", headers={"Range": f"realtime=:{until.timestamp():f}:-0:"}
        ) as answer,
    ):
        before = await answer.content.readline()
        journal.write(entry(b"in time", name="kernel", boot=1, at=61, epoch=None))
        journal.write(entry(b"too late", name="kernel", boot=1, at=61.000001, epoch=None))
        rest = await answer.content.read()

    assert (before, rest) == (b"tick 1\n", b"in time\n")


async def test_boots_and_identifiers_are_listed(client: Client) -> None:
    boots = (await client.get("/host/logs/boots")).data
    identifiers = (await client.get("/host/logs/identifiers")).data

    assert boots == {"boots": {"0": boot_id(1), "-1": boot_id(0)}}
    assert identifiers == {"identifiers": ["app_x", "kernel", "sshd"]}


@pytest.mark.parametrize("name", ["weird/name", r"back\slash", "user@1:2", "50% off", "ein Wort"])
async def test_every_identifier_that_is_listed_can_be_read(client: Client, tmp_path: Path, name: str) -> None:
    write(tmp_path / "journal", entry(b"mine", name=name, boot=1, at=3, epoch=None))
    spelt = quote(name, safe="")

    listed = (await client.get("/host/logs/identifiers")).data["identifiers"]
    answers = [
        await client.get(f"/host/logs/{path}")
        for path in (f"identifiers/{spelt}", f"boots/0/identifiers/{spelt}", f"identifiers/{spelt}?lines=1")
    ]

    assert name in listed
    assert [answer.text for answer in answers] == ["mine\n"] * 3


@pytest.mark.parametrize("path", ["/host/logs/boots/-2", "/host/logs/boots/3/identifiers/kernel"])
async def test_boot_that_is_none_is_not_found(client: Client, path: str) -> None:
    answer = await client.get(path)

    assert (answer.status, "known of this host is 0 (the current one) to -1" in answer.text) == (404, True)


async def test_more_names_than_can_be_asked_for_leave_nothing_out(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_log, "REQUEST_BYTES", 150)

    assert (await client.get("/host/logs/boots/0?format=plain")).text == "of a container\nhello 1\ntick 1\n"


@pytest.mark.parametrize("size", [4, 40, 200])
async def test_gateway_takes_as_many_names_as_we_send(client: Client, tmp_path: Path, size: int) -> None:
    most = (host_log.REQUEST_BYTES - 300) // (host_log.BYTES_BESIDE_A_NAME + size)
    names = [f"{number:0{size}}" for number in range(most)]
    write(tmp_path / "journal", *(entry(b"one of many", name=name, boot=1, at=3, epoch=None) for name in names))

    answer = await client.get(f"/host/logs/boots/0?format=plain&lines={len(names) + 2}")

    assert answer.text == "hello 1\ntick 1\n" + "one of many\n" * len(names)


@pytest.mark.parametrize(
    "path",
    [
        "", "/follow", "/boots", "/boots/0", "/boots/0/follow", "/identifiers", "/identifiers/kernel",
        "/identifiers/kernel/follow", "/boots/0/identifiers/kernel", "/boots/0/identifiers/kernel/follow",
    ],
)  # fmt: skip
async def test_log_of_a_host_without_a_journal_is_unavailable_and_says_what_to_do(
    client: Client, served: GatewayProcess, path: str
) -> None:
    served.close()

    answer = await client.get(f"/host/logs{path}")

    assert answer.status == 503
    assert "systemctl enable --now systemd-journal-gatewayd.socket" in answer.text
