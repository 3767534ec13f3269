"""The store's public module: what plugins that depend on ``rooftree-store`` may use.

The names are loaded on first use, so that ``rooftree addon validate`` does not pay for a web server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rooftree.interfaces.store import StoreReloaded
    from rooftree_store.addon_config import AddonConfig, MapEntry, UlimitPair, parse_addon_config
    from rooftree_store.assessment import pick_arch, rating
    from rooftree_store.build_file import BuildFile, parse_build_file
    from rooftree_store.catalogue import APPARMOR, CHANGELOG, DOCUMENTATION, ICON, LOGO, README, Offer
    from rooftree_store.files import ShownText, read_text, shown_text
    from rooftree_store.local_build import build_arguments, dockerfile_of, missing_bases
    from rooftree_store.option_places import device_options, device_places, secret_references
    from rooftree_store.options import (
        CheckedOptions,
        DeviceRefused,
        Devices,
        HostDevice,
        OptionsInvalid,
        SecretsUnreadable,
        effective_options,
        validate_options,
    )
    from rooftree_store.options_form import FormField, ui_schema
    from rooftree_store.repositories import repository_lock
    from rooftree_store.slugs import AddonSlug, RepositorySlug
    from rooftree_store.store import ADDON_STORE, AddonStore, Installed
    from rooftree_store.translations import TranslationTexts, parse_translation
    from rooftree_store.url_templates import WatchdogTarget, resolve_watchdog, resolve_webui
    from rooftree_store.versions import Order, is_release_of, is_update, order
    from rooftree_store.vocabulary import BackupMode, Boot, HassioRole, MapType, Startup
    from rooftree_store.yaml_files import FileInvalid, Places, document_in, parse_document, read_document

_HOMES = {
    "addon_config": "AddonConfig MapEntry UlimitPair parse_addon_config",
    "assessment": "pick_arch rating",
    "build_file": "BuildFile parse_build_file",
    "catalogue": "APPARMOR CHANGELOG DOCUMENTATION ICON LOGO Offer README",
    "files": "ShownText read_text shown_text",
    "local_build": "build_arguments dockerfile_of missing_bases",
    "option_places": "device_options device_places secret_references",
    "options": "CheckedOptions DeviceRefused Devices HostDevice OptionsInvalid SecretsUnreadable effective_options"
    " validate_options",
    "options_form": "FormField ui_schema",
    "repositories": "repository_lock",
    "slugs": "AddonSlug RepositorySlug",
    "store": "ADDON_STORE AddonStore Installed StoreReloaded",
    "translations": "TranslationTexts parse_translation",
    "url_templates": "WatchdogTarget resolve_watchdog resolve_webui",
    "versions": "Order is_release_of is_update order",
    "vocabulary": "BackupMode Boot HassioRole MapType Startup",
    "yaml_files": "FileInvalid Places document_in parse_document read_document",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ADDON_STORE",
    "APPARMOR",
    "CHANGELOG",
    "DOCUMENTATION",
    "ICON",
    "LOGO",
    "README",
    "AddonConfig",
    "AddonSlug",
    "AddonStore",
    "BackupMode",
    "Boot",
    "BuildFile",
    "CheckedOptions",
    "DeviceRefused",
    "Devices",
    "FileInvalid",
    "FormField",
    "HassioRole",
    "HostDevice",
    "Installed",
    "MapEntry",
    "MapType",
    "Offer",
    "OptionsInvalid",
    "Order",
    "Places",
    "RepositorySlug",
    "SecretsUnreadable",
    "ShownText",
    "Startup",
    "StoreReloaded",
    "TranslationTexts",
    "UlimitPair",
    "WatchdogTarget",
    "build_arguments",
    "device_options",
    "device_places",
    "dockerfile_of",
    "document_in",
    "effective_options",
    "is_release_of",
    "is_update",
    "missing_bases",
    "order",
    "parse_addon_config",
    "parse_build_file",
    "parse_document",
    "parse_translation",
    "pick_arch",
    "rating",
    "read_document",
    "read_text",
    "repository_lock",
    "resolve_watchdog",
    "resolve_webui",
    "secret_references",
    "shown_text",
    "ui_schema",
    "validate_options",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'rooftree_store' has no attribute {name!r}")
    value = getattr(import_module(f"rooftree_store.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
