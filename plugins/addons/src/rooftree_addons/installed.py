"""What is kept of an installed add-on, and the errors that concern it."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final, Self

import orjson
from attrs import evolve, field, frozen

from rooftree import Failed, Invalid, document
from rooftree_containers import Desired, ImageVersion, UpdateRolledBack
from rooftree_store import (
    AddonConfig,
    AddonSlug,
    Boot,
    Order,
    Startup,
    effective_options,
    is_release_of,
    order,
    parse_addon_config,
    secret_references,
)

_OWN_TYPES: Final = frozenset({"addon", "app"})
"""What the label ``io.hass.type`` says of an add-on's image; that of a base image says ``base``."""

type AddonOptions = dict[str, Any]
"""An add-on's options: which there are, and of what type, says the schema in the add-on's own configuration."""


class AddonNotInstalled(Invalid):
    """The add-on is not installed; 400, as clients expect."""

    error_key = "app_not_installed_error"


class AddonAlreadyInstalled(Invalid):
    """The add-on is installed."""

    error_key = "app_already_installed_error"


class NoUpdateAvailable(Invalid):
    """The store has no other version than the one that is installed."""

    error_key = "app_no_update_available_error"


class AddonNotInStore(Invalid):
    """The add-on is installed, and no repository offers it any more."""

    error_key = "app_not_in_store_error"


class OptionsRefused(Invalid):
    """The options do not fit the add-on's schema. ``extra_fields``: ``app``, ``validation_error``."""

    error_key = "app_configuration_invalid_error"


class AddonNotRunning(Invalid):
    """What was asked for needs the add-on to run; 400, as clients expect."""

    error_key = "app_not_running_error"


class BootCannotChange(Invalid):
    """The add-on's author decided that it is started by hand only."""

    error_key = "app_boot_config_cannot_change_error"


class StdinUnsupported(Invalid):
    """The add-on does not read its standard input."""

    error_key = "app_not_supported_write_stdin_error"


class RebuildVersionChanged(Invalid):
    """The store offers another version than the one installed: that is an update."""

    error_key = "app_rebuild_version_changed_error"


class RebuildImageBased(Invalid):
    """The add-on comes as an image; there is nothing to build."""

    error_key = "app_rebuild_image_based_error"


class ImageDowngraded(Failed):
    """The image under the name of a version says itself that it is an older one. ``extra_fields``: ``image``."""

    status = 400
    error_key = "app_image_downgraded_error"


class DockerfileMissing(Invalid):
    """An add-on that is to be built has no Dockerfile."""

    error_key = "app_build_dockerfile_missing_error"


class AddonUpdateRolledBack(UpdateRolledBack):
    """A new version failed as soon as it was started, and the one before it came back."""

    error_key = "app_update_rolled_back_error"


class Seccomp(enum.StrEnum):
    """Which system calls an add-on's processes may make: those of the engine's own profile, or all."""

    DEFAULT = "default"
    UNCONFINED = "unconfined"


