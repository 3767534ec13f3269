"""Ingress, as other domains and its routes see it."""

from __future__ import annotations

from attrs import frozen

from rooftree import Service
from rooftree_ingress.pages import Pages
from rooftree_ingress.panels import Panels
from rooftree_ingress.sessions import Sessions


@frozen
class Ingress:
    """All of it."""

    sessions: Sessions
    panels: Panels
    pages: Pages


INGRESS = Service[Ingress]("ingress/1")
