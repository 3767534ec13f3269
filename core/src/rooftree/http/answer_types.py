"""Whether an answer is of the type that its handler declares: who forgets a ``return`` is told, and not its clients."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAliasType, Union, get_args, get_origin, is_typeddict

type Check = Callable[[object], bool]


def check_of(kind: Any) -> Check:
    """What tells whether a value is of a type, as far as its outermost class goes; what is inside is looked at by who
    encodes it."""
    if isinstance(kind, TypeAliasType):
        return check_of(kind.__value__)
    if kind is None or kind is NoneType:
        return lambda answer: answer is None
    origin = get_origin(kind)
    if origin is Annotated:
        return check_of(get_args(kind)[0])
    if origin in {Union, UnionType}:
        checks = [check_of(member) for member in get_args(kind)]
        return lambda answer: any(check(answer) for check in checks)
    if origin is Literal:
        return lambda answer: answer in get_args(kind)
    if is_typeddict(kind):
        return lambda answer: isinstance(answer, dict)
    if isinstance(origin, TypeAliasType):
        return check_of(origin.__value__)
    wanted = origin or kind
    if wanted is Any or not isinstance(wanted, type) or getattr(wanted, "_is_protocol", False):
        return lambda _: True
    accepted = (float, int) if wanted is float else wanted
    return lambda answer: isinstance(answer, accepted)
