"""Addresses of vaults as they may be shown: one may have a login in it."""

from __future__ import annotations

from contextlib import suppress

from yarl import URL


def without_password(place: str) -> str:
    """A place without its login's password."""
    scheme, colon, rest = place.partition(":")
    with suppress(ValueError):
        address = URL(rest)
        if address.password is not None:
            return f"{scheme}{colon}{address.with_password('***')}"
    return place


def password_of(place: str) -> str | None:
    """The password of a place's login, ``None`` where it has none."""
    with suppress(ValueError):
        return URL(place.partition(":")[2]).password
    return None
