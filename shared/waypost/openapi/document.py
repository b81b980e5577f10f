"""Reading an OpenAPI document: JSON or YAML, 3.0 or 3.1, references within it only. Every complaint says where (as a JSON Pointer).

Owns the text and the pointers, not what an operation means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from waypost_proto.errors import BadInput, Misconfigured

MAX_BYTES = 16 * 1024 * 1024
MAX_NODES = 1_000_000
"""Values in one document, aliases of YAML counted as often as they stand there: a small text can name a huge one."""
MAX_DEPTH = 100
MAX_HOPS = 16
"""References that lead to references."""
_VERSION = re.compile(r"3\.([01])\.\d+")


class BadDocument(BadInput):
    """A document that cannot be used; the message begins with where."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"OpenAPI document, {where or 'top'}: {problem}")
        self.where = where


class Document:
    """One document, taken apart as values. `minor` is 0 or 1, of version 3."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        version = str(root.get("openapi", ""))
        found = _VERSION.fullmatch(version)
        if found is None:
            older = f"it is Swagger {root['swagger']}" if "swagger" in root else f"openapi: {version!r}"
            raise BadDocument("", f"{older}; versions 3.0.x and 3.1.x are read. Convert it first")
        self.minor = int(found.group(1))

    def at(self, pointer: str, seen_from: str) -> Any:
        """The value that a `$ref` names. Raises `BadDocument` for one that leaves the document or leads nowhere."""
        if not pointer.startswith("#"):
            raise BadDocument(
                seen_from, f"$ref {pointer!r} leaves the document; only references within it are followed. Bundle it into one file first"
            )
        if pointer != "#" and not pointer.startswith("#/"):
            raise BadDocument(seen_from, f"$ref {pointer!r} names an anchor; references are paths, such as #/components/schemas/Pet")
        found: Any = self.root
        for token in pointer_tokens(pointer):
            if isinstance(found, Mapping) and token in found:
                found = found[token]
            elif isinstance(found, list) and token.isdigit() and int(token) < len(found):
                found = found[int(token)]
            else:
                raise BadDocument(seen_from, f"$ref {pointer!r} leads nowhere: there is no {token!r}")
        return found

    def resolved(self, value: Any, where: str) -> tuple[Mapping[str, Any], str]:
        """An object, or what its `$ref` leads to, and where that stands. Raises `BadDocument` if it is no object."""
        for _ in range(MAX_HOPS):
            if not isinstance(value, Mapping):
                raise BadDocument(where, f"an object is needed here, not {_shown(value)}")
            if not isinstance(value.get("$ref"), str):
                return value, where
            where, value = value["$ref"], self.at(value["$ref"], where)
        raise BadDocument(where, "references that lead in a circle")


def load(source: Mapping[str, Any] | str | bytes | Path) -> Document:
    """From values, a path, or the text of a document. Raises `BadDocument`, or `Misconfigured` for a file that cannot be read."""
    if isinstance(source, Mapping):
        return Document(cast("Mapping[str, Any]", _plain(source)))
    if isinstance(source, Path) or (isinstance(source, str) and "\n" not in source and source.lstrip()[:1] not in ("{", "[")):
        try:
            with Path(source).open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise Misconfigured(f"the OpenAPI document {str(source)!r} cannot be read: {error.strerror or error}") from error
    text = source.encode() if isinstance(source, str) else source
    if len(text) > MAX_BYTES:
        raise BadDocument("", f"it is larger than {MAX_BYTES} bytes")
    root = _parsed(text)
    if not isinstance(root, Mapping):
        raise BadDocument("", f"an object is needed, not {_shown(root)}")
    return Document(cast("Mapping[str, Any]", _plain(root)))


def _parsed(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if text.lstrip()[:1] in (b"{", b"["):
            raise BadDocument("", f"it is not JSON: {error}") from error
    return _from_yaml(text)


def _from_yaml(text: bytes) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise Misconfigured("the OpenAPI document is no JSON; to read YAML install 'waypost[http]'") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # the library has no types
        """YAML as JSON has it: dates are texts, and only true and false are booleans."""

    dropped = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rows if tag not in dropped]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadDocument("", f"it is neither JSON nor YAML: {error}") from error


def _plain(value: Any) -> Any:
    """The same with text keys, and bounded in size and depth."""
    left = [MAX_NODES]

    def copy(node: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0 or depth > MAX_DEPTH:
            raise BadDocument("", f"it has more than {MAX_NODES} values, or is nested deeper than {MAX_DEPTH}")
        if isinstance(node, Mapping):
            return {str(key): copy(inner, depth + 1) for key, inner in node.items()}
        if isinstance(node, list | tuple):
            return [copy(inner, depth + 1) for inner in node]
        if node is None or isinstance(node, str | int | float | bool):
            return node
        raise BadDocument("", f"{node!r} is nothing that JSON has")

    return copy(value, 0)


def pointer_tokens(pointer: str) -> list[str]:
    """The steps of a JSON Pointer in a URI fragment (RFC 6901, section 6)."""
    path = pointer.partition("#")[2]
    return [unquote(token).replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]


def step(where: str, *tokens: str | int) -> str:
    """`where`, some steps further down."""
    return where + "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
