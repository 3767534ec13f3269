"""Where our verdicts differ from the reference's on purpose, and why; the table is shown in ``docs/access.md``.

``test_access_matrix.py`` fails for a difference that is not listed here, and for one that is and is none any more.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from attrs import frozen


@frozen
class Difference:
    """One reason for differing verdicts."""

    route: str
    """Method and path, with ``*`` for anything."""
    callers: tuple[str, ...]
    reference: str
    """The reference's verdict."""
    here: str
    """Ours."""
    why: str

    def covers(self, method: str, path: str, caller: str, reference: str, here: str) -> bool:
        """Whether it explains why these two verdicts differ."""
        return (
            fnmatchcase(f"{method} {path}", self.route)
            and caller in self.callers
            and (reference, here) == (self.reference, self.here)
        )


_ROLELESS = ("addon-no-api", "default", "homeassistant", "backup")

DIFFERENCES = (
    Difference(
        "* /addons/self/*/*",
        _ROLELESS,
        "403",
        "ok",
        "One rule for all of `self`, however deep: an add-on may read its own logs and check its own options. The "
        "ecosystem's documents assume it",
    ),
    Difference(
        "* /addons/self/*",
        ("cli", "core"),
        "ok",
        "400",
        "`self` is the add-on that calls, and this is none. The reference says so too, with 400, but behind its gate",
    ),
    Difference(
        "* /addons/self/*",
        ("observer",),
        "403",
        "400",
        "The same: what is wrong is the word `self`, and it is said before roles are asked",
    ),
    Difference("GET /addons/self/info", ("observer",), "ok", "400", "The same; behind its gate the reference says 400"),
    Difference(
        "POST /addons/self/install",
        _ROLELESS,
        "ok",
        "403",
        "An add-on that calls is installed. Behind its gate the reference answers 404",
    ),
    Difference(
        "POST /addons/self/update",
        ("manager", "admin"),
        "ok",
        "403",
        "An add-on updates others only. Behind its gate the reference refuses it as well",
    ),
    Difference(
        "POST /addons/self/security",
        ("admin",),
        "ok",
        "403",
        "Protection is the user's switch, and the role is the add-on author's choice: the one must not lift the other",
    ),
    Difference(
        "GET /addons/{addon}/options/config",
        ("manager", "admin", "cli", "core"),
        "ok",
        "403",
        "Rendered options hold secrets and are for the add-on itself. Behind its gate the reference refuses as well",
    ),
    Difference(
        "* /auth",
        (*_ROLELESS, "manager", "admin", "cli", "core"),
        "ok",
        "403",
        "Only an add-on that declares `auth_api` may ask about logins, and those of the table do not. Behind its gate "
        "the reference refuses as well",
    ),
    Difference(
        "GET /discovery*",
        (*_ROLELESS, "manager", "admin", "cli"),
        "ok",
        "403",
        "Messages are for Core and have passwords in them. Behind its gate the reference refuses as well, with 401",
    ),
    Difference(
        "* /discovery*",
        ("cli", "core"),
        "ok",
        "403",
        "Add-ons announce, and withdraw what they have announced. Behind its gate the reference fails with 500",
    ),
    Difference(
        "POST /ingress/*",
        ("admin", "cli"),
        "ok",
        "403",
        "Who has a session is any user whom Core names. Behind its gate the reference refuses as well, with 401",
    ),
    Difference(
        "* /services/*",
        ("cli", "core"),
        "ok",
        "403",
        "A service is between the add-ons that name it. Behind its gate the reference fails with 500",
    ),
    Difference(
        "* /core/api",
        ("anonymous",),
        "open",
        "401",
        "Who may talk to Core is asked at the door, as for every other route: an add-on with `homeassistant_api`, and "
        "nobody else. The reference asks behind its gate, and refuses with 401",
    ),
    Difference(
        "* /core/api",
        ("unknown", *_ROLELESS, "manager", "admin", "observer", "cli", "core"),
        "open",
        "403",
        "The same. Roles do not count: none of these callers has `homeassistant_api`",
    ),
)
