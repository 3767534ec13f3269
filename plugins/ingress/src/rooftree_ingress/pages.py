"""Add-ons' pages: which add-on a token in a path stands for, where it listens, and what of a request it may see.

A page is told who its user is, where the user sees it and through whom the request came, by us alone: what a client
claims of that is dropped, in whatever spelling. What lets somebody in elsewhere does not reach it: neither the session
nor any token of ours.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Final

from rooftree import Begun, Ending, Exchange, Field, Kernel, RooftreeError, Tail
from rooftree.interfaces.callers import HOME_ASSISTANT_HEADER, TOKEN_HEADERS
from rooftree.interfaces.containers import OWN_ADDRESS, EngineConnected
from rooftree_addons import Addons, InstalledAddon
from rooftree_ingress.sessions import COOKIE, SessionUser
from rooftree_proxying import (
    Address,
    BadGateway,
    ForwardedRequest,
    Memo,
    Places,
    Upstreams,
    Written,
    begin_forward,
    canonical,
    end_to_end,
    forward,
    without_cookie,
    without_set_cookie,
)

ENTRY: Final = "/api/hassio_ingress"
"""Where Core has the pages."""
SOCKETS: Final = 1000
"""WebSockets that may be open to one add-on's page, of all its users."""
KEPT_BYTES: Final = 4096
"""How much of a request's fields is kept for the next request on the connection."""
_LOOPBACK: Final = frozenset({None, "127.0.0.1", "::1"})
_COOKIE: Final = COOKIE.encode()
_TOKENS: Final = frozenset(canonical(name.encode()) for name in (*TOKEN_HEADERS, HOME_ASSISTANT_HEADER))
_OURS: Final = (b"x-remote-user-", b"x-hass-", b"x-ingress-path")
"""What fields begin with that only we may say."""
_FORWARDED: Final = (b"x-forwarded-", b"forwarded", b"x-real-ip")
_FORWARDED_FOR: Final = b"x-forwarded-for"
_tcp: Final = lru_cache(maxsize=64)(Address.tcp)


class _Kind(enum.Enum):
    """What a field of a request is about."""

    OURS = enum.auto()
    """It says what only Core or we may say, or lets somebody in."""
    THROUGH = enum.auto()
    """It says through whom the request came."""
    AUTHORIZATION = enum.auto()
    OTHER = enum.auto()


_OTHER: Final = _Kind.OTHER


def _kind(name: bytes) -> _Kind:
    plain = canonical(name)
    if plain.startswith(_OURS) or plain in _TOKENS or plain == _FORWARDED_FOR:
        return _Kind.OURS
    if plain.startswith(_FORWARDED):  # Core writes no underscore: with one, it is its client's word
        return _Kind.THROUGH if b"_" not in name else _Kind.OURS
    return _Kind.AUTHORIZATION if plain == b"authorization" else _Kind.OTHER


_KINDS: Final = Memo(_kind)


class UnknownPage(RooftreeError):
    """No installed add-on has a page under that token."""

    status = 503


