"""Everything that is said between Core and us, put together: the connection, what Core is told, and whom it lets in."""

from __future__ import annotations

from collections.abc import Iterable

from rooftree import Kernel, Task
from rooftree.interfaces.core import CORE
from rooftree_containers.standing import ManagedStateChanged
from rooftree_homeassistant.connection import CoreConnection
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

    def __init__(self, kernel: Kernel, connection: CoreConnection, users: UserWatch, logins: Logins) -> None:
        self._name = kernel.name
        self.connection = connection
        self._users = users
        self._logins = logins
        self._outbox = Outbox(connection, kernel.clock)
        self._usb = UsbScan(kernel, connection)
        CoreMessages(kernel, self._outbox)
        kernel.on(ManagedStateChanged, self._container_changed)
        kernel.on(CoreMoved, self._moved)

    @classmethod
    async def begin(cls, kernel: Kernel, whereabouts: CoreWhereabouts) -> Conversation:
        """Read what was known when the process ended, and provide :data:`PROVIDED`."""
        connection = CoreConnection(kernel, whereabouts)
        users = UserWatch(kernel, connection, await kernel.collection(ActiveUsers))
        logins = Logins(kernel, connection, LoginCache(kernel, await kernel.collection(KnownLogin)))
        kernel.provide(CORE, connection)
        kernel.provide(LOGINS, logins)
        return cls(kernel, connection, users, logins)

    def tasks(self) -> Iterable[Task]:
        """What goes on all the time."""
        yield Task("connection to Core", self.connection.run)
        yield Task("tell Core", self._outbox.run)
        yield Task("users of Core", self._users.run)
        yield Task("note logins", self._logins.run)
        yield Task("have Core look for serial devices", self._usb.run)

    def _container_changed(self, event: ManagedStateChanged) -> None:
        if event.plugin == self._name:
            self.connection.look_again()

    def _moved(self, _: CoreMoved) -> None:
        self.connection.look_again()
