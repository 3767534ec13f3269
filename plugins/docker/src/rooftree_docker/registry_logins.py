"""Logins at image registries, stored through the API and used for pulls and builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, override

from attrs import frozen

from rooftree import Collection, FreeText, Invalid, Kernel, NotFound, Problem, Secret, SecretLocked, document, structure
from rooftree_docker.image_reference import DOCKER_HUB, AuthInfo

LEGACY_HUB = "hub.docker.com"
"""Docker Hub, as older clients call it."""
LOCKED = "registry_login_locked"


class RegistryHost(FreeText):
    """The host name of a registry, as it stands in front of an image's name."""

    pattern = r"(localhost|[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+)(:[0-9]{1,5})?"
    allowed = "the host name of a registry in lower case, such as ghcr.io or registry.example.com:5000"

    @override
    @classmethod
    def check(cls, text: str) -> None:
        super().check(text)
        _, _, port = text.partition(":")
        if port and not 0 < int(port) < 65536:
            raise ValueError(f"must have a port from 1 to 65535, not {port}")


@document("docker.registry_login", version=1)
@frozen
class StoredLogin:
    """A login, by the registry's host name."""

    username: str
    password: Secret


@frozen
class NewLogin:
    """A login as a client hands it over."""

    username: str
    password: Secret


class RegistryLogins:
    """The logins there are."""

    def __init__(self, kernel: Kernel, stored: Collection[StoredLogin]) -> None:
        self._kernel = kernel
        self._stored = stored
        self._report_locked()

    @property
    def usernames(self) -> dict[str, str]:
        """Who logs in, by host name."""
        return {host: login.username for host, login in self._stored.items()}

    def login_for(self, registry: str) -> AuthInfo | None:
        """The login for the registry with that host name; ``docker.io`` is Docker Hub. ``None`` for one whose password
        is locked: without it the registry may still give what is public."""
        login = self._stored.get(registry)
        if login is None and registry == DOCKER_HUB:
            login = self._stored.get(LEGACY_HUB)
        if login is None:
            return None
        try:
            return AuthInfo(login.username, login.password.reveal())
        except SecretLocked:
            return None

    async def store(self, logins: dict[RegistryHost, NewLogin]) -> None:
        """Keep logins, in place of those that there were for the same registries; all or none."""
        if not logins:
            raise Invalid('Send at least one login, as {"registry.example.com": {"username": …, "password": …}}')
        for host, login in logins.items():
            if not login.username or not login.password.reveal():
                raise Invalid(f"{host}: username and password must not be empty")
        await self._kernel.commit(
            *(
                self._stored.put(str(host), StoredLogin(login.username, login.password))
                for host, login in logins.items()
            )
        )
        self._report_locked()

    # --- in backups ---------------------------------------------------------------------------------------------------

    document: Final = "docker.json"
    """What the file is called that they are in."""

    @property
    def has_settings(self) -> bool:
        """Whether there are any."""
        return bool(self._stored)

    def export(self) -> Mapping[str, Any]:
        """All of them with their passwords in the clear, as the existing supervisor has them. Raises
        ``SecretLocked``."""
        logins = self._stored.items()
        return {
            "registries": {
                host: {"username": login.username, "password": login.password.reveal()} for host, login in logins
            }
        }

    async def restore(self, records: Mapping[str, Any]) -> tuple[str, ...]:
        """Take over logins that were exported, in place of those for the same registries."""
        registries = records.get("registries")
        logins, left_out = dict[RegistryHost, NewLogin](), list[str]()
        for host, login in registries.items() if isinstance(registries, Mapping) else ():
            try:
                logins[structure(host, RegistryHost)] = structure(login, NewLogin)
            except Invalid as error:
                left_out.append(f"The login at {host} can't be taken over: {error.message}")
        if logins:
            await self.store(logins)
        return tuple(left_out)

    async def forget(self, host: RegistryHost) -> None:
        """Forget a login; raises ``NotFound``."""
        if host not in self._stored:
            known = ", ".join(self._stored) or "none"
            raise NotFound(f"There is no login for {host}; there are logins for: {known}")
        await self._kernel.commit(self._stored.delete(host))
        self._report_locked()

    def _report_locked(self) -> None:
        locked = [host for host, login in self._stored.items() if login.password.is_locked]
        if not locked:
            self._kernel.problems.clear(LOCKED)
            return
        self._kernel.problems.report(
            Problem(
                LOCKED,
                message=f"The passwords for {', '.join(locked)} cannot be read: they were sealed with a key that is "
                "not here. Give the service its key again, or store the logins once more",
                suggestions=("registry_login",),
            )
        )
