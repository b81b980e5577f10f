"""`openapi_tools`: the operations of an OpenAPI document as tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack, cast
from urllib.parse import quote

from waypost.http.action import HttpAction, LookUp
from waypost.http.connections import connections_of
from waypost.http.egress import Egress
from waypost.http.hosts import EgressRefused
from waypost.http.meaning import Says, check_statuses
from waypost.http.plan import Layout, TemplatePlan, header_name
from waypost.http.results import Reading
from waypost.http.secrets import Secret
from waypost.http.sending import Limits
from waypost.http.tool import CONNECT_SECONDS, IDEMPOTENCY_HEADER, HttpLookUp
from waypost.openapi.document import BadDocument, Document, load
from waypost.openapi.naming import tool_name
from waypost.openapi.operations import Operation, operations_of, read_operation
from waypost.openapi.plan import OperationPlan
from waypost.openapi.security import credentials_of
from waypost.outside_policy import DEFAULT_MAX_BYTES, PolicyOptions, effect_of, policy_of, policy_options
from waypost.outside_tools import OutsideTool, SchemaArguments, Shape, ToolSet, calling_module
from waypost.schemas import Schema
from waypost.tools import EffectName
from waypost_proto.errors import BadInput
from waypost_proto.ids import check_name
from waypost_proto.values import Effect

DEFAULT_EFFECTS = {
    "GET": Effect.READ,
    "HEAD": Effect.READ,
    "PUT": Effect.IDEMPOTENT,
    "DELETE": Effect.IDEMPOTENT,
    "POST": Effect.UNSAFE,
    "PATCH": Effect.UNSAFE,
}
MAX_TOOLS = 500


class OpenApiOptions(PolicyOptions, total=False):
    """What `openapi_tools` takes besides the document; all optional, and for all tools alike unless keyed by operation id."""

    include: Sequence[str]
    """Operation ids (`"get /pets/{id}"` for one without); all operations without it."""
    exclude: Sequence[str]
    effects: Mapping[str, EffectName | Effect]
    """By operation id, where the method says too little or too much."""
    names: Mapping[str, str]
    """By operation id: the tool's name."""
    prefix: str
    auth: Mapping[str, Secret]
    """By the document's name of a security scheme. For `basic` the secret is `user:password`."""
    server: str
    """The URL that paths are appended to, instead of the document's first server."""
    headers: Mapping[str, str | Secret]
    idempotency_header: str | None
    statuses: Mapping[int, Says]
    egress: Egress
    reconcile: Mapping[str, HttpLookUp]
    """By operation id."""
    check_results: bool
    """Hold answers against the document's schemas, too. Off by default: documents often promise more than servers keep, and an unsafe
    call whose answer does not fit is in doubt."""


_KNOWN = frozenset(OpenApiOptions.__annotations__)


def openapi_tools(document: Mapping[str, Any] | str | bytes | Path, **options: Unpack[OpenApiOptions]) -> ToolSet:
    """The operations of a document (values, a path, or text; JSON or YAML; 3.0 or 3.1) as tools.

        bank = openapi_tools("bank.yaml", include=["getAccount", "createTransfer"], auth={"bearer": Secret("bank-token")})

    GET and HEAD read, PUT and DELETE are idempotent, POST and PATCH unsafe, unless `effects` says otherwise. An operation's arguments
    are its parameters by name, and `body`. Raises `BadDocument` that says where, `BadInput`, `TypeError`.
    """
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise TypeError(f"openapi_tools has no option {unknown[0]!r}; there is {', '.join(sorted(_KNOWN))}")
    loaded = load(document)
    module = calling_module()
    operations = _selected(loaded, options)
    tools: dict[str, OutsideTool] = {}
    for operation in operations:
        name = options.get("names", {}).get(operation.id) or tool_name(operation.id, options.get("prefix", ""))
        if name in tools:
            raise BadDocument(operation.where, f"two operations make a tool named {name!r}: give names={{{operation.id!r}: '…'}}")
        tools[name] = _tool(name, loaded, operation, options, module)
    return ToolSet(tools.values(), module=module)


def _selected(document: Document, options: OpenApiOptions) -> list[Operation]:
    found = list(operations_of(document))
    ids = [row[0] for row in found]
    include, exclude = options.get("include"), options.get("exclude", ())
    keyed: list[tuple[str, Any]] = [("include", include or ()), ("exclude", exclude)]
    keyed += [(key, options.get(key) or ()) for key in ("effects", "names", "reconcile")]
    for key, named in keyed:
        if isinstance(named, str):
            raise BadInput(f"{key}={named!r}: give a list of operation ids")
        for identity in named:
            if identity not in ids:
                raise BadInput(f"{key}= names {identity!r}, the document has no such operation; it has {', '.join(ids[:40]) or 'none'}")
    chosen = [row for row in found if (include is None or row[0] in include) and row[0] not in exclude]
    if len(chosen) > MAX_TOOLS:
        raise BadInput(f"the document has {len(chosen)} operations, at most {MAX_TOOLS} become tools: choose with include=[…]")
    return [read_operation(document, row) for row in chosen]


