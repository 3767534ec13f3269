"""The routes of Core. Each has its older spelling, ``/homeassistant/…``."""

from __future__ import annotations

from rooftree import Role, Routes, role
from rooftree.interfaces.callers import OBSERVER
from rooftree_homeassistant.api_proxy_routes import routes as api_proxy
from rooftree_homeassistant.auth_routes import routes as auth
from rooftree_homeassistant.core_options import CoreOptionsChange
from rooftree_homeassistant.home_assistant import HomeAssistant
from rooftree_homeassistant.models import CoreInfo

routes = Routes()
routes.include(auth)
routes.include(api_proxy)
ANY_ROLE = role(Role.DEFAULT)
HOMEASSISTANT = role(Role.HOMEASSISTANT)


@routes.get("/core/info", access=ANY_ROLE | OBSERVER, aliases=("/homeassistant/info",))
def info(core: HomeAssistant) -> CoreInfo:
    """What Core is, and how it is set up."""
    return CoreInfo.of(core)


@routes.post("/core/options", access=HOMEASSISTANT, aliases=("/homeassistant/options",))
async def set_options(core: HomeAssistant, body: CoreOptionsChange) -> None:
    """Set Core up; what is absent stays, what is null goes back to its default."""
    await core.set_options(body)
