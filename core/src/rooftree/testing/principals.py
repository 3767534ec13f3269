"""Callers of every kind, as the domain that owns the kind would make them."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from rooftree.interfaces.callers import ADDON, CORE
from rooftree.principal import CallerKind, Principal
from rooftree.process import System

_KINDS = {kind.name: kind for kind in (ADDON, CORE)}
_invented: WeakKeyDictionary[System, dict[tuple[str, str], Principal]] = WeakKeyDictionary()


async def token_for(system: System, principal: Principal) -> str:
    """A token that stands for ``principal``, such as ``Principal("addon", "local_hello", Role.MANAGER)``.

    A named token is of kind ``token``, and has a role and no grants. Every other kind is registered here, in place of
    the plugin that owns it if that one runs.
    """
    if principal.kind != "token":
        invented = _invented.setdefault(system, {})
        invented[principal.kind, principal.id] = principal
        kind = _KINDS.get(principal.kind) or CallerKind(principal.kind)
        system.tokens.register_kind(kind, lambda subject: invented.get((principal.kind, subject)))
    fresh = system.tokens.new(principal.kind, principal.id, principal.role)
    await system.state.commit(fresh.change)
    return fresh.text
