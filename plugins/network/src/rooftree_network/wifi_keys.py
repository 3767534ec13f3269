"""How wireless networks are logged in to: the words of clients and NetworkManager's, and what a key may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from rooftree import Invalid
from rooftree_network.models import WifiAuth

OPEN: Final = "open"
KEY_MANAGEMENT: Final[Mapping[str, str | None]] = {
    OPEN: None,
    "wep": "none",
    "wpa-psk": "wpa-psk",
    "sae": "sae",
    "owe": "owe",
}
"""``key-mgmt`` by what a client may ask for. ``wpa-psk`` is WPA2 and WPA3 alike, ``sae`` WPA3 alone, ``owe`` an open
network that is encrypted all the same."""
SHOWN: Final[Mapping[str | None, WifiAuth]] = {
    None: "open", "owe": "open", "none": "wep", "wpa-psk": "wpa-psk", "sae": "wpa-psk",
}  # fmt: skip
"""The same for clients, who know three words: what it takes to log in is alike."""
_HEX_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}")
_WEP_HEX: Final = re.compile(r"[0-9A-Fa-f]{10}|[0-9A-Fa-f]{26}")


def needs_key(key_management: str | None) -> bool:
    """Whether one logs in with a key."""
    return key_management not in {None, "owe"}


def check_key(auth: str, key: str) -> None:
    """Raise :class:`~rooftree.Invalid` for a key that can't be one."""
    if auth == "wep":
        if not _WEP_HEX.fullmatch(key) and len(key.encode()) not in {5, 13}:
            raise Invalid("wifi.psk: a WEP key is 5 or 13 characters, or 10 or 26 hexadecimal digits")
    elif auth == "wpa-psk":
        if not _HEX_KEY.fullmatch(key) and not (8 <= len(key.encode()) <= 63):
            raise Invalid("wifi.psk: a WPA key is 8 to 63 characters, or 64 hexadecimal digits")
    elif auth == "sae" and not key:
        raise Invalid("wifi.psk: is empty")


def key_settings(key_management: str, key: str) -> Mapping[str, tuple[str, object]]:
    """A key as settings of the section for security, each with its signature."""
    if key_management == KEY_MANAGEMENT["wep"]:
        return {"wep-key0": ("s", key), "wep-tx-keyidx": ("u", 0), "wep-key-type": ("u", 1)}
    return {"psk": ("s", key)}
