"""Where a call comes from, and where it has reached us: for those who change the way between the two."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class CallEnds:
    """For a route that has to know them: a parameter of this type. Who calls is never told by an address; see
    :class:`~rooftree.principal.Principal`. On a unix socket, which leads through no network, all is ``None``."""

    ours: str | None = None
    """Our address on the connection."""
    port: int | None = None
    """Ours."""
    theirs: str | None = None
    """The caller's address, or that of who passes the call on."""
