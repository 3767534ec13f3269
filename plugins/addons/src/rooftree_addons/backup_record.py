"""What is kept of an add-on, as its part of a backup has it: ``addon.json`` in the shape of the existing supervisor,
and beside it, in ``rooftree.json``, what that has no place for.

An archive may be a stranger's, and very old: what is read from one is looked at like any other input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import attrs
import orjson
from attrs import evolve, field, frozen

from rooftree import Invalid, RooftreeError, structure, unstructure
from rooftree_addons.installed import AddonOptions, InstalledAddon, Seccomp
from rooftree_containers import Desired
from rooftree_store import AddonConfig, AddonSlug, AddonStore, Boot, Offer, parse_addon_config, secret_references

ADDON_FILE: Final = "addon.json"
OWN_FILE: Final = "rooftree.json"
PROFILE_FILE: Final = "apparmor.txt"
DOCUMENTS: Final = (ADDON_FILE, OWN_FILE, PROFILE_FILE)
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of one of them."""


class BackupMetadataInvalid(Invalid):
    """What a backup says of an add-on can't be understood. ``extra_fields``: ``app``, ``validation_error``."""

    error_key = "app_backup_metadata_invalid_error"


@frozen(kw_only=True)
class UserRecord:
    """What its user decided, as ``addon.json`` has it; keys besides these say nothing to us."""

    options: AddonOptions = field(factory=dict, repr=False)
    boot: Boot | None = None
    auto_update: bool = False
    watchdog: bool = False
    network: dict[str, int | None] | None = None
    protected: bool = True
    ingress_token: str | None = field(default=None, repr=False)
    ingress_panel: bool = False
    audio_input: str | None = None
    audio_output: str | None = None
    system_managed: bool = False
    system_managed_config_entry: str | None = None


@frozen(kw_only=True)
class OwnRecord:
    """What only we keep."""

    secret_references: dict[str, str] | None = field(default=None, repr=False)
    """``None`` where a part has no such record: then what stands in its options counts as its user's."""
    seccomp: Seccomp | None = None
    pids_limit: int | None = None


def written(addon: InstalledAddon, profile: str | None, state: Literal["started", "stopped"]) -> dict[str, bytes]:
    """The documents of an add-on's part.

    :param profile: its AppArmor profile
    """
    chosen = _known(UserRecord, unstructure(addon))
    user = {
        **{name: value for name, value in chosen.items() if value is not None},
        "version": addon.version,
        "image": addon.image.rpartition(":")[0],
    }
    system = {**orjson.loads(addon.config_json), "repository": str(addon.slug.repository), "translations": {}}
    record = {"user": user, "system": system, "version": addon.version, "state": state}
    own = _known(OwnRecord, unstructure(addon))
    texts = {PROFILE_FILE: profile.encode()} if profile is not None else {}
    return {ADDON_FILE: _json(record), OWN_FILE: _json(own), **texts}


def read(
    slug: AddonSlug, documents: Mapping[str, bytes], store: AddonStore, taken_ports: Collection[int]
) -> InstalledAddon:
    """The add-on as its part of a backup says that it was, on this machine; wanted running if it ran then.

    :param taken_ports: of others, for one that leaves it to us where its page is
    Raises :class:`BackupMetadataInvalid`.
    """
    try:
        record = _object(documents, ADDON_FILE)
        user = structure(_known(UserRecord, _part(record, "user")), UserRecord)
        own = structure(_known(OwnRecord, _object(documents, OWN_FILE) if OWN_FILE in documents else {}), OwnRecord)
        config = parse_addon_config(_part(record, "system")).config
        state = record.get("state")
    except (RooftreeError, orjson.JSONDecodeError) as error:
        reason = error.message if isinstance(error, RooftreeError) else f"{ADDON_FILE} is not JSON"
        raise BackupMetadataInvalid(
            f"What the backup says of add-on {slug} can't be understood: {reason}",
            app=str(slug),
            validation_error=reason,
        ) from None
    fresh = InstalledAddon.fresh(slug, store.image(offer_of(slug, config)), config.normalised(), set(taken_ports))
    references = secret_references(user.options) if own.secret_references is None else own.secret_references
    chosen = {name: value for name, value in attrs.asdict(user, recurse=False).items() if name != "ingress_token"}
    return evolve(
        fresh,
        **chosen,
        ingress_token=user.ingress_token or fresh.ingress_token,
        secret_references=references,
        seccomp=own.seccomp,
        pids_limit=own.pids_limit,
        desired=Desired.STARTED if state == "started" else Desired.STOPPED,
    )


def profile_of(documents: Mapping[str, bytes]) -> str | None:
    """The AppArmor profile of a part, or ``None`` where it has none. Raises :class:`~rooftree.Invalid` for no text."""
    try:
        return documents[PROFILE_FILE].decode() if PROFILE_FILE in documents else None
    except UnicodeDecodeError:
        raise Invalid(f"{PROFILE_FILE} of the backup is not text") from None


def offer_of(slug: AddonSlug, config: AddonConfig) -> Offer:
    """An add-on of a backup as if it were on offer, for what the store knows of offers."""
    never = datetime.fromtimestamp(0, UTC)
    return Offer(slug, slug.repository, config, folder="", place="", changed=never, files=frozenset())


def _object(documents: Mapping[str, bytes], name: str) -> Mapping[str, Any]:
    if name not in documents:
        raise Invalid(f"there is no {name}")
    content = orjson.loads(documents[name])
    if not isinstance(content, dict):
        raise Invalid(f"{name} must be an object")
    return content


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    if not isinstance(part, dict):
        raise Invalid(f"{name}: must be an object" + (", and is missing" if part is None else ""))
    return part


def _known(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Of an object, what a record has a place for."""
    return {name: content[name] for name in attrs.fields_dict(kind) if name in content}


def _json(content: object) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)
