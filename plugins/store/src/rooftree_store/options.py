"""The options of an add-on: the check of what a user set, by the schema that the add-on has for it.

Checking reports every finding with its path (``logins[0].password: is required``) and never repeats a value: any of
them may be a secret. Patterns come from strangers, so matching has a budget of time. Better than the
reference, on purpose:

- ``null`` for a key that may be missing counts as missing, so a user can take back a default, and so does an empty text
  where its type does not take one, which is what a form sends of a field that was left empty;
- a nested mapping may be missing when all of its keys may;
- ``schema: false`` hands the options through (the reference drops them);
- a number kept in ``secrets.yaml`` serves a ``str`` or ``password`` option as its text.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from attrs import Factory, define, frozen

from rooftree.errors import Invalid
from rooftree_store.option_places import SECRET_PREFIX
from rooftree_store.options_schema import Element, Kind, ListOf, MapOf, OptionsSchema, Scalar
from rooftree_store.patterns import compiled
from rooftree_store.readers import (
    MAX_FINDINGS,
    Finding,
    Findings,
    Refused,
    flag,
    is_url,
    join,
    refused,
    sentence,
    shown,
)

MATCH_BUDGET_S: Final = 0.2
"""Seconds that all patterns of one check may take together."""

MAX_SHOWN_CHOICES: Final = 30

type SecretLookup = Callable[[str], str | int | float | bool | None]
"""The value of a name in ``secrets.yaml``, or ``None`` for one that is not there. Raises
:class:`SecretsUnreadable` while nobody knows."""


class SecretsUnreadable(Exception):
    """The secrets can't be read, so whether there is such a one is not known."""


class DeviceRefused(Exception):
    """A device that the add-on may not have; the text is why, as the end of a sentence: ``is not for …``."""


class HostDevice(Protocol):
    """A device node of the host, as far as options need it."""

    @property
    def path(self) -> str:
        """Its node, such as ``/dev/ttyUSB0``."""
        ...

    @property
    def by_id(self) -> str | None:
        """Its link below ``/dev/serial/by-id`` or the like, which survives replugging."""
        ...

    @property
    def subsystem(self) -> str | None: ...


class Devices(Protocol):
    """The host's devices."""

    def find(self, path: str) -> HostDevice | None:
        """The device with that node, link or sysfs path; raises :class:`DeviceRefused`."""
        ...

    def of_subsystem(self, subsystem: str | None) -> Iterable[HostDevice]:
        """The devices of a udev subsystem, or all."""
        ...


class NoDevices:
    """A host whose devices are not known."""

    def find(self, path: str) -> HostDevice | None:
        """Never one."""
        return None

    def of_subsystem(self, subsystem: str | None) -> Iterable[HostDevice]:
        """None."""
        return ()


class OptionsInvalid(Invalid):
    """The options do not fit the schema; ``findings`` has everything that is wrong, without any of the values."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__(sentence(findings))
        self.findings = list(findings)


@frozen
class CheckedOptions:
    """Options that fit, and what was seen on the way."""

    options: dict[str, Any]
    warnings: tuple[Finding, ...] = ()
    """Keys that the schema does not know; they were left out."""
    password_hashes: frozenset[str] = frozenset()
    """SHA-1 in upper-case hex of every ``password`` that is not empty, for the look-up of known leaks."""
    devices: tuple[HostDevice, ...] = ()
    """What ``device`` options name, to be opened to the container."""


def validate_options(
    schema: OptionsSchema | None,
    options: Mapping[str, Any],
    *,
    secrets: SecretLookup,
    devices: Devices | None = None,
    granted_secrets: Mapping[str, str] | None = None,
) -> CheckedOptions:
    """Check complete options; without a schema (``schema: false``) they are handed through as they are.

    :param granted_secrets: the references to secrets that may be resolved, by place; every other is refused without a
        look at what it refers to. ``None``: all may be
    """
    if schema is None:
        return CheckedOptions(dict(options))
    check = _Check(secrets, devices or NoDevices(), granted_secrets)
    result = check.mapping(schema.root, options, "")
    if check.findings.noted:
        raise OptionsInvalid(check.findings.noted)
    return CheckedOptions(result, tuple(check.warnings), frozenset(check.password_hashes), tuple(check.devices_used))


def check_value(element: Scalar, value: Any) -> None:
    """Raise ``Refused`` for a value that an option of that type does not take, as far as can be said without a host."""
    _Check(lambda _: None, NoDevices()).scalar(element, value)


def effective_options(defaults: Mapping[str, Any], user_options: Mapping[str, Any]) -> dict[str, Any]:
    """The user's options over the defaults: mappings are merged key by key, everything else is replaced."""
    merged = dict(defaults)
    for name, value in user_options.items():
        default = merged.get(name)
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            merged[name] = effective_options(default, value)
        else:
            merged[name] = value
    return merged


