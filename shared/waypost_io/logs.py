"""Structured logs: one JSON object per line, or coloured lines on a terminal. Everything goes to standard error.

Modules log with `structlog.get_logger()`: a constant message, data in fields, no payloads above DEBUG. What libraries log through
`logging` comes out the same way, from WARNING up. Credentials in URLs are masked, and so is every secret that the process knows.

A line about a run has `run_id`, `agent` and, about one step of it, `step`; `trace_id` is added here, because it follows from the run id.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TextIO, cast

import msgspec
import structlog

from waypost_io.known_secrets import KNOWN
from waypost_io.redaction import redact
from waypost_proto.errors import Misconfigured

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
Format = Literal["auto", "json", "console"]

_HEAD = ("timestamp", "level", "service", "event")
_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure(service: str, *, environment: Mapping[str, str] | None = None, stream: TextIO | None = None) -> None:
    """Set logging up for this process; every line carries `service`. Call once, at start; calling again replaces the set-up.

    Reads `WAYPOST_LOG_LEVEL` (debug, info, warning, error; default info) and `WAYPOST_LOG_FORMAT` (auto, json, console; auto: console
    on a terminal). Raises `Misconfigured`.
    """
    source = os.environ if environment is None else environment
    level = _choice(source, "WAYPOST_LOG_LEVEL", "info", tuple(LEVELS))
    style = _choice(source, "WAYPOST_LOG_FORMAT", "auto", ("auto", "json", "console"))
    out = guarded(stream or sys.stderr)
    console = style == "console" or (style == "auto" and out.isatty())

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _adding(service),
    ]
    renderer: list[structlog.typing.Processor] = (
        [_mask, structlog.dev.ConsoleRenderer(colors=out.isatty())]
        if console
        else [structlog.processors.format_exc_info, _mask, structlog.processors.JSONRenderer(serializer=_dumps)]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    FastLog.direct = None if console or LEVELS[level] > logging.INFO else _Direct(out, service)
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_drop_record, *renderer], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))


class AboutRun:
    """Binds `run_id`, `agent` and `step` to the context, as `structlog.contextvars` does, at a tenth of its time: one for each local step.

    Use as a context manager around what takes a copy of the context (the start of a task).
    """

    __slots__ = ("_agent", "_run_id", "_step", "_tokens")

    _variables: ClassVar[tuple[ContextVar[Any], ContextVar[Any], ContextVar[Any]]]

    def __init__(self, run_id: str, agent: str, step: str) -> None:
        self._run_id, self._agent, self._step = run_id, agent, step

    def __enter__(self) -> None:
        run_id, agent, step = AboutRun._variables
        self._tokens = run_id.set(self._run_id), agent.set(self._agent), step.set(self._step)

    def __exit__(self, *exc: object) -> None:
        for variable, token in zip(AboutRun._variables, self._tokens, strict=True):
            variable.reset(token)


def _variables() -> tuple[ContextVar[Any], ContextVar[Any], ContextVar[Any]]:
    """The variables in which structlog keeps these fields: a token of `bind_contextvars` says whose it is."""
    tokens = structlog.contextvars.bind_contextvars(run_id="", agent="", step="")
    structlog.contextvars.reset_contextvars(**tokens)
    return tokens["run_id"].var, tokens["agent"].var, tokens["step"].var


AboutRun._variables = _variables()


class FastLog:
    """`info` for lines that come thousands of times a second: the same line as structlog's, at a quarter of its time.

    What is bound to the context is left out. Where logging is not JSON, or is not configured by `configure`, structlog writes the line.
    """

    direct: ClassVar[_Direct | None] = None

    def info(self, event: str, **fields: object) -> None:
        """Write a line. `event` is constant; `fields` hold text, numbers and None."""
        direct = FastLog.direct
        if direct is not None and structlog.is_configured():
            direct.write(event, fields)
        else:
            structlog.get_logger().info(event, **fields)


class _Direct:
    """Writes JSON lines of level info without processors."""

    def __init__(self, out: TextIO, service: str) -> None:
        self._out = out
        self._service = service

    def write(self, event: str, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        line: dict[str, Any] = {"timestamp": f"{now[:-6]}Z", "level": "info", "service": self._service, "event": event, **fields}
        _add_trace(None, "info", line)
        _mask(None, "info", line)
        self._out.write(_encoder.encode(line).decode() + "\n")


class _Guarded:
    """A text stream that hides known secrets in everything that is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(KNOWN.hide(text) if KNOWN else text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guarded(stream: TextIO) -> TextIO:
    """`stream`, with what `known_secrets.KNOWN` holds hidden. Guarding twice is harmless."""
    return stream if isinstance(stream, _Guarded) else cast("TextIO", _Guarded(stream))


def _choice(source: Mapping[str, str], variable: str, default: str, allowed: tuple[str, ...]) -> str:
    value = source.get(variable, "").strip().lower() or default
    if value not in allowed:
        raise Misconfigured(f"{variable}={value!r}: use one of {', '.join(allowed)}")
    return value


def _adding(service: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _add_trace(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The trace of the run that a line is about: its id's 32 hex digits."""
    run_id = event.get("run_id")
    if isinstance(run_id, str) and len(run_id) == 36 and "trace_id" not in event:
        event["trace_id"] = run_id.replace("-", "")
    return event


def _drop_record(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def _mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            if "://" in value:
                event[key] = redact(value)
        elif isinstance(value, BaseException):
            event[key] = redact(f"{type(value).__name__}: {value}")
    return event


def _dumps(event: dict[str, Any], **_: Any) -> str:
    head = {key: event.pop(key) for key in _HEAD if key in event}  # what people look for first
    return _encoder.encode(head | event).decode()
