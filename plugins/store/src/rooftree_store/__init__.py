"""The store's public module: what plugins that depend on ``rooftree-store`` may use."""

from rooftree_store.addon_config import (
    AddonConfig,
    Boot,
    HassioRole,
    MapEntry,
    MapType,
    Startup,
    UlimitPair,
    parse_addon_config,
)
from rooftree_store.assessment import pick_arch, rating
from rooftree_store.build_file import BuildFile, parse_build_file
from rooftree_store.catalogue import APPARMOR, CHANGELOG, DOCUMENTATION, ICON, LOGO, README, Offer
from rooftree_store.files import ShownText, read_text, shown_text
from rooftree_store.options import (
    CheckedOptions,
    Devices,
    HostDevice,
    OptionsInvalid,
    effective_options,
    validate_options,
)
from rooftree_store.options_form import FormField, ui_schema
from rooftree_store.repositories import repository_lock
from rooftree_store.slugs import AddonSlug, RepositorySlug
from rooftree_store.store import ADDON_STORE, AddonStore, Installed, StoreReloaded
from rooftree_store.translations import TranslationTexts, parse_translation
from rooftree_store.url_templates import WatchdogTarget, resolve_watchdog, resolve_webui
from rooftree_store.yaml_files import FileInvalid, read_document

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
    "Boot",
    "BuildFile",
    "CheckedOptions",
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
    "RepositorySlug",
    "ShownText",
    "Startup",
    "StoreReloaded",
    "TranslationTexts",
    "UlimitPair",
    "WatchdogTarget",
    "effective_options",
    "parse_addon_config",
    "parse_build_file",
    "parse_translation",
    "pick_arch",
    "rating",
    "read_document",
    "read_text",
    "repository_lock",
    "resolve_watchdog",
    "resolve_webui",
    "shown_text",
    "ui_schema",
    "validate_options",
]