def may_be_missing(element: Element) -> bool:
    """Whether options are complete without a value for it."""
    match element:
        case Scalar():
            return element.optional
        case ListOf():
            return isinstance(element.element, Scalar) and element.element.optional
        case MapOf():
            return False


@define
class _Check:
    """One check of one set of options."""

    secrets: SecretLookup
    devices: Devices
    granted_secrets: Mapping[str, str] | None = None
    findings: Findings = Factory(Findings)
    warnings: list[Finding] = Factory(list)
    password_hashes: set[str] = Factory(set)
    devices_used: list[HostDevice] = Factory(list)
    match_seconds_left: float = MATCH_BUDGET_S

    def mapping(self, element: MapOf, values: Mapping[str, Any], path: str) -> dict[str, Any]:
        result = {}
        for name, inner in element.fields.items():
            value = values.get(name)
            if value is not None and not self.counts_as_missing(inner, value, join(path, name)):
                result[name] = self.element(inner, value, join(path, name))
            elif isinstance(inner, MapOf):
                # What is missing inside is named; nothing is when every key may be missing.
                result[name] = self.mapping(inner, {}, join(path, name))
            elif not may_be_missing(inner):
                self.findings.add(join(path, name), "is required" + (", it must not be null" if name in values else ""))
        unknown = (name for name in values if name not in element.fields)
        self.warnings.extend(
            Finding(join(path, str(name)[:80]), "is not an option of this add-on and was left out")
            for name in islice(unknown, MAX_FINDINGS - len(self.warnings))
        )
        return result

    def counts_as_missing(self, element: Element, value: Any, path: str) -> bool:
        """Whether a value is an empty text that its type does not take, for an option that may be missing."""
        if value != "" or not isinstance(element, Scalar) or not element.optional:
            return False
        try:
            self.scalar(element, value, path)
        except Refused:
            return True
        return False

    def element(self, element: Element, value: Any, path: str) -> Any:
        match element:
            case MapOf():
                if isinstance(value, Mapping):
                    return self.mapping(element, value, path)
                self.findings.add(path, f"must be a mapping, not {_type_name(value)}")
            case ListOf():
                if isinstance(value, list | tuple):
                    return self.elements(element.element, value, path)
                self.findings.add(path, f"must be a list, not {_type_name(value)}")
            case Scalar():
                return self.findings.read(path, lambda given: self.scalar(element, given, path), value)
        return None

    def elements(self, element: Element, values: Sequence[Any], path: str) -> list[Any]:
        items = []
        for index, item in enumerate(values):
            where = f"{path}[{index}]"
            if not self.counts_as_missing(element, item, where):
                items.append(self.element(element, item, where))
            if self.findings.are_enough:
                break
        return items

    def scalar(self, element: Scalar, value: Any, path: str = "") -> Any:
        if not isinstance(value, str | bool | int | float):
            raise refused(f"must be a single value, not {_type_name(value)}")
        if isinstance(value, str) and value.startswith(SECRET_PREFIX):
            if self.granted_secrets is not None and self.granted_secrets.get(path) != value:
                raise refused(
                    "refers to a secret, which neither an add-on nor its author can choose; who looks after the add-on "
                    "can set this option to the same words"
                )
            value = self.secret(value.removeprefix(SECRET_PREFIX).strip(), element.kind)
        match element.kind:
            case Kind.STR | Kind.PASSWORD:
                return self.text(element, value)
            case Kind.BOOL:
                return _boolean(value)
            case Kind.INT:
                return _in_range(element, _whole(value))
            case Kind.FLOAT:
                return _in_range(element, _number(value))
            case Kind.PORT:
                return _port(value)
            case Kind.EMAIL:
                return _email(value)
            case Kind.URL:
                return _url(value)
            case Kind.MATCH:
                return self.matched(element, str(value))
            case Kind.LIST:
                return _chosen(element, value)
            case Kind.DEVICE:
                return self.device(element, value)

    def secret(self, name: str, kind: Kind) -> str | int | float | bool:
        try:
            secret = self.secrets(name)
        except SecretsUnreadable:
            raise refused("refers to a secret, and secrets.yaml can't be read; the problems say why") from None
        if secret is None:
            raise refused("refers to a secret that secrets.yaml does not have")
        if kind in {Kind.STR, Kind.PASSWORD} and not isinstance(secret, bool):
            return str(secret)
        return secret

    def text(self, element: Scalar, value: Any) -> str:
        if not isinstance(value, str):
            raise refused(f"must be text, not {_type_name(value)}; put it in quotes")
        if not _within(element, len(value)):
            raise refused(f"must have {_bounds(element)} characters")
        if element.kind is Kind.PASSWORD and value:
            digest = hashlib.sha1(value.encode(errors="surrogatepass"), usedforsecurity=False)
            self.password_hashes.add(digest.hexdigest().upper())
        return value

    def matched(self, element: Scalar, value: str) -> str:
        pattern = compiled(element.pattern or "")
        if pattern is None:
            raise refused("cannot be checked: the add-on's pattern is not a valid or not an affordable one")
        if self.match_seconds_left <= 0:
            raise refused("cannot be checked: the add-on's patterns take too long on these values")
        began = time.perf_counter()
        try:
            match = pattern.match(value, timeout=self.match_seconds_left, concurrent=True)
        except TimeoutError:
            raise refused("cannot be checked: the add-on's pattern takes too long on this value") from None
        finally:
            self.match_seconds_left -= time.perf_counter() - began
        if match is None:
            raise refused(f"must match the pattern {shown(element.pattern)} from its beginning")
        return value

    def device(self, element: Scalar, value: Any) -> str:
        try:
            device = self.devices.find(value) if isinstance(value, str) else None
        except DeviceRefused as error:
            raise refused(str(error)) from None
        if device is None:
            raise refused("must be a device that this host has")
        if element.subsystem is not None and device.subsystem != element.subsystem:
            raise refused(f"must be a device of the subsystem {element.subsystem}")
        self.devices_used.append(device)
        return str(value)


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def _boolean(value: Any) -> bool:
    try:
        return flag(value)
    except Refused:
        raise refused("must be true or false") from None


