"""The operations of a document, each as what a tool needs to know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from waypost.http.plan import FORM_TYPE, JSON_TYPE
from waypost.http.request import HEADER_NAME, RESERVED_HEADERS
from waypost.openapi.document import BadDocument, Document, step
from waypost.openapi.naming import id_of
from waypost.openapi.parameters import PLACES, STYLES, Parameter, Place
from waypost.openapi.schemas import Gatherer

METHODS = ("get", "head", "put", "delete", "post", "patch")
IGNORED_HEADERS = frozenset({"accept", "content-type", "authorization"})
"""Parameters with these names mean nothing (OpenAPI 3.1, "Parameter Object")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. `where` is its JSON Pointer; the schemas stand on their own."""

    id: str
    method: str
    path: str
    where: str
    description: str
    parameters: tuple[Parameter, ...]
    arguments: dict[str, Any]
    body_type: str | None = None
    result: dict[str, Any] | bool | None = None
    security: tuple[Mapping[str, Any], ...] | None = None
    servers: tuple[Any, ...] = field(default=())


def operations_of(document: Document) -> Iterator[tuple[str, str, str, Mapping[str, Any], Mapping[str, Any]]]:
    """(id, method, path, path item, operation) of each operation. Raises `BadDocument` for a document without paths, or one id twice."""
    paths = document.root.get("paths")
    if not isinstance(paths, Mapping):
        raise BadDocument("#/paths", "the document has no paths, so there is nothing to call")
    seen: dict[str, str] = {}
    for path, value in paths.items():
        if path.startswith("x-"):
            continue
        where = step("#/paths", path)
        if not path.startswith("/"):
            raise BadDocument(where, "a path begins with '/'")
        item, where = document.resolved(value, where)
        for method in METHODS:
            if method not in item:
                continue
            operation, _ = document.resolved(item[method], step(where, method))
            identity = operation.get("operationId") or id_of(method, path)
            if not isinstance(identity, str):
                raise BadDocument(step(where, method, "operationId"), f"{identity!r} is no text")
            if identity in seen:
                raise BadDocument(step(where, method), f"operationId {identity!r} is also that of {seen[identity]}")
            seen[identity] = f"{method.upper()} {path}"
            yield identity, method, path, item, operation


def read_operation(document: Document, found: tuple[str, str, str, Mapping[str, Any], Mapping[str, Any]]) -> Operation:
    """One operation in full. Raises `BadDocument` for what is wrong with it, or what cannot be called."""
    identity, method, path, item, operation = found
    where = step("#/paths", path, method)
    gatherer = Gatherer(document, "request")
    parameters, schemas = _parameters(document, gatherer, item, operation, (path, where))
    required = [parameter.argument for parameter in parameters if parameter.required]
    body_type = None
    if "requestBody" in operation:
        body, at = document.resolved(operation["requestBody"], step(where, "requestBody"))
        body_type, schema = _body(gatherer, body, at)
        schemas["body"] = schema
        if body.get("required") is True:
            required.append("body")
    arguments: dict[str, Any] = {"type": "object", "properties": schemas, "additionalProperties": False}
    if required:
        arguments["required"] = required
    security = operation.get("security", document.root.get("security"))
    texts = [operation.get(key) or item.get(key) for key in ("summary", "description")]
    return Operation(
        id=identity,
        method=method.upper(),
        path=path,
        where=where,
        description=_description(next((text for text in texts if isinstance(text, str)), "")),
        parameters=parameters,
        arguments=gatherer.with_definitions(arguments),
        body_type=body_type,
        result=_result(document, operation, where),
        security=tuple(security) if isinstance(security, list) else None,
        servers=tuple(operation.get("servers") or item.get("servers") or document.root.get("servers") or ()),
    )


def _description(text: str) -> str:
    return " ".join(text.split())[:2_000]


def _parameters(
    document: Document, gatherer: Gatherer, item: Mapping[str, Any], operation: Mapping[str, Any], place: tuple[str, str]
) -> tuple[tuple[Parameter, ...], dict[str, Any]]:
    path, where = place
    merged: dict[tuple[str, str], tuple[Mapping[str, Any], str]] = {}
    shared = step("#/paths", path, "parameters")
    for values, at in ((item.get("parameters", []), shared), (operation.get("parameters", []), step(where, "parameters"))):
        if not isinstance(values, list):
            raise BadDocument(at, "parameters are a list")
        for number, value in enumerate(values):
            parameter, found_at = document.resolved(value, step(at, number))
            name, kind = parameter.get("name"), parameter.get("in")
            if not isinstance(name, str) or kind not in PLACES:
                raise BadDocument(found_at, f"a parameter has a name and is in {', '.join(PLACES)}; this is {name!r} in {kind!r}")
            merged[name, kind] = (parameter, found_at)
    parameters: list[Parameter] = []
    schemas: dict[str, Any] = {}
    for (name, kind), (value, at) in merged.items():
        if kind == "header" and name.lower() in IGNORED_HEADERS:
            continue
        taken = {*schemas, "body"}
        argument = name if name not in taken else f"{name}-{kind}"
        schema, as_json = _parameter_schema(document, gatherer, value, at)
        parameters.append(_parameter(value, at, argument, as_json=as_json))
        description = value.get("description")
        if isinstance(description, str) and isinstance(schema, dict) and "$ref" not in schema:
            schema = {"description": _description(description), **schema}
        schemas[argument] = schema
    _check_path(path, where, parameters)
    return tuple(parameters), schemas


def _parameter_schema(document: Document, gatherer: Gatherer, value: Mapping[str, Any], at: str) -> tuple[Any, bool]:
    """Its schema, and whether it is sent as JSON."""
    content = value.get("content")
    if not isinstance(content, Mapping):
        return gatherer.schema(value.get("schema", True), step(at, "schema")), False
    for kind, media in content.items():
        if kind.partition(";")[0].strip().lower() == JSON_TYPE:
            inner, inner_at = document.resolved(media, step(at, "content", kind))
            return gatherer.schema(inner.get("schema", True), step(inner_at, "schema")), True
    raise BadDocument(at, f"a parameter as {', '.join(content)}: only {JSON_TYPE} can be sent")


def _parameter(value: Mapping[str, Any], at: str, argument: str, *, as_json: bool) -> Parameter:
    place = cast("Place", value["in"])
    name = value["name"]
    style = value.get("style", STYLES[place][0])
    if style not in STYLES[place]:
        raise BadDocument(at, f"style {style!r} of a {place} parameter; there is {', '.join(STYLES[place])}")
    if place == "header" and (not HEADER_NAME.match(name) or name.lower() in RESERVED_HEADERS):
        raise BadDocument(at, f"header {name!r} cannot be set: it is no header name, or one that the connection itself needs")
    explode = value.get("explode", style == "form")
    required = value.get("required") is True or place == "path"
    return Parameter(name=name, argument=argument, place=place, style=style, explode=bool(explode), required=required, as_json=as_json)


def _check_path(path: str, where: str, parameters: list[Parameter]) -> None:
    in_template = {part.partition("}")[0] for part in path.split("{")[1:]}
    declared = {parameter.name for parameter in parameters if parameter.place == "path"}
    if in_template != declared:
        odd = ", ".join(sorted(in_template ^ declared))
        raise BadDocument(where, f"the path {path!r} and its path parameters do not agree on {odd}")


def _body(gatherer: Gatherer, body: Mapping[str, Any], at: str) -> tuple[str, Any]:
    """The content type to send and its schema: JSON before a form before text."""
    content = body.get("content")
    if not isinstance(content, Mapping) or not content:
        raise BadDocument(at, "a requestBody has content")

    def rank(kind: str) -> int:
        name = kind.partition(";")[0].strip().lower()
        ranks = {JSON_TYPE: 0, "application/*": 2, "*/*": 2, FORM_TYPE: 3}
        return 1 if name.endswith("+json") else 4 if name.startswith("text/") else ranks.get(name, 99)

    kind = min(content, key=rank)
    if rank(kind) == 99:
        raise BadDocument(at, f"a body as {', '.join(content)}: JSON, forms and text can be sent. Leave the operation out with exclude=[…]")
    media = content[kind] if isinstance(content[kind], Mapping) else {}
    return JSON_TYPE if "*" in kind else kind, gatherer.schema(media.get("schema", True), step(at, "content", kind, "schema"))


def _result(document: Document, operation: Mapping[str, Any], where: str) -> dict[str, Any] | bool | None:
    """The schema of the first 2xx answer that has one as JSON; None if no answer says."""
    responses = operation.get("responses")
    if not isinstance(responses, Mapping):
        return None
    for status in sorted(key for key in responses if key[:1] == "2"):
        answer, at = document.resolved(responses[status], step(where, "responses", status))
        content = answer.get("content")
        if not isinstance(content, Mapping):
            continue
        for kind, media in content.items():
            name = kind.partition(";")[0].strip().lower()
            if isinstance(media, Mapping) and "schema" in media and (name == JSON_TYPE or name.endswith("+json")):
                gatherer = Gatherer(document, "response")
                schema = gatherer.schema(media["schema"], step(at, "content", kind, "schema"))
                return gatherer.with_definitions(schema) if isinstance(schema, dict) else bool(schema)
    return None
