"""`http_tool`: a tool that is one HTTP request, declared instead of programmed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Unpack

from waypost.http.action import HttpAction, LookUp
from waypost.http.connections import connections_of
from waypost.http.egress import Egress
from waypost.http.meaning import Says, check_statuses
from waypost.http.plan import JSON_TYPE, REST, Layout, TemplatePlan, Value
from waypost.http.results import Reading
from waypost.http.secrets import Secret
from waypost.http.sending import Limits
from waypost.options import Seconds, seconds_of
from waypost.outside_policy import DEFAULT_MAX_BYTES, PolicyOptions, effect_of, policy_of, policy_options
from waypost.outside_tools import NoArguments, OutsideTool, Shape, arguments_of, calling_module
from waypost.schemas import Schema
from waypost.tools import EffectName
from waypost_proto.ids import check_name
from waypost_proto.values import Effect

IDEMPOTENCY_HEADER = "Idempotency-Key"
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


class HttpOptions(PolicyOptions, total=False):
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
    connect_timeout: Seconds
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
    base = policy_of(what, kind, policy_options(options), secrets=_secrets_of(layout))
    action = HttpAction(
        plan=plan,
        reading=_reading(what, options),
        limits=_limits(what, options, base.timeout_seconds, given),
        connections=connections_of(_with_own_port(given, plan)),
    )
    shape = Shape(
        description=options.get("description", ""),
        arguments=arguments,
        returns=Any if action.reading.schema is not None else action.reading.returns,
        result_schema=action.reading.schema,
    )
    hook = _reconcile(what, action, arguments.names, options)
    policy = policy_of(what, kind, policy_options(options), reconcile=hook, secrets=base.secrets)
    return OutsideTool(check_name("tool", name), policy, action, shape, module=calling_module())


def _secrets_of(layout: Layout) -> list[str]:
    return [value.name for value in (*layout.headers.values(), *layout.query.values()) if isinstance(value, Secret)]


def _reading(what: str, options: HttpOptions) -> Reading:
    result = options.get("result", Any)
    statuses = check_statuses(options.get("statuses") or {})
    if isinstance(result, Mapping):
        schema = Schema(f"{what}: result", result)
        schema.check()
        return Reading(schema=schema, statuses=statuses)
    return Reading(returns=result, statuses=statuses)


def _limits(what: str, options: HttpOptions, seconds: float, egress: Egress) -> Limits:
    connect = seconds_of(f"{what}: connect_timeout", options.get("connect_timeout", min(CONNECT_SECONDS, seconds / 2)))
    return Limits(seconds, min(connect, seconds), options.get("max_bytes", DEFAULT_MAX_BYTES), egress.redirects)


def _with_own_port(egress: Egress, plan: TemplatePlan) -> Egress:
    """The port that the author wrote into the URL is open: it is as much their word as `ports=` is."""
    target = plan.fixed_target
    if target is None or target.port in egress.ports:
        return egress
    return replace(egress, ports=(*egress.ports, target.port))


def _reconcile(what: str, action: HttpAction, known: tuple[str, ...] | None, options: HttpOptions) -> Callable[..., Any] | None:
    given = options.get("reconcile")
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


__all__ = ["HttpLookUp", "HttpOptions", "http_tool"]
