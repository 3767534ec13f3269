"""JSON that is kept as a secret: what add-ons tell of themselves mostly has a password in it."""

from __future__ import annotations

from typing import Any

import orjson

from rooftree import Secret


def sealed(content: object) -> Secret:
    """The content as a secret text; equal content gives equal secrets, in whatever order its keys are."""
    return Secret(orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode())


def opened(secret: Secret) -> Any:
    """The content again; raises :class:`~rooftree.SecretLocked`."""
    return orjson.loads(secret.reveal())
