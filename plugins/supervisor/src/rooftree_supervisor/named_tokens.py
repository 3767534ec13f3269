"""Tokens that people make for programs: listed, made and revoked over the API."""

from __future__ import annotations

import asyncio
from typing import Final

from rooftree import Conflict, Kernel, Role, Service
from rooftree_supervisor.models import TokenId, TokenMade, TokenName, TokenRow

_KIND: Final = "token"
"""The kind of named tokens; tokens of other kinds are the affair of who made them."""
_ADMINISTRATOR: Final = "admin"
"""The name of the token that the kernel makes at its first start and keeps in ``admin-token``."""


class NamedTokens:
    """The tokens there are."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._tokens = kernel.tokens
        self._making = asyncio.Lock()

    def listing(self) -> list[TokenRow]:
        """All valid tokens, those of add-ons too; the oldest first."""
        rows = [
            TokenRow(id=token.id, kind=token.kind, name=token.subject, role=token.role, created=token.created)
            for token in self._tokens.known().values()
        ]
        return sorted(rows, key=lambda row: row.created)

    async def make(self, name: TokenName, role: Role) -> TokenMade:
        """Make a token, valid when this returns; raises :class:`Conflict` for a name that is taken."""
        async with self._making:
            if self._tokens.known(_KIND, name):
                raise Conflict(f"There is a token called {name} already; choose another name, or revoke it first")
            made = self._tokens.new(_KIND, str(name), role)
            await self._kernel.commit(made.change)
        token = self._tokens.known(_KIND, name)[made.digest]
        return TokenMade(id=token.id, name=token.subject, role=role, token=made.text)

    async def revoke(self, token_id: TokenId) -> None:
        """End a token at once; raises :class:`NotFound`, or :class:`Conflict` for the administrator's."""
        if any(token.id == token_id for token in self._tokens.known(_KIND, _ADMINISTRATOR).values()):
            raise Conflict(
                "The administrator's token can't be revoked, only replaced: delete the file admin-token in the data "
                "folder and restart Rooftree. It writes a new one, and the old one is no longer valid"
            )
        await self._tokens.revoke(token_id)


NAMED_TOKENS = Service[NamedTokens]("supervisor.named_tokens/1")
