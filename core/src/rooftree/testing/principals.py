"""Callers of every kind, as the domain that owns the kind would make them."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from rooftree.principal import Principal
from rooftree.process import System

_invented: WeakKeyDictionary[System, dict[tuple[str, str], Principal]] = WeakKeyDictionary()


async def token_for(system: System, principal: Principal) -> str:
    """A token that stands for ``principal``, such as ``Principal("addon", "local_hello", Role.MANAGER)``.

    A named token is of kind ``token``, and has a role and no grants. Every other kind is registered here, in place of
    the plugin that owns it if that one runs.
    """
    if principal.kind != "token":
        invented = _invented.setdefault(system, {})
        invented[principal.kind, principal.id] = principal
        system.tokens.register_kind(principal.kind, lambda subject: invented.get((principal.kind, subject)))
    fresh = system.tokens.new(principal.kind, principal.id, principal.role)
    await system.state.commit(fresh.change)
    return fresh.text
