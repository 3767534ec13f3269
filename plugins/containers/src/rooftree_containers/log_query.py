"""What a client may ask of a log: which of its lines, and how they are to look."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from attrs import evolve, frozen

from rooftree import From, Header, Invalid
from rooftree.interfaces.journal import JournalRange, TextFormat

DEFAULT_LINES: Final = 100
"""How many lines a client gets that does not say how many it wants."""

LogFormat = TextFormat
"""How a line is shown: as it was written, with its time, or with its time and who wrote it."""
DEFAULT_FORMAT: Final[LogFormat] = "plain"
"""How add-ons' lines and ours are shown to who asks for nothing else."""


@frozen(kw_only=True)
class LogQuery:
    """Which lines a client wants, and how they are to look."""

    tail: int | None = None
    """Begin so many lines before the end (or before what was written after ``until``), at least one; ``None`` begins
    with the first line there is."""
    cursor: str = ""
    """Begin with the line at this place, which an answer's ``X-First-Cursor`` named; then the rest is counted."""
    since: datetime | None = None
    """Begin with the first line of this time or later; with a negative ``skip``, count from the last one of it or
    before."""
    skip: int = 0
    """Pass over so many lines from there; negative, which it is only with a cursor or ``since``, goes back."""
    until: datetime | None = None
    """End before the first line that is later."""
    count: int | None = None
    """End after so many lines; ``None`` sends all there are (or, when following, come)."""
    format: LogFormat = DEFAULT_FORMAT
    """How each line looks."""
    no_colors: bool = False
    """Without the escape sequences that colour a terminal."""

    @property
    def journal_range(self) -> JournalRange:
        """The same for the system journal; a ``tail`` of 1 has no range there and is read as 2."""
        skip = self.skip if self.tail is None else min(1 - self.tail, -1)
        return JournalRange(cursor=self.cursor, since=self.since, skip=skip, until=self.until, count=self.count)


def asked_in(default: LogFormat) -> Callable[..., LogQuery]:
    """Reads what a client asks for of a log whose lines look like ``default`` where it does not say."""

    def asked(
        lines: int | None = None,
        verbose: bool = False,
        no_colors: bool = False,
        format: LogFormat | None = None,
        accept: Annotated[str | None, Header("Accept")] = None,
        range: Annotated[str | None, Header("Range")] = None,
    ) -> LogQuery:
        look = _format(format, accept, verbose, default)
        if lines is not None or range is None:
            tail = DEFAULT_LINES if lines is None else max(lines, 1)
            return LogQuery(tail=tail, format=look, no_colors=no_colors)
        return evolve(_ranged(range), format=look, no_colors=no_colors)

    return asked


asked_query = asked_in(DEFAULT_FORMAT)
"""What a client of a logs route asks for; raises :class:`Invalid` for a header that can't be met.

``lines`` (at least 1 is sent) is stronger than ``Range``, as with the existing supervisor.
"""


def asked_latest(
    lines: int | None = None,
    verbose: bool = False,
    format: LogFormat | None = None,
    accept: Annotated[str | None, Header("Accept")] = None,
) -> LogQuery:
    """The same for what was written since the last start: all of it unless ``lines`` says less, without colours."""
    tail = None if lines is None else max(lines, 1)
    return LogQuery(tail=tail, format=_format(format, accept, verbose, DEFAULT_FORMAT), no_colors=True)


AskedLog = Annotated[LogQuery, From(asked_query)]
"""The type of a logs route's parameter."""
AskedLatestLog = Annotated[LogQuery, From(asked_latest)]
"""The type of the parameter of a route that shows what was written since the last start."""


def _format(format: LogFormat | None, accept: str | None, verbose: bool, default: LogFormat) -> LogFormat:
    """How lines are to look: as ``format`` says, which newer clients send, or as the older ways of saying it do."""
    older = "verbose" if _wants_verbose(accept) or verbose else default
    return format or older


def _wants_verbose(accept: str | None) -> bool:
    """Whether ``Accept`` names the verbose format; the first type in it that we have decides."""
    if accept is None or not accept.strip():
        return False
    for choice in accept.split(","):
        kind = choice.partition(";")[0].strip().lower()
        if kind == "text/x-log":
            return True
        if kind in {"text/plain", "text/*", "*/*"}:
            return False
    raise Invalid(
        f"Logs are sent as text/plain or text/x-log, not as {accept!r}: ask for one of them in the header Accept"
    )


_SKIP_AND_COUNT: Final = r"(?::(?P<skip>[+-]?\d{0,19}))??(?::(?P<count>\d{0,20}))?"
_RANGE: Final = re.compile(
    r"(?:entries=(?P<cursor>[0-9a-z=;]*)|realtime=(?P<since>[0-9.]{0,40}):(?P<until>[0-9.]{0,40}))" + _SKIP_AND_COUNT,
    re.ASCII,
)
_TIME: Final = re.compile(r"(\d{1,20})(?:\.(\d{0,19}))?", re.ASCII)
_FIRST_US: Final = 10**12
"""From here on a time is in microseconds, as some clients send it: in seconds it would be in the year 33,658."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)


def _ranged(text: str) -> LogQuery:
    """Which lines the header of systemd-journal-gatewayd(8) names: ``entries=cursor[[:skip]:count]``, or
    ``realtime=[since]:[until][[:skip]:count]`` with times in seconds since 1970.

    A negative skip from nowhere counts from the end, or from ``until``: -99 begins with the hundredth line from there,
    and -0 with the last.
    """
    parts = _RANGE.fullmatch(text.replace(" ", ""))
    if parts is None or parts["skip"] in {"+", "-"} or (parts["count"] or "1").strip("0") == "":
        raise Invalid(
            "The header Range must look like entries=:-99:100 (entries=cursor:skip:count) or "
            f"realtime=1767225600:1767229200:100 (realtime=since:until:count, in seconds since 1970), not {text!r}"
        )
    since, until = _time("since", parts["since"]), _time("until", parts["until"])
    if since is not None and until is not None and until < since:
        raise Invalid(f"The header Range says until {until:%F %T} and since {since:%F %T}, which is later: {text!r}")
    skip, count = int(parts["skip"] or 0), int(parts["count"]) if parts["count"] else None
    if (parts["skip"] or "").startswith("-") and not parts["cursor"] and since is None:
        return LogQuery(tail=1 - skip, until=until, count=count)
    return LogQuery(cursor=parts["cursor"] or "", since=since, until=until, skip=skip, count=count)


def _time(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise Invalid(f"The header Range: {name} must be seconds since 1970, such as 1767225600, not {text!r}")
    number = int(parts[1])
    microseconds = number if number >= _FIRST_US else number * 1_000_000 + int((parts[2] or "")[:6].ljust(6, "0"))
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _LATEST
