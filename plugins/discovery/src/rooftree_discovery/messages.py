"""Discovery messages: what add-ons tell Core of themselves, so that it can offer to set them up.

A message is known by who sent it and for which service; so is its id, which is the same on every installation: Core
keeps it in its own configuration, which may be restored on another host.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID, uuid5

from attrs import field, frozen

from rooftree import Collection as Documents
from rooftree import Forbidden, Kernel, NotFound, ParsedString, Secret, Service, document
from rooftree_addons import Addons
from rooftree_discovery.pushes import Pushes
from rooftree_discovery.sealed_json import opened, sealed
from rooftree_store import AddonSlug, AddonStore

_NAMESPACE: Final = UUID("9f0c2f6e-6c0b-4a57-9d0e-3a9a3a1f7c55")

type MessageConfig = dict[str, Any]
"""What a message says; which keys there are, is between the add-on and Core's integration."""


class MessageId(ParsedString):
    """The id of a message: 32 hex digits."""

    __slots__ = ()

    pattern = r"[0-9a-f]{32}"
    allowed = "32 digits 0-9 a-f"

    @classmethod
    def of(cls, addon: AddonSlug, service: str) -> MessageId:
        """The id of what an add-on says of a service."""
        return cls(uuid5(_NAMESPACE, f"{addon}/{service}").hex)


@document("discovery.messages", version=1)
@frozen(kw_only=True)
class StoredMessage:
    """A message as it is kept; the key is its id."""

    addon: AddonSlug
    service: str
    config: Secret = field(repr=False)


@frozen(kw_only=True)
class DiscoveryMessage:
    """A message as Core reads it."""

    addon: AddonSlug
    service: str
    uuid: MessageId
    config: MessageConfig = field(repr=False)


class DiscoveryMessages:
    """The messages of all add-ons."""

    def __init__(
        self, kernel: Kernel, addons: Addons, store: AddonStore, stored: Documents[StoredMessage], pushes: Pushes
    ) -> None:
        self._kernel = kernel
        self._addons = addons
        self._store = store
        self._stored = stored
        self._pushes = pushes

    def get(self, uuid: MessageId) -> DiscoveryMessage:
        """One message; raises :class:`~rooftree.NotFound`."""
        stored = self._get(uuid)
        return DiscoveryMessage(addon=stored.addon, service=stored.service, uuid=uuid, config=opened(stored.config))

    def tell_all(self) -> list[DiscoveryMessage]:
        """The messages of the add-ons that run, for Core, which needs not be told of them again. Left out is what was
        sealed with a key that is gone, until its add-on says it anew."""
        uuids = [
            MessageId(uuid)
            for uuid, stored in self._stored.items()
            if self._addons.runs(stored.addon) and not stored.config.is_locked
        ]
        self._pushes.note_told(uuids)
        return [self.get(uuid) for uuid in uuids]

    def senders(self) -> dict[str, list[AddonSlug]]:
        """The add-ons that could send a message, installed or on offer, by service."""
        configs = {slug: offer.config for slug, offer in self._store.addons.items()}
        configs |= {addon.slug: addon.config for addon in self._addons.installed.values()}
        senders: dict[str, list[AddonSlug]] = {}
        for slug, config in sorted(configs.items()):
            for service in config.discovery or ():
                senders.setdefault(service, []).append(slug)
        return senders

    async def announce(self, slug: AddonSlug, service: str, config: MessageConfig) -> MessageId:
        """Take an add-on's message, in place of the one before, and let Core know of it where it does not yet.

        Raises :class:`~rooftree.Forbidden` for a service that the add-on's configuration does not name.
        """
        if service not in (self._addons.get(slug).config.discovery or ()):
            raise Forbidden(f"{slug} may not send this: its configuration does not name it, discovery: [{service}]")
        uuid = MessageId.of(slug, service)
        message = StoredMessage(addon=slug, service=service, config=sealed(config))
        if self._stored.get(uuid) != message:
            push = self._pushes.of(uuid, slug, service)
            await self._kernel.commit(self._stored.put(uuid, message), push)
        elif self._pushes.is_missing(uuid):
            await self._kernel.commit(self._pushes.of(uuid, slug, service))
        self._pushes.telling.wake()
        return uuid

    async def withdraw(self, uuid: MessageId, slug: str) -> None:
        """Take an add-on's message back. Raises :class:`~rooftree.NotFound`, and :class:`~rooftree.Forbidden` where
        another has sent it."""
        message = self._get(uuid)
        if message.addon != slug:
            raise Forbidden("Only the add-on that has sent a message may withdraw it")
        await self._delete({uuid: message})

    @property
    def owners(self) -> Collection[str]:
        """The add-ons that something is kept of."""
        return {message.addon for message in self._stored.values()}

    async def forget(self, slug: str) -> None:
        """Take back the messages of an add-on."""
        await self._delete({uuid: message for uuid, message in self._stored.items() if message.addon == slug})

    async def _delete(self, messages: dict[str, StoredMessage]) -> None:
        await self._kernel.commit(
            *(self._stored.delete(uuid) for uuid in messages),
            *(self._pushes.of(uuid, message.addon, message.service) for uuid, message in messages.items()),
        )
        self._pushes.telling.wake()

    def _get(self, uuid: MessageId) -> StoredMessage:
        stored = self._stored.get(uuid)
        if stored is None:
            raise NotFound(f"There is no discovery message {uuid}")
        return stored


DISCOVERY_MESSAGES = Service[DiscoveryMessages]("discovery_messages/1")
