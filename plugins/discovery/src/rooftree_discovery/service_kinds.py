"""The services that this house knows by itself, as data: what their provider has to say of them."""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import frozen

from rooftree import UNSET, Unset, converter
from rooftree.interfaces.hooks import ServiceKind

_MOST_DIGITS: Final = 5


class ServicePort(int):
    """A TCP port. Scripts send it as a text, too."""


def _port(value: Any, _: Any) -> ServicePort:
    is_text = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    if (type(value) is int or is_text) and 1 <= int(value) <= 65535:
        return ServicePort(value)
    raise ValueError("must be a port, a whole number from 1 to 65535")


converter.register_structure_hook(ServicePort, _port)


@frozen(kw_only=True)
class MqttData:
    """How an MQTT broker is reached."""

    host: str
    port: ServicePort
    ssl: bool = False
    username: str | Unset = UNSET
    password: str | Unset = UNSET
    protocol: Literal["3.1", "3.1.1"] = "3.1.1"


@frozen(kw_only=True)
class MysqlData:
    """How a database server that speaks MySQL's protocol is reached."""

    host: str
    port: ServicePort
    username: str | Unset = UNSET
    password: str | Unset = UNSET


KNOWN_KINDS: Final = [ServiceKind("mqtt", MqttData), ServiceKind("mysql", MysqlData)]
