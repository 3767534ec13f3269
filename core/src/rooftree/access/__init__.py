"""Who may call what, whom a token stands for, and those who try with wrong ones."""

from rooftree.access.change_rate import ChangeRate
from rooftree.access.rules import KNOWN, NOBODY, PUBLIC, Access, SessionCookie, grant, itself, of_kind, role, session
from rooftree.access.tokens import Token, Tokens, digest
from rooftree.access.whereabouts import Misplaced, TokenUsedElsewhere, Whereabouts
from rooftree.access.wrong_tokens import WrongTokens, source_name

__all__ = [
    "KNOWN",
    "NOBODY",
    "PUBLIC",
    "Access",
    "ChangeRate",
    "Misplaced",
    "SessionCookie",
    "Token",
    "TokenUsedElsewhere",
    "Tokens",
    "Whereabouts",
    "WrongTokens",
    "digest",
    "grant",
    "itself",
    "of_kind",
    "role",
    "session",
    "source_name",
]
