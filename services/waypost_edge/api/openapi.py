"""The OpenAPI 3.1 document, from the table of operations and the messages' own types. Pure; nothing in it is written by hand twice."""

from __future__ import annotations

from typing import Any

from waypost_edge.api.operations import OPERATIONS, Kind, Operation
from waypost_edge.api.types import Problem
from waypost_proto.json_schema import Schema, definitions
from waypost_proto.limits import MAX_KEY_CHARS

_REFERENCES = "#/components/schemas/"
_UUID7 = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
_PATTERNS = {"run_id": _UUID7, "sha256": "^[0-9a-f]{64}$"}
_HINTS = {"after": {"minimum": 0, "maximum": 2**62}, "limit": {"minimum": 1}, "seq": {"minimum": 1, "maximum": 2**62}}
_ERRORS = {
    "400": "What was sent cannot be read",
    "401": "Nobody knows who asks",
    "403": "Not allowed",
    "404": "There is no such thing, or it is another tenant's",
    "405": "The path does not take the method",
    "406": "No answer of a kind that the caller takes",
    "408": "The body did not come in time",
    "409": "It contradicts what is recorded",
    "413": "The body is too large",
    "415": "The body is not said to be JSON",
    "422": "JSON that does not fit",
    "429": "Too many requests; Retry-After says when to come again",
    "501": "Not available in this version",
    "503": "No coordinator answers; Retry-After says when to come again",
    "504": "It was not confirmed in time and may have been done; send it again with the same key",
}


def document(version: str) -> dict[str, Any]:
    """The whole document, as JSON values."""
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Waypost",
            "version": version,
            "summary": "Durable execution for teams of autonomous agents",
            "description": "Start, watch and control durable runs. Answers to commands follow the commit. Errors are problem details.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {name: _problem(text) for name, text in _ERRORS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of `waypost tokens create`, or one of your issuer"}
            },
        },
    }


def _operation(operation: Operation) -> Schema:
    made: Schema = {
        "operationId": operation.name.replace(".", "_"),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.notes:
        made["description"] = operation.notes
    if operation.method == "POST" and (body := _body(operation)):
        made["requestBody"] = body
    return made


def _parameters(operation: Operation) -> list[Schema]:
    schema = definitions((operation.request,), _REFERENCES)[operation.request.__name__]
    made = []
    for name, kind in schema["properties"].items():
        if name in operation.in_path:
            made.append({"name": name, "in": "path", "required": True, "schema": _plain(kind) | _limits(name)})
        elif operation.method == "GET" and name in operation.takes:
            made.append(_query_parameter(name, kind, required=name in schema["required"]))
    if operation.name == "runs.events":
        made.append({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"}})
    if operation.key:
        made.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": f"The same as `{operation.key}` in the body: sent again with it, nothing is done twice",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": "^[!-~]+$"},
            }
        )
    return made


def _query_parameter(name: str, kind: Schema, *, required: bool) -> Schema:
    if name == "labels":
        return {
            "name": "label",
            "in": "query",
            "description": "`label=team=ops`, or `label.team=ops`; several must all be there",
            "schema": {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$", "maxLength": 513}},
        }
    plain = _plain(kind)
    plain.pop("default", None) if plain.get("default") is None else None
    return {"name": name, "in": "query", "required": required, "schema": plain | _limits(name)}


def _limits(name: str) -> Schema:
    pattern = _PATTERNS.get(name)
    return {"pattern": pattern} if pattern else dict(_HINTS.get(name, {}))


def _plain(kind: Schema) -> Schema:
    """A parameter cannot be null: it is there or it is not."""
    if "anyOf" not in kind:
        return dict(kind)
    [first] = [choice for choice in kind["anyOf"] if choice != {"type": "null"}]
    return dict(first)


def _body(operation: Operation) -> Schema | None:
    """The request's schema without what is in the path."""
    name = operation.request.__name__
    schema = dict(definitions((operation.request,), _REFERENCES)[name])
    schema["properties"] = {field: kind for field, kind in schema["properties"].items() if field in operation.takes}
    schema["required"] = [field for field in schema["required"] if field in operation.takes]
    schema.pop("title", None)
    if not schema["properties"]:
        return None
    return {"required": bool(schema["required"]), "content": {"application/json": {"schema": schema}}}


def _responses(operation: Operation) -> Schema:
    content: Schema = {}
    if operation.answer is not None:
        content["application/json"] = {"schema": {"$ref": _REFERENCES + operation.answer.__name__}}
    elif operation.stream is None:
        content["application/json"] = {"schema": {}}
    if operation.stream is not None:
        name = operation.stream.__name__
        content["text/event-stream"] = {
            "schema": {"type": "string", "description": f"Server-sent events; the data of a message is `{name}`"}
        }
    done: Schema = {"description": "Done" if operation.method == "POST" else "What there is", "content": content}
    if operation.cursor is not None:
        done["headers"] = {"Link": {"description": 'The next page, with rel="next"', "schema": {"type": "string"}}}
    found: Schema = {"200": done}
    if operation.created:
        found["201"] = {
            **done,
            "description": "A new run",
            "headers": {"Location": {"description": "Where it is", "schema": {"type": "string"}}},
        }
    if operation.name == "runs.events":
        found["204"] = {"description": "The run has ended, and there is nothing behind the cursor of a stream"}
    codes = [code for code in _ERRORS if operation.method == "POST" or code not in ("408", "409", "413", "415", "422", "501")]
    return found | {code: {"$ref": f"#/components/responses/{code}"} for code in codes}


def _problem(text: str) -> Schema:
    return {"description": text, "content": {"application/problem+json": {"schema": {"$ref": f"{_REFERENCES}Problem"}}}}


def _schemas() -> Schema:
    kinds: dict[Kind, None] = {Problem: None}
    for operation in OPERATIONS:
        for kind in (operation.answer, operation.stream):
            if kind is not None:
                kinds[kind] = None
        if operation.method == "POST" and operation.takes:
            kinds[operation.request] = None  # what it refers to
    return dict(sorted(definitions(tuple(kinds), _REFERENCES).items()))
