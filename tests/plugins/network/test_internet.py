"""Whether the internet is reached, and why not: real servers that answer, refuse, are somebody else, or live in another
time."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from yarl import URL

from rooftree.interfaces.network import NETWORK, InternetChanged
from rooftree.testing import Client, running_system
from rooftree_network import internet_probe
from rooftree_network.internet_probe import UnwaitedResolver, why_offline, why_unreachable
from rooftree_network.plugin import NetworkPlugin
from tests.rig.waiting import until

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)


@asynccontextmanager
async def server(status: int = 200, tls: ssl.SSLContext | None = None) -> AsyncIterator[URL]:
    """One that answers everything with that status."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "http://login.example/"})

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield URL(f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}/online.txt")
    finally:
        await runner.cleanup()


def certified(folder: Path, begins: datetime, ends: datetime) -> tuple[ssl.SSLContext, Path]:
    """What a server needs to be localhost for that long, and who vouches for that."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])

    def certificate(subject: x509.Name, public: ec.EllipticCurvePublicKey, is_authority: bool) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=authority,
            subject_name=subject,
            public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=NOW - 9 * YEAR if is_authority else begins,
            not_valid_after=NOW + 9 * YEAR if is_authority else ends,
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if is_authority:
            builder = builder.add_extension(_SIGNS, critical=True)
        return builder.sign(authority_key, hashes.SHA256())

    trusted = folder / "authority.pem"
    trusted.write_bytes(certificate(authority, authority_key.public_key(), True).public_bytes(_PEM))
    own = folder / "own.pem"
    own.write_bytes(
        key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), key.public_key(), False
        ).public_bytes(_PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)
    return context, trusted


_PEM = serialization.Encoding.PEM
_SIGNS = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


async def told_by_who_trusts(trusted: Path, endpoint: URL) -> str:
    """What a process says of an endpoint that trusts that authority: who is trusted is read once in a process."""
    program = (
        "import asyncio, sys, yarl; from rooftree_network.internet_probe import why_unreachable; "
        "print(asyncio.run(why_unreachable(yarl.URL(sys.argv[1]))))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(endpoint), stdout=subprocess.PIPE,
        env=os.environ | {"SSL_CERT_FILE": str(trusted)},
    )  # fmt: skip
    text, _ = await process.communicate()
    return text.decode().strip()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


# --- reasons ----------------------------------------------------------------------------------------------------------


async def test_plain_success_is_enough_without_encryption_and_nothing_else_is() -> None:
    async with server(204) as there, server(302) as portal, server(511) as login:
        assert await why_unreachable(there) is None
        for wanting in (portal, login):
            reason = await why_unreachable(wanting)
            assert reason is not None and "perhaps a network that wants a login first" in reason


async def test_any_answer_is_enough_of_who_has_proved_to_be_who_they_are(tmp_path: Path) -> None:
    tls, trusted = await asyncio.to_thread(certified, tmp_path, NOW - YEAR, NOW + YEAR)
    async with server(404, tls) as endpoint:
        assert await told_by_who_trusts(trusted, endpoint) == "None"


async def test_somebody_in_between_is_told_apart(tmp_path: Path) -> None:
    tls, _ = await asyncio.to_thread(certified, tmp_path, NOW - YEAR, NOW + YEAR)
    async with server(200, tls) as endpoint:
        reason = await why_unreachable(endpoint)

    assert reason is not None
    assert "the certificate of localhost is refused" in reason and "somebody may be in between" in reason


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (NOW + YEAR, NOW + 2 * YEAR, "is not valid yet: the clock here says"),
        (NOW - 2 * YEAR, NOW - YEAR, "is no longer valid: perhaps the clock here"),
    ],
    ids=["behind", "ahead"],
)
async def test_clock_is_told_apart(tmp_path: Path, begins: datetime, ends: datetime, said: str) -> None:
    tls, trusted = await asyncio.to_thread(certified, tmp_path, begins, ends)
    async with server(200, tls) as endpoint:
        assert said in await told_by_who_trusts(trusted, endpoint)


async def test_name_connection_and_silence_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(internet_probe, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never says anything
        reasons = [
            await why_unreachable(URL(address))
            for address in (
                "http://nobody.invalid/",
                f"http://127.0.0.1:{unused_port()}/",
                f"http://127.0.0.1:{silent.getsockname()[1]}/",
            )
        ]

    assert [reason.partition(":")[0].partition("(")[0].strip() for reason in reasons if reason] == [
        "the name nobody.invalid can't be looked up",
        f"no connection to 127.0.0.1 port {reasons[1] and reasons[1].split()[5]} could be made",
        "127.0.0.1 does not answer within 0.3 s",
    ]


async def test_encryption_that_cannot_be_had_is_told_apart() -> None:
    async with server() as plain:
        reason = await why_unreachable(plain.with_scheme("https"))

    assert reason is not None
    assert "no encrypted connection to 127.0.0.1 could be made" in reason


async def test_one_endpoint_that_answers_is_enough() -> None:
    nowhere = URL(f"http://127.0.0.1:{unused_port()}/")
    async with server() as there:
        assert await why_offline([nowhere, there]) is None
        assert await why_offline([nowhere, nowhere]) is not None


async def test_name_servers_that_are_silent_are_waited_for_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def silent(*_: object) -> list[object]:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(internet_probe, "NAMES_S", 0.05)

    with pytest.raises(OSError, match="no answer within"):
        await UnwaitedResolver().resolve("example.com", 443)
    release.set()


# --- what others hear -------------------------------------------------------------------------------------------------


async def test_coming_and_going_is_told_and_seen_in_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rooftree_network.internet.PAUSE_S", 0.01)
    endpoint = f"http://127.0.0.1:{unused_port()}/"
    told: list[InternetChanged] = []
    async with (
        running_system(
            tmp_path, plugins=[NetworkPlugin], settings={"plugins.network.internet_endpoints": [endpoint]}
        ) as system,
        Client.over_unix(system) as client,
    ):
        system.bus.subscribe(InternetChanged, told.append, "test")
        network = system.services.get(NETWORK)

        def is_reached(wanted: bool) -> Callable[[], Awaitable[bool]]:
            async def reached() -> bool:
                return (await client.get("/network/info")).data["supervisor_internet"] is wanted and (
                    wanted or network.why_offline is not None
                )

            return reached

        await until(is_reached(False), within_s=5, what="that nobody answers")
        why = (await client.get("/network/info")).data["why_offline"]
        web_server = await asyncio.start_server(_answer, "127.0.0.1", URL(endpoint).port)
        async with web_server:
            await client.post("/network/reload")
            await until(is_reached(True), within_s=5, what="the internet")
            online = (await client.get("/network/info")).data
        web_server.close_clients()
        await client.post("/network/reload")
        await until(is_reached(False), within_s=5, what="that it has gone")

    assert "no connection to 127.0.0.1" in why
    assert online["why_offline"] is None
    assert [(event.whose, event.reached) for event in told] == [("supervisor", True), ("supervisor", False)]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("wrong", ["ftp://example.com/", "example.com", "https:///x"])
async def test_endpoint_that_is_no_address_is_told_with_its_setting(tmp_path: Path, wrong: str) -> None:
    async with running_system(
        tmp_path, plugins=[NetworkPlugin], settings={"plugins.network.internet_endpoints": [wrong]},
        allow={"plugin_failed"},
    ) as system:  # fmt: skip
        (plugin,) = system.plugins

    assert "internet_endpoints: must be addresses such as https://example.com/" in (plugin.reason or "")