def _tool(name: str, document: Document, operation: Operation, options: OpenApiOptions, module: str) -> OutsideTool:
    what = f"tool {name!r} ({operation.id})"
    given = options.get("effects", {}).get(operation.id)
    effect = DEFAULT_EFFECTS[operation.method] if given is None else effect_of(what, given)
    arguments, result = Schema(f"{what}: {operation.where}", operation.arguments), None
    arguments.check()
    if operation.result is not None:
        result = Schema(f"{what}: its answer in {operation.where}", operation.result)
        if options.get("check_results"):
            result.check()
    plan = OperationPlan(
        operation=operation,
        server=_server(operation, options.get("server")),
        credentials=credentials_of(document, operation, options.get("auth", {})),
        headers={header_name(what, key): value for key, value in (options.get("headers") or {}).items()},
        idempotency_header=options.get("idempotency_header", IDEMPOTENCY_HEADER) if effect is not Effect.READ else None,
    )
    egress = options.get("egress", Egress())
    try:
        port = plan.target.port
    except EgressRefused as error:
        raise BadDocument(operation.where, f"its server cannot be called: {error}") from error
    if port not in egress.ports:
        egress = replace(egress, ports=(*egress.ports, port))
    base = policy_of(what, effect, policy_options(options), secrets=_secrets_of(plan))
    seconds = base.timeout_seconds
    action = HttpAction(
        plan=plan,
        reading=Reading(schema=result if options.get("check_results") else None, statuses=check_statuses(options.get("statuses") or {})),
        limits=Limits(seconds, min(CONNECT_SECONDS, seconds / 2), options.get("max_bytes", DEFAULT_MAX_BYTES), egress.redirects),
        connections=connections_of(egress),
    )
    hook = _reconcile(what, action, options.get("reconcile", {}).get(operation.id), options)
    policy = policy_of(what, effect, policy_options(options), reconcile=hook, secrets=base.secrets)
    shape = Shape(description=operation.description, arguments=SchemaArguments(arguments), result_schema=result)
    return OutsideTool(check_name("tool", name), policy, action, shape, module=module)


def _server(operation: Operation, override: str | None) -> str:
    """The URL to call, variables filled with their defaults."""
    if override is not None:
        return override
    if not operation.servers or not isinstance(operation.servers[0], Mapping):
        raise BadDocument(operation.where, "the document names no server: give server='https://…'")
    server = cast("Mapping[str, Any]", operation.servers[0])
    url = str(server.get("url", ""))
    variables = server.get("variables")
    for name, variable in (variables if isinstance(variables, Mapping) else {}).items():
        if isinstance(variable, Mapping):
            url = url.replace(f"{{{name}}}", quote(str(variable.get("default", "")), safe=":/.-_~"))
    if not url.startswith(("http://", "https://")) or "{" in url:
        raise BadDocument(operation.where, f"its server is {url!r}, which is no whole URL: give server='https://…'")
    return url


def _secrets_of(plan: OperationPlan) -> list[str]:
    return [row.secret.name for row in plan.credentials] + [value.name for value in plan.headers.values() if isinstance(value, Secret)]


def _reconcile(what: str, action: HttpAction, given: HttpLookUp | None, options: OpenApiOptions) -> Any:
    if given is None:
        return None
    plan = cast("OperationPlan", action.plan)
    signed = given.headers if given.headers is not None else dict(_signing_headers(plan, options))
    layout = Layout(method="GET", url=given.url, headers=signed, query={}, body=None)
    egress = action.connections.egress
    template = TemplatePlan(f"{what}: reconcile", layout, None, any_host=bool(egress.hosts))
    target = template.fixed_target
    if target is not None and target.port not in egress.ports:
        egress = replace(egress, ports=(*egress.ports, target.port))
    return LookUp(
        plan=template,
        reading=action.reading,
        limits=action.limits,
        connections=connections_of(egress),
        absent=tuple(given.absent),
        pick=tuple(given.pick.split(".")) if given.pick else (),
    ).hook()


def _signing_headers(plan: OperationPlan, options: OpenApiOptions) -> list[tuple[str, str | Secret]]:
    """The headers with which the look-up signs as the operation does, where those are headers."""
    signed = [(row.name, row.secret) for row in plan.credentials if row.place == "header" and not row.basic]
    return [*signed, *(options.get("headers") or {}).items()]
