"""What a job is given by its call in memory alone, such as a password, which the journal must not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar


class CallMemory[Value]:
    """Values by name, that a call's plan and steps look up while the call is under way; after a kill nobody knows them.

    Each call has its own. Another one about the same thing may be planned, wait for its turn, be refused or end
    meanwhile, with another value or with none; one that all calls shared would be overwritten, or forgotten, by it.

    .. code-block:: python

        _PASSWORDS: Final = CallMemory[Secret]("passwords of backups")

        return restore(slug=slug).during(_PASSWORDS.of({slug: password}))

    :param name: says what it holds, for who debugs; make one of each for as long as the process lives
    """

    def __init__(self, name: str) -> None:
        self._values: ContextVar[Mapping[str, Value]] = ContextVar(name)

    @contextmanager
    def of(self, values: Mapping[str, Value]) -> Iterator[None]:
        """Know these, beside what is known, for the length of the block and in all that is begun there."""
        before = self._values.set({**self._values.get({}), **values})
        try:
            yield
        finally:
            self._values.reset(before)

    def get(self, name: str) -> Value | None:
        """One of them; ``None`` where this call was given none."""
        return self._values.get({}).get(name)
