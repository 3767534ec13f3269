"""Whether the internet is reached from here, and why not: names, the connection, its encryption, and the clock are told
apart, because each is mended elsewhere."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

NAMES_S: Final = 5.0
"""Seconds that looking a name up may take."""
CONNECT_S: Final = 5.0
"""Seconds until a connection has to be there."""
ANSWER_S: Final = 10.0
"""Seconds that all of it may take."""
_NOT_YET_VALID, _EXPIRED = 9, 10
"""``X509_V_ERR_CERT_NOT_YET_VALID`` and ``X509_V_ERR_CERT_HAS_EXPIRED`` of OpenSSL."""


async def why_offline(endpoints: Sequence[URL]) -> str | None:
    """Why none of these can be reached, in a sentence; ``None`` where one is. They are asked side by side."""
    reasons = await asyncio.gather(*(why_unreachable(endpoint) for endpoint in endpoints))
    return None if None in reasons else "; ".join(filter(None, reasons))


async def why_unreachable(endpoint: URL) -> str | None:
    """Why an address can't be reached. Over TLS, whoever answers has proved who they are, so that any answer will do;
    without it only a plain success counts: anybody could be answering, such as the login page of a hotel."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=CONNECT_S)
    resolver = UnwaitedResolver()
    try:
        async with (
            aiohttp.TCPConnector(resolver=resolver, force_close=True) as connector,
            aiohttp.ClientSession(
                connector=connector, trust_env=True, timeout=timeout, headers={"User-Agent": "rooftree"}
            ) as session,
            session.head(endpoint, allow_redirects=False) as answer,
        ):
            if endpoint.scheme == "https" or 200 <= answer.status < 300:
                return None
            return f"{endpoint} answers with {answer.status}: perhaps a network that wants a login first"
    except aiohttp.ClientConnectorDNSError as error:
        return f"the name {error.host} can't be looked up ({error.os_error}): the name servers do not answer or know it"
    except aiohttp.ClientConnectorCertificateError as error:
        return _certificate_refused(endpoint, error.certificate_error)
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        return f"no encrypted connection to {endpoint.host} could be made: {error}"
    except TimeoutError:
        return f"{endpoint.host} does not answer within {ANSWER_S:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return f"no connection to {endpoint.host} port {endpoint.port} could be made: {error}"


def _certificate_refused(endpoint: URL, error: Exception) -> str:
    code, now = getattr(error, "verify_code", None), datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    if code == _NOT_YET_VALID:
        return f"the certificate of {endpoint.host} is not valid yet: the clock here says {now} and must be behind"
    if code == _EXPIRED:
        return (
            f"the certificate of {endpoint.host} is no longer valid: perhaps the clock here, which says {now}, is ahead"
        )
    why = getattr(error, "verify_message", None) or error
    return f"the certificate of {endpoint.host} is refused ({why}): somebody may be in between"


class UnwaitedResolver(AbstractResolver):
    """Looks names up in threads that nobody waits for: name servers that are gone would hold up our own end."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host; raises ``OSError``."""
        loop = asyncio.get_running_loop()
        addresses: asyncio.Future[list[Any]] = loop.create_future()

        def tell(told: list[Any] | OSError) -> None:
            if addresses.done():  # it was not waited for
                return
            if isinstance(told, OSError):
                addresses.set_exception(told)
            else:
                addresses.set_result(told)

        def look_up() -> None:
            told: list[Any] | OSError
            try:
                told = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
            except OSError as error:
                told = error
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(tell, told)

        threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
        try:
            async with asyncio.timeout(NAMES_S):
                told = await addresses
        except TimeoutError:
            raise OSError(f"no answer within {NAMES_S:g} s") from None
        return [
            ResolveResult(
                hostname=host,
                host=sockaddr[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, sockaddr in told
        ]

    async def close(self) -> None:
        """Nothing is kept."""
