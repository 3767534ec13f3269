"""The routes of Ingress."""

from __future__ import annotations

from rooftree import Begun, Ending, Exchange, Principal, Proxied, Role, Routes, Tail, role
from rooftree.interfaces.callers import CORE_ONLY
from rooftree_ingress.ingress import Ingress
from rooftree_ingress.models import Panel, PanelListing, SessionRequest, SessionText
from rooftree_ingress.sessions import BY_SESSION

routes = Routes()


@routes.get("/ingress/panels", access=role(Role.ADMIN))
def panels(ingress: Ingress) -> PanelListing:
    """The entries in the sidebar that installed add-ons have, or could have."""
    return PanelListing({str(addon.slug): Panel.of(addon) for addon in ingress.panels.with_pages()})


@routes.post("/ingress/session", access=CORE_ONLY)
async def open_session(ingress: Ingress, body: SessionRequest) -> SessionText:
    """Open a session, with which a browser gets at the pages."""
    return SessionText(await ingress.sessions.open(body.user_id))


@routes.post("/ingress/validate_session", access=CORE_ONLY)
def validate_session(ingress: Ingress, body: SessionText) -> None:
    """Make a session last longer; 401 when it is over."""
    ingress.sessions.validate(body.session)


@routes.route("*", "/ingress/{token}/{path...}", access=BY_SESSION)
def page(ingress: Ingress, token: str, path: Tail, caller: Principal) -> Proxied:
    """A page of an add-on, as the add-on has it; WebSockets too.

    :param token: the add-on's, from `ingress_entry`
    """
    user = ingress.sessions.use(caller)
    addon = ingress.pages.addon(token)

    async def serve(exchange: Exchange) -> None:
        await ingress.pages.show(exchange, addon, path, user)

    def begin(exchange: Exchange, ending: Ending) -> Begun | None:
        return ingress.pages.begin(exchange, ending, addon, path, user)

    return Proxied(serve, begin)
