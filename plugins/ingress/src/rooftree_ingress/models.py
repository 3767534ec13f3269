"""What the ingress routes take and answer."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from rooftree_addons import InstalledAddon


@frozen
class Panel:
    """An add-on's entry in the sidebar."""

    title: str
    icon: str
    admin: bool
    """Whether it is for administrators only."""
    enable: bool
    """Whether its user wants it in the sidebar."""

    @classmethod
    def of(cls, addon: InstalledAddon) -> Panel:
        """That of an installed add-on with a page."""
        config = addon.config
        return cls(config.panel_title or config.name, config.panel_icon, config.panel_admin, addon.ingress_panel)


@frozen
class PanelListing:
    """All of them."""

    panels: Mapping[str, Panel]
    """By the add-ons' slugs."""


@frozen
class SessionRequest:
    """For whom a session is opened."""

    user_id: str | None = None
    """The id of a user of Home Assistant; nobody in particular without it."""


@frozen
class SessionText:
    """A session, for the cookie ``ingress_session``."""

    session: str = field(repr=False)
