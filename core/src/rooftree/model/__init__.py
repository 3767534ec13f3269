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
from rooftree.model.printable_text import ColouredText, printable, printable_json, printable_lines, without_addresses
from rooftree.model.rates import Limit, Meter, Rate, Throttle
from rooftree.model.secret import Secret, SecretLocked, check_key, structure_document, unstructure_document

__all__ = [
    "DEEPEST",
    "UNSET",
    "ColouredText",
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
    "is_deeper",
    "printable",
    "printable_json",
    "printable_lines",
    "structure",
    "structure_document",
    "unstructure",
    "unstructure_document",
    "without_addresses",
]