def _with_secret_references(body: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knows who referred to secrets. What stands in older options counts as the user's: nobody knows."""
    return {**body, "secret_references": secret_references(body.get("options") or {})}


@frozen
class InstalledVersion(ImageVersion):
    """What an add-on is, without what its user decided: what a step may keep in the journal, which is no place for
    options and tokens."""

    config_json: str = field(repr=False)
    digest: str | None = None

    @classmethod
    def of(cls, version: ImageVersion) -> Self:
        """The library's word for it; raises ``TypeError`` where that is not one of ours."""
        if not isinstance(version, cls):
            raise TypeError(f"an add-on is more than its version and image: {version}")
        return version


@document("addons.installed", version=2, migrations={1: _with_secret_references})
@frozen(kw_only=True)
class InstalledAddon:
    """An installed add-on: what it is, and what its user decided."""

    slug: AddonSlug
    version: str
    image: str
    """Name and tag of the image it runs as."""
    config_json: str = field(repr=False)
    """The normalised configuration it was installed with, so that it works on when its repository goes."""
    options: AddonOptions = field(factory=dict, repr=False)
    """What the user set; the rest are the configuration's defaults."""
    secret_references: dict[str, str] = field(factory=dict, repr=False)
    """The references to secrets in ``options`` that its user put there, by place: no other is resolved."""
    boot: Boot | None = None
    """The user's choice, or ``None`` for the configuration's."""
    auto_update: bool = False
    watchdog: bool = False
    network: dict[str, int | None] | None = None
    """Host ports by container port as the user set them, or ``None`` for the configuration's."""
    protected: bool = True
    seccomp: Seccomp | None = None
    """The user's choice, or ``None`` for what its configuration asks for."""
    pids_limit: int | None = None
    """How many processes it may have as the user decided, 0 for any number; ``None`` for the usual."""
    ingress_token: str = field(factory=lambda: secrets.token_urlsafe(32), repr=False)
    ingress_panel: bool = False
    ingress_port: int | None = None
    """The port picked for ``ingress_port: 0``. It stays picked while a version names one itself."""
    audio_input: str | None = None
    audio_output: str | None = None
    system_managed: bool = False
    system_managed_config_entry: str | None = None
    desired: Desired = Desired.STOPPED
    digest: str | None = None
    """What its image is known by at its registry, ``sha256:…``; ``None`` for one that was built here."""
    failed_version: str | None = None
    """The version that was rolled back last: it is not installed again unless somebody asks for it."""

    @classmethod
    def fresh(
        cls,
        slug: AddonSlug,
        image: str,
        config: Mapping[str, Any],
        taken_ports: Collection[int],
        digest: str | None = None,
    ) -> Self:
        """An add-on that is being installed; ``config`` is the normalised configuration.

        :param taken_ports: where its page can't be, should it leave this to us
        """
        parsed = _config(orjson.dumps(config).decode())
        return cls(
            slug=slug,
            version=parsed.version,
            image=image,
            digest=digest,
            config_json=orjson.dumps(config).decode(),
            ingress_port=_dynamic_port(parsed, taken_ports),
        )

    def with_version(
        self, image: str, digest: str | None, config: Mapping[str, Any], taken_ports: Collection[int] = ()
    ) -> Self:
        """The same add-on, with its user's choices, in another version.

        :param taken_ports: where its page can't be, should that version be the first to leave this to us
        """
        text = orjson.dumps(config).decode()
        parsed = _config(text)
        port = self.ingress_port or _dynamic_port(parsed, taken_ports)
        return evolve(self, version=parsed.version, image=image, digest=digest, config_json=text, ingress_port=port)

    @property
    def what_it_is(self) -> InstalledVersion:
        """What an update changes of it."""
        return InstalledVersion(self.version, self.image, self.config_json, self.digest)

    def with_version_of(self, other: InstalledVersion) -> Self:
        """The same add-on, with its user's choices, in that version."""
        return evolve(
            self, version=other.version, image=other.image, config_json=other.config_json, digest=other.digest
        )

    def wanting(self, desired: Desired) -> Self:
        """The same add-on, with this desired of it."""
        return evolve(self, desired=desired)

    @property
    def config(self) -> AddonConfig:
        """The configuration it was installed with."""
        return _config(self.config_json)

    @property
    def container(self) -> str:
        """The logical name of its container."""
        return f"app_{self.slug}"

    @property
    def page_port(self) -> int | None:
        """Where its page is in its container; ``None`` where it has none."""
        if not self.config.ingress:
            return None
        return self.ingress_port if self.config.ingress_port == 0 else self.config.ingress_port

    @property
    def hostname(self) -> str:
        """Its name on the add-on network; no longer than a name there may be (RFC 1035)."""
        return self.slug.replace("_", "-")[:63].rstrip("-")

    @property
    def effective_boot(self) -> Boot:
        """Whether it starts with the host."""
        if self.config.boot is Boot.MANUAL_ONLY:
            return Boot.MANUAL
        return self.boot or self.config.boot

    @property
    def starts_with_host(self) -> bool:
        """Whether a fresh boot of the host starts it."""
        return self.effective_boot is Boot.AUTO and self.config.startup is not Startup.ONCE

    @property
    def effective_options(self) -> dict[str, Any]:
        """The configuration's defaults with the user's options laid over them."""
        return effective_options(self.config.options, self.options)

    def with_options(self, options: AddonOptions, *, by_itself: bool) -> Self:
        """The same add-on with these options set.

        :param by_itself: whether the add-on set them. It keeps the references to secrets that its user has put where
            they are, and makes none
        """
        references = secret_references(options)
        if by_itself:
            mine = self.secret_references
            references = {place: words for place, words in references.items() if mine.get(place) == words}
        return evolve(self, options=options, secret_references=references)

    @property
    def ports(self) -> dict[str, int | None] | None:
        """Host ports by container port (``80/tcp``), ``None`` where the configuration names none."""
        if self.config.ports is None:
            return None
        own = dict(self.config.ports)
        return own if self.network is None else {port: self.network.get(port) for port in own}


@lru_cache(maxsize=256)
def _config(text: str) -> AddonConfig:
    return parse_addon_config(orjson.loads(text)).config


def _dynamic_port(config: AddonConfig, taken: Collection[int]) -> int | None:
    """A free port for an add-on that leaves the choice of its ingress port to us (``ingress_port: 0``)."""
    if not config.ingress or config.ingress_port != 0:
        return None
    return next(port for port in range(62000, 65501) if port not in taken)


def refuse_downgraded(image: str, config: Mapping[str, Any], labels: Mapping[str, str]) -> None:
    """Raise :class:`ImageDowngraded` for an image whose own label says that it is older than the version wanted.

    Labels that are no versions, or say a newer one, are their author's affair, and so is one that names the release
    (``1.17.1``) where only the packaging was counted on (``1.17.1-1``). An image inherits the labels of what it was
    built on: those of a base image, or of another add-on, say nothing of this one.

    :param config: the add-on's configuration, as it was written
    """
    own, wanted = labels.get("io.hass.version", ""), str(config["version"])
    is_inherited = labels.get("io.hass.type", "addon") not in _OWN_TYPES or labels.get("io.hass.name") not in {
        None,
        label_text(config["name"]),
    }
    if is_inherited or is_release_of(own, wanted):
        return
    if order(own, wanted) is Order.OLDER:
        raise ImageDowngraded(
            f"The image {image} says that it is version {own}, which is older than {wanted}. It was put there by "
            "mistake, or by somebody who should not; it is not installed. Tell the add-on's author",
            image=image,
        )


def label_text(text: str) -> str:
    """A text of a configuration as image labels have it."""
    return text.replace("'", "")
