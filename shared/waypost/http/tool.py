"""`http_tool`: a tool that is one HTTP request, declared instead of programmed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack

from waypost.http.action import HttpAction, LookUp
from waypost.http.connections import connections_of
from waypost.http.egress import Egress
from waypost.http.meaning import Says, check_statuses
from waypost.http.plan import JSON_TYPE, REST, Layout, TemplatePlan, Value
from waypost.http.results import Reading
from waypost.http.sending import Limits
from waypost.options import Retry, Seconds, seconds_of
from waypost.outside_tools import NoArguments, OutsideTool, Shape, arguments_of, calling_module
from waypost.schemas import Schema
from waypost.tools import DEFAULT_CONCURRENCY, DEFAULT_TIMEOUT_SECONDS, EffectName, ToolPolicy
from waypost_proto.errors import BadInput
from waypost_proto.ids import check_name
from waypost_proto.limits import MAX_PAYLOAD_BYTES
from waypost_proto.values import Effect

IDEMPOTENCY_HEADER = "Idempotency-Key"
DEFAULT_MAX_BYTES = 1024 * 1024
CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLookUp:
    """How to ask by a GET whether an unsafe call took effect: `url` and `headers` are templates like those of the tool.

    A 2xx answer is the tool's result (`pick="items.0"` takes a part of it; an empty list there means that it did not take place). A status
    in `absent` says that it surely did not. Anything else does not tell, and is asked again later.
    """

    url: str
    headers: Mapping[str, Value] | None = None
    absent: Collection[int] = (404,)
    pick: str = ""


class HttpOptions(TypedDict, total=False):
    """What `http_tool` takes besides the request itself; all optional."""

    args: Any
    """A Struct, dataclass or TypedDict, or a JSON Schema as a dict; without it the tool takes no arguments."""
    result: Any
    """The result's type, or its JSON Schema as a dict; anything by default. `bytes` arrives as Base64."""
    description: str
    headers: Mapping[str, Value]
    query: Mapping[str, Value]
    body: object
    """The body, with `{argument}` in its texts; by default a JSON object of the arguments that stand nowhere else; None: no body."""
    content_type: str
    idempotency_header: str | None
    statuses: Mapping[int, Says]
    egress: Egress
    max_bytes: int
    retry: Retry
    timeout: Seconds
    connect_timeout: Seconds
    concurrency: int
    reconcile: HttpLookUp | Callable[..., Any]


_KNOWN = frozenset(HttpOptions.__annotations__)


def http_tool(name: str, method: str, url: str, *, effect: EffectName | Effect, **options: Unpack[HttpOptions]) -> OutsideTool:
    """A tool that is one HTTP request. Nothing is connected or resolved before it is called.

        transfer = http_tool(
            "transfer", "POST", "https://bank.example/v1/accounts/{account}/transfers",
            effect="unsafe", args=Transfer, result=Receipt,
            headers={"Authorization": Secret("bank-token", "Bearer {}")},
            reconcile=HttpLookUp("https://bank.example/v1/transfers/{ctx.idempotency_key}"),
        )

    Calls of idempotent and unsafe tools carry `Idempotency-Key`. What answers mean is told in `waypost.http.meaning`, `statuses` changes
    it. Raises `BadInput` or `TypeError` for what could never make a request.
    """
    what = f"tool {name!r}"
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise TypeError(f"{what}: http_tool has no option {unknown[0]!r}; there is {', '.join(sorted(_KNOWN))}")
    kind = effect_of(what, effect)
    arguments = arguments_of(what, options.get("args", NoArguments))
    given = options.get("egress", Egress())
    layout = Layout(
        method=method,
        url=url,
        headers=options.get("headers") or {},
        query=options.get("query") or {},
        body=options.get("body", REST),
        content_type=options.get("content_type", JSON_TYPE),
        idempotency_header=options.get("idempotency_header", IDEMPOTENCY_HEADER) if kind is not Effect.READ else None,
    )
    plan = TemplatePlan(what, layout, arguments.names, any_host=bool(given.hosts))
    action = HttpAction(
        plan=plan,
        reading=_reading(what, options),
        limits=_limits(what, options, given),
        connections=connections_of(_with_own_port(given, plan)),
    )
    shape = Shape(
        description=options.get("description", ""),
        arguments=arguments,
        returns=Any if action.reading.schema is not None else action.reading.returns,
        result_schema=action.reading.schema,
    )
    policy = ToolPolicy(
        effect=kind,
        retry=options.get("retry") or Retry(),
        timeout_seconds=action.limits.seconds,
        concurrency=_at_least_one(what, "concurrency", options.get("concurrency", DEFAULT_CONCURRENCY)),
        reconcile=_reconcile(what, kind, action, arguments.names, options),
    )
    return OutsideTool(check_name("tool", name), policy, action, shape, module=calling_module())


