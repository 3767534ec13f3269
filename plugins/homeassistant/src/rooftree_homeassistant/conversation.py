"""Everything that is said between Core and us, put together: the connection, what Core is told, and whom it lets in."""

from __future__ import annotations

from collections.abc import Iterable

from rooftree import Kernel, Task
from rooftree.interfaces.core import CORE
from rooftree_containers.standing import ManagedStateChanged
from rooftree_homeassistant.core_client import CoreClient
from rooftree_homeassistant.core_messages import CoreMessages
from rooftree_homeassistant.core_users import ActiveUsers, UserWatch
from rooftree_homeassistant.login_cache import KnownLogin, LoginCache
from rooftree_homeassistant.logins import LOGINS, Logins
from rooftree_homeassistant.outbox import Outbox
from rooftree_homeassistant.usb_scan import UsbScan
from rooftree_homeassistant.whereabouts import CoreMoved, CoreWhereabouts

PROVIDED = (CORE, LOGINS)
"""The services that :meth:`Conversation.begin` provides."""


class Conversation:
    """What is said goes on for as long as :meth:`tasks` run; made by :meth:`begin`."""

    def __init__(self, kernel: Kernel, core_client: CoreClient, users: UserWatch, logins: Logins) -> None:
        self._name = kernel.name
        self.core_client = core_client
        self._users = users
        self._logins = logins
        self._outbox = Outbox(core_client, kernel.clock)
        self._usb = UsbScan(kernel, core_client)
        CoreMessages(kernel, self._outbox)
        kernel.on(ManagedStateChanged, self._container_changed)
        kernel.on(CoreMoved, self._moved)

    @classmethod
    async def begin(cls, kernel: Kernel, whereabouts: CoreWhereabouts) -> Conversation:
        """Read what was known when the process ended, and provide :data:`PROVIDED`."""
        core_client = CoreClient(kernel, whereabouts)
        users = UserWatch(kernel, core_client, await kernel.collection(ActiveUsers))
        logins = Logins(kernel, core_client, LoginCache(kernel, await kernel.collection(KnownLogin)))
        kernel.provide(CORE, core_client)
        kernel.provide(LOGINS, logins)
        return cls(kernel, core_client, users, logins)

    def tasks(self) -> Iterable[Task]:
        """What goes on all the time."""
        yield Task("connection to Core", self.core_client.run)
        yield Task("tell Core", self._outbox.run)
        yield Task("users of Core", self._users.run)
        yield Task("note logins", self._logins.run)
        yield Task("have Core look for serial devices", self._usb.run)

    def _container_changed(self, event: ManagedStateChanged) -> None:
        if event.plugin == self._name:
            self.core_client.look_again()

    def _moved(self, _: CoreMoved) -> None:
        self.core_client.look_again()
