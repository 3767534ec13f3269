"""Logging: structlog for our own code, the standard library's records through the same door.

``configure`` sets it up once: lines for people or JSON on standard error, and the latest lines in memory for
``/supervisor/logs``. Values that look like secrets are masked before anything is rendered. What belongs to everything
that is logged in a context (plugin, job) is bound with ``structlog.contextvars``.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from math import isfinite
from pathlib import PurePath
from typing import Any, Final, TextIO, override

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rooftree.context import plugin_under_way
from rooftree.model import printable
from rooftree.process import RecentLogs, set_level
from rooftree.settings import LogFormat, LogLevel, looks_secret

MASK: Final = "***"


def configure(level: LogLevel, format: LogFormat, *, stream: TextIO | None = None) -> RecentLogs:
    """Set logging up, in place of any earlier set-up by this function.

    :param format: ``text`` for people (coloured on a terminal) or ``json``, one object a line
    :param stream: instead of standard error
    :return: the latest lines, which from now on are kept; always as text
    """
    stream = stream or sys.stderr
    recent = RecentLogs()
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _ToStream | _ToMemory):
            root.removeHandler(handler)
    render = json_line if format == "json" else coloured_line if stream.isatty() else text_line
    for new, renderer in ((_ToStream(stream), render), (_ToMemory(recent), text_line)):
        new.setFormatter(_formatter(renderer))
        root.addHandler(new)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_plugin,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a later configure() must reach the loggers of modules already imported
    )
    set_level(level)
    return recent


class _ToStream(logging.StreamHandler[TextIO]):
    """Our handler for standard error."""


class _ToMemory(logging.Handler):
    """Our handler for the latest lines."""

    def __init__(self, recent: RecentLogs) -> None:
        super().__init__()
        self._recent = recent

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._recent.append(datetime.fromtimestamp(record.created, UTC), self.format(record))
        except Exception:  # as every handler of the standard library does
            self.handleError(record)


def _formatter(render: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, _add_plugin],
        processors=[
            _add_facts_of_record,
            structlog.processors.format_exc_info,  # without the values of local variables, which may be secrets
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            redact,
            render,
        ],
    )


def _add_plugin(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Whose code runs. A variable of its own, and not structlog's binding, because it is set for each request."""
    plugin = plugin_under_way.get()
    if plugin is not None:
        event.setdefault("plugin", plugin)
    return event


def _add_facts_of_record(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    event["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    event["level"] = record.levelname.lower()
    event["logger"] = record.name
    return event


# --- masking ------------------------------------------------------------------------------------------------------

_IN_URL = re.compile(r"(?<=://)(?!git@)[^/\s@'\"]++(?=@)")
_IN_TEXT = re.compile(
    r"""(?<![\w-])(?P<key>[\w-]++)(?P<sign>=|["']\s*:\s*|:\s*(?=(?:Bearer|Basic)\s))"""
    r"""(?P<value>"[^"]*"|'[^']*'|(?:Bearer\s+|Basic\s+)?[^\s"'&,;)}\]]+)"""
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}")


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what looks secret: values by their key, and credentials inside texts (URLs, queries, headers)."""
    return {key: _redacted(value, key) for key, value in event.items()}


def _redacted(value: Any, key: str = "") -> Any:
    if value is None or isinstance(value, bool):
        return value
    if key and looks_secret(key):
        return MASK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {name: _redacted(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner) for inner in value]
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return redact_text(_represented(value))


def redact_text(text: str) -> str:
    """``text`` without credentials: ``https://user:pass@host``, ``?token=…``, ``"password": "…"``, ``Bearer …``."""
    if "@" in text:
        text = _IN_URL.sub(MASK, text)
    if "=" in text or ":" in text:
        text = _IN_TEXT.sub(_masked_pair, text)
    return _BEARER.sub(rf"\1 {MASK}", text)


def _masked_pair(match: re.Match[str]) -> str:
    if not looks_secret(match["key"]):
        return match[0]
    quote = match["value"][0] if match["value"][0] in "\"'" else ""
    return f"{match['key']}{match['sign']}{quote}{MASK}{quote}"


def _represented(value: object) -> str:
    try:
        return str(value) if isinstance(value, PurePath | date | timedelta) else repr(value)
    except Exception as error:  # a broken __repr__ must not cost the line
        return f"<{type(value).__name__}: its repr failed with {type(error).__name__}>"


# --- rendering ----------------------------------------------------------------------------------------------------

_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
_GREEN, _YELLOW, _RED, _BOLD_RED = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1;31m"
_COLOURS = {"debug": _DIM, "info": _GREEN, "warning": _YELLOW, "error": _RED, "critical": _BOLD_RED}
_IN_FRONT = ("timestamp", "level", "logger", "event")
_BELOW = ("exception", "stack")


def text_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """``2026-01-31 09:00:00.123 info    rooftree.jobs: job_started job=… slug=…``, a traceback indented below."""
    return _text(event, lambda text, _: text)


def coloured_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """The same for a terminal."""
    return _text(event, lambda text, colour: f"{colour}{text}{_PLAIN}")


def json_line(_: WrappedLogger, __: str, event: EventDict) -> str:
    """One JSON object: timestamp, level, logger, event, then what was given."""
    return json.dumps({key: event[key] for key in _IN_FRONT if key in event} | dict(event), default=_represented)


def _text(event: EventDict, paint: Callable[[str, str], str]) -> str:
    level = str(event["level"])
    head = " ".join(
        (
            paint(str(event["timestamp"]).replace("T", " ").removesuffix("+00:00"), _DIM),
            paint(f"{level:<8}", _COLOURS.get(level, "")),
            paint(f"{event['logger']}:", _DIM),
            paint(printable(str(event.get("event", ""))), _BOLD),
        )
    )
    pairs = [
        f"{paint(printable(key), _DIM)}={_shown(value)}"
        for key, value in event.items()
        if key not in _IN_FRONT and key not in _BELOW
    ]
    below = [str(event[key]) for key in _BELOW if event.get(key)]
    return "\n".join((" ".join((head, *pairs)), *_indented(below)))


def _indented(texts: Iterable[str]) -> list[str]:
    return [f"    {printable(line)}" for text in texts for line in text.splitlines()]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value if value.isprintable() and value and not set(value) & set(" \"'=") else _represented(value)
    return printable(_represented(value))