def effect_of(what: str, effect: EffectName | Effect) -> Effect:
    """Raises `TypeError` for what is no effect."""
    if effect not in tuple(Effect):
        raise TypeError(f"{what}: effect={effect!r}: use 'read', 'idempotent' or 'unsafe'")
    return Effect(effect)


def _reading(what: str, options: HttpOptions) -> Reading:
    result = options.get("result", Any)
    statuses = check_statuses(options.get("statuses") or {})
    if isinstance(result, Mapping):
        schema = Schema(f"{what}: result", result)
        schema.check()
        return Reading(schema=schema, statuses=statuses)
    return Reading(returns=result, statuses=statuses)


def _limits(what: str, options: HttpOptions, egress: Egress) -> Limits:
    seconds = seconds_of(f"{what}: timeout", options.get("timeout", DEFAULT_TIMEOUT_SECONDS))
    connect = seconds_of(f"{what}: connect_timeout", options.get("connect_timeout", min(CONNECT_SECONDS, seconds / 2)))
    max_bytes = _at_least_one(what, "max_bytes", options.get("max_bytes", DEFAULT_MAX_BYTES))
    if max_bytes > MAX_PAYLOAD_BYTES:
        raise BadInput(f"{what}: max_bytes={max_bytes}: a result is at most {MAX_PAYLOAD_BYTES} bytes")
    return Limits(seconds, min(connect, seconds), max_bytes, egress.redirects)


def _at_least_one(what: str, name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadInput(f"{what}: {name}={value!r}: a whole number, at least 1")
    return value


def _with_own_port(egress: Egress, plan: TemplatePlan) -> Egress:
    """The port that the author wrote into the URL is open: it is as much their word as `ports=` is."""
    target = plan.fixed_target
    if target is None or target.port in egress.ports:
        return egress
    return replace(egress, ports=(*egress.ports, target.port))


def _reconcile(
    what: str, effect: Effect, action: HttpAction, known: tuple[str, ...] | None, options: HttpOptions
) -> Callable[..., Any] | None:
    given = options.get("reconcile")
    if given is None:
        return None
    if effect is not Effect.UNSAFE:
        raise TypeError(f"{what}: reconcile= is for unsafe tools: one with effect={effect.value!r} is simply run again")
    if not isinstance(given, HttpLookUp):
        return given
    layout = Layout(method="GET", url=given.url, headers=given.headers or options.get("headers") or {}, query={}, body=None)
    plan = TemplatePlan(f"{what}: reconcile", layout, known, any_host=bool(action.connections.egress.hosts))
    return LookUp(
        plan=plan,
        reading=action.reading,
        limits=action.limits,
        connections=connections_of(_with_own_port(action.connections.egress, plan)),
        absent=tuple(given.absent),
        pick=tuple(given.pick.split(".")) if given.pick else (),
    ).hook()


__all__ = ["HttpLookUp", "HttpOptions", "effect_of", "http_tool"]
