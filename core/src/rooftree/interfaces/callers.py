"""Who calls the API beside administrators: the kinds of callers that several domains speak of in their routes' access.

The plugin that owns a kind registers it (``kernel.register_kind(ADDON, …)``); whoever has a route for it names it here.
"""

from __future__ import annotations

from rooftree.access import Access, of_kind
from rooftree.principal import CallerKind

ADDON = CallerKind("addon", noun="add-on", id_noun="slug", admins_are_counted=True)
"""An add-on; its id is its slug. ``itself("slug", ADDON)`` is one on itself."""
CORE = CallerKind("core", noun="Home Assistant Core")
"""Home Assistant Core; there is one."""

ANY_ADDON: Access = of_kind(ADDON)
"""Every add-on, with or without a role."""
CORE_ONLY: Access = of_kind(CORE)
"""Home Assistant Core and nobody else, not even an administrator."""
OBSERVER: Access = of_kind(CallerKind("observer"))
"""The observer's base service."""

TOKEN_HEADERS = ("X-Supervisor-Token", "X-Hassio-Key")
"""Where clients of this API send a token, beside ``Authorization``; for :meth:`rooftree.Kernel.accept_tokens_in`."""
HOME_ASSISTANT_HEADER = "X-Ha-Access"
"""Where older add-ons send their token when they ask Core something. Who passes requests on takes it out, too."""