def _whole(value: Any) -> int:
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise refused("must be a whole number") from None
    if not -(2**63) <= number < 2**63:
        raise refused("must fit into 64 bits")
    return number


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise refused("must be a number") from None
    if not math.isfinite(number):
        raise refused("must be a finite number")
    return number


def _within(element: Scalar, number: float) -> bool:
    return (element.low is None or number >= element.low) and (element.high is None or number <= element.high)


def _bounds(element: Scalar) -> str:
    low = None if element.low is None else f"{element.low:g}"
    high = None if element.high is None else f"{element.high:g}"
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _in_range[N: (int, float)](element: Scalar, number: N) -> N:
    if not _within(element, number):
        raise refused(f"must be {_bounds(element)}")
    return number


def _port(value: Any) -> int:
    number = _whole(value)
    if not 1 <= number <= 65535:
        raise refused("must be a port, 1 to 65535")
    return number


_EMAIL: Final = re.compile(r"[^\s@]{1,64}@(?:[\w-]{1,63}\.){1,20}[\w-]{2,63}")


def _email(value: Any) -> str:
    if not isinstance(value, str) or _EMAIL.fullmatch(value) is None:
        raise refused("must be an e-mail address with a dotted domain")
    return value


def _url(value: Any) -> str:
    if not isinstance(value, str) or not is_url(value):
        raise refused("must be a URL with scheme and host")
    return value


def _chosen(element: Scalar, value: Any) -> str:
    if str(value) not in element.choices:
        more = ", …" if len(element.choices) > MAX_SHOWN_CHOICES else ""
        kind = "" if isinstance(value, str) else f", as text: it is {_type_name(value)}, so put it in quotes"
        raise refused(f"must be one of {', '.join(element.choices[:MAX_SHOWN_CHOICES])}{more}{kind}")
    return str(value)