class Pages:
    """The pages of the installed add-ons."""

    def __init__(self, kernel: Kernel, addons: Addons) -> None:
        self._kernel = kernel
        self._addons = addons
        self._upstreams = Upstreams(self._own_socket)
        self._sockets = Places(SOCKETS, "WebSockets")
        kernel.defer(self._upstreams.close)
        self._slugs: dict[str, str] = {}
        """The add-ons by their token, as of :attr:`_revision`."""
        self._revision: object = None
        self._gateway: str | None = None
        """The host's address on the add-on network, once it was asked for."""
        kernel.on(EngineConnected, self._forget_gateway)

    def addon(self, token: str) -> InstalledAddon:
        """The add-on of a token; raises :class:`UnknownPage`."""
        installed = self._addons.installed
        if self._revision != installed.revision:
            self._slugs = {addon.ingress_token: slug for slug, addon in installed.items() if addon.config.ingress}
            self._revision = installed.revision
        slug = self._slugs.get(token)
        if slug is None:
            raise UnknownPage("No add-on that is installed has a page here")
        return installed[slug]

    def facts(self, slug: str) -> Mapping[str, str] | None:
        """Where the page of an installed add-on is; ``None`` where it has none."""
        addon = self._addons.installed.get(slug)
        if addon is None or not addon.config.ingress:
            return None
        entry = f"{ENTRY}/{addon.ingress_token}"
        first = (addon.config.ingress_entry or "").lstrip("/")
        return {"ingress_entry": entry, "ingress_url": f"{entry}/{first}"}

    async def show(self, exchange: Exchange, addon: InstalledAddon, path: Tail, user: SessionUser | None) -> None:
        """Answer with what the add-on answers. Raises :class:`~rooftree_proxying.BadGateway` where it does not, and
        :class:`~rooftree_proxying.TooManyOpen`."""
        if self._lacks_gateway(exchange, addon):
            self._gateway = (await self._addons.engine.network()).gateway
        request = self._request(exchange, addon, path, user)
        with self._sockets.place(addon.slug) if exchange.offers_upgrade else nullcontext():
            await forward(exchange, self._upstreams, request)

    def begin(
        self, exchange: Exchange, ending: Ending, addon: InstalledAddon, path: Tail, user: SessionUser | None
    ) -> Begun | None:
        """The same, where nothing has to be waited for; see :attr:`rooftree.Proxied.begin`."""
        if self._lacks_gateway(exchange, addon):
            return None
        return begin_forward(exchange, ending, self._upstreams, self._request(exchange, addon, path, user))

    def _lacks_gateway(self, exchange: Exchange, addon: InstalledAddon) -> bool:
        """Whether the host's address is needed, and not known yet."""
        return self._gateway is None and (addon.config.host_network or exchange.address not in _LOOPBACK)

    def _request(
        self, exchange: Exchange, addon: InstalledAddon, path: Tail, user: SessionUser | None
    ) -> ForwardedRequest:
        is_core = exchange.address in _LOOPBACK or exchange.address == self._gateway
        fields = self._written(exchange, addon, user, is_core=is_core)
        return ForwardedRequest(self._address(addon), f"/{path}{exchange.query}", fields, _without_session)

    def _address(self, addon: InstalledAddon) -> Address:
        if not self._addons.runs(addon.slug):
            raise BadGateway(f"{addon.config.name} ({addon.slug}) does not run. Start it to see its page")
        host = self._gateway if addon.config.host_network else self._addons.address(addon.slug)
        port = addon.page_port
        if host is None or port is None:
            raise BadGateway(f"{addon.config.name} ({addon.slug}) has no address yet. Try again in a moment")
        return _tcp(host, port)

    async def _own_socket(self) -> socket.socket | None:
        """Add-ons take a page's requests from our own address, and many from no other."""
        own_address = self._kernel.find(OWN_ADDRESS)
        return await own_address.own_socket() if own_address is not None else None

    def _forget_gateway(self, _: EngineConnected) -> None:
        self._gateway = None

    def _written(
        self, exchange: Exchange, addon: InstalledAddon, user: SessionUser | None, *, is_core: bool
    ) -> Written:
        """What the add-on sees of a request's fields; mostly that is what it saw of the last request's."""
        asked = (exchange.fields, addon.ingress_token, user, is_core)
        if exchange.kept is not None and exchange.kept[0] == asked:
            written: Written = exchange.kept[1]
            return written
        written = Written.of(self._fields(exchange, addon, user, is_core=is_core))
        is_lasting = not exchange.has_field("Authorization")  # which may be of ours one day
        exchange.kept = (asked, written) if is_lasting and len(written.lines) <= KEPT_BYTES else None
        return written

    def _fields(
        self, exchange: Exchange, addon: InstalledAddon, user: SessionUser | None, *, is_core: bool
    ) -> list[Field]:
        """What the add-on sees of a request's fields.

        :param is_core: whether it comes from the host, where Core is: others say nothing of whom they speak for
        """
        fields = [
            field
            for field in end_to_end(exchange.fields)
            if (kind := _KINDS[field[0]]) is _OTHER or self._may_see(kind, field[1], is_core=is_core)
        ]
        through = [value for name, value in exchange.fields if is_core and name.lower() == _FORWARDED_FOR]
        if exchange.address is not None:
            through.append(exchange.address.encode())
        if through:
            fields.append((b"X-Forwarded-For", b", ".join(through)))
        fields.append((b"X-Ingress-Path", f"{ENTRY}/{addon.ingress_token}".encode()))
        if user is not None:
            fields += _of_user(user)
        return without_cookie(fields, _COOKIE)

    def _may_see(self, kind: _Kind, value: bytes, *, is_core: bool) -> bool:
        """Whether an add-on may see a field that is about more than its page."""
        match kind:
            case _Kind.THROUGH:
                return is_core
            case _Kind.AUTHORIZATION:
                return not self._is_ours(value)
        return False

    def _is_ours(self, authorization: bytes) -> bool:
        """Whether it has a token of ours in it."""
        return any(self._kernel.tokens.principal(word.decode("latin-1")) for word in authorization.split())


@lru_cache(maxsize=64)
def _of_user(user: SessionUser) -> Sequence[Field]:
    """Who the user is. Names are UTF-8 in a field, as everybody has them there."""
    told = [(b"X-Remote-User-Id", user.id), (b"X-Remote-User-Name", user.username)]
    told.append((b"X-Remote-User-Display-Name", user.name))
    return [(name, _printable(value)) for name, value in told if value]


def _printable(text: str) -> bytes:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split()).encode()


def _without_session(fields: Sequence[Field]) -> list[Field]:
    """An answer's fields; a page can't give its user another session."""
    return without_set_cookie(fields, _COOKIE)
