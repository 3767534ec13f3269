"""Values: strict conversion of what comes from outside, names that validate themselves, secrets, rates."""

from rooftree.model.conversion import (
    DEEPEST,
    UNSET,
    ParsedString,
    Unset,
    converter,
    describe,
    is_deeper,
    structure,
    unstructure,
)
from rooftree.model.misspelling import did_you_mean, likely_meant
from rooftree.model.printable_text import printable, without_addresses
from rooftree.model.rates import Limit, Meter, Rate, Throttle
from rooftree.model.secret import Secret, SecretLocked, check_key, structure_document, unstructure_document

__all__ = [
    "DEEPEST",
    "UNSET",
    "Limit",
    "Meter",
    "ParsedString",
    "Rate",
    "Secret",
    "SecretLocked",
    "Throttle",
    "Unset",
    "check_key",
    "converter",
    "describe",
    "did_you_mean",
    "is_deeper",
    "likely_meant",
    "printable",
    "structure",
    "structure_document",
    "unstructure",
    "unstructure_document",
    "without_addresses",
]
