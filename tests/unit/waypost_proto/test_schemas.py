"""The published schemas are current, complete and consistent; the golden bytes of every version still mean the same."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from waypost_proto import asyncapi, catalogue, codec, samples, schemas, values
from waypost_proto.subjects import Subjects

KINDS = catalogue.messages()
FILES = schemas.schema_files()
NOT_YET: set[str] = set()
"""Endpoints that answer with a clear error for now."""
BASES = {"Value", "Item", "Mail", "ToolMail", "Control", "Data", "FromWorker", "Request"}


def test_the_checked_in_files_are_current() -> None:
    assert schemas.faults(schemas.FOLDER) == []


def test_every_struct_of_the_wire_is_published() -> None:
    published = {name for kind in KINDS for name in _definitions_of(kind)}
    for module in ("api", "commands", "events", "mailbox", "notices", "registry", "task", "tools", "values", "work", "forks"):
        for name, kind in vars(importlib.import_module(f"waypost_proto.{module}")).items():
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and name not in BASES | {"Struct"}:
                assert name in published, f"{module}.{name} is in no published schema: add it to waypost_proto.catalogue"


def test_names_are_unique() -> None:
    assert len({kind.__name__ for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("full", [True, False], ids=["full", "required"])
def test_a_sample_survives_the_wire(kind: type[Any], full: bool) -> None:
    value = samples.sample(kind, full=full)
    assert codec.decode(kind, codec.encode(value)) == value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_full_sample_sets_every_field(kind: type[Any]) -> None:
    sent = json.loads(codec.encode(samples.sample(kind)))
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    assert names <= set(sent) or kind.__struct_config__.array_like


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_schema_says_what_is_required_and_all_its_references_resolve(kind: type[Any]) -> None:
    schema = json.loads(FILES[f"{catalogue.snake(kind.__name__)}.schema.json"])
    assert set(schema["required"]) <= set(schema["properties"])
    assert set(schema["required"]) <= set(json.loads(codec.encode(samples.sample(kind, full=False)))) | {"type"}
    for reference in _references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    document = asyncapi.document()
    for reference in _references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_channels_are_the_subjects_that_are_built() -> None:
    subjects = Subjects()
    addresses = {channel.address for channel in catalogue.CHANNELS}
    assert subjects.task("x").replace(".x", ".{agent}") in addresses
    assert {subjects.stop(), subjects.announce(), subjects.heartbeat()} <= addresses


def test_the_yaml_is_json_scalars_in_blocks() -> None:
    text = asyncapi.to_yaml({"a": {"b": [1, "x: y", None, []], "on": {}}, "é": [{"c": True}]})
    assert text == 'a:\n  b:\n    - 1\n    - "x: y"\n    - null\n    - []\n  "on": {}\n"\\u00e9":\n  -\n    c: true\n'


def test_generating_twice_changes_nothing(tmp_path: Path) -> None:
    assert schemas.write(tmp_path)
    assert schemas.write(tmp_path) == []
    assert schemas.main(["--check", "--folder", str(tmp_path)]) == 0


def test_a_stale_or_missing_schema_is_found(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    (tmp_path / "task.schema.json").write_text("{}")
    (tmp_path / "stop.schema.json").unlink()
    (tmp_path / "gone.schema.json").write_text("{}")
    assert schemas.faults(tmp_path) == [
        "gone.schema.json: of a message that no longer exists",
        "stop.schema.json: missing",
        "task.schema.json: not current",
    ]
    assert schemas.main(["--check", "--folder", str(tmp_path)]) == 1
    assert schemas.write(tmp_path) == ["gone.schema.json", "stop.schema.json", "task.schema.json"]


def test_golden_bytes_that_no_longer_decode_are_found(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    golden = tmp_path / "golden" / "stop.1.jsonl"
    golden.write_bytes(b'{"run_id":1,"why":"ended"}\n')
    found = list(schemas.golden_faults(tmp_path))
    assert any("stop.1.jsonl line 1: no longer decodes" in line for line in found)


def test_golden_bytes_that_would_be_misread_are_found(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    golden = tmp_path / "golden" / "stop.1.jsonl"
    golden.write_bytes(b'{"run_id":"r","why":"ended","renamed":1}\n')
    assert any("encodes to other bytes" in line for line in schemas.golden_faults(tmp_path))


def test_a_message_that_grew_gets_a_further_golden_file(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    first = tmp_path / "golden" / "stop.1.jsonl"
    first.write_bytes(first.read_bytes().splitlines(keepends=True)[1])
    assert schemas.write(tmp_path) == ["stop.2.jsonl"]
    assert schemas.faults(tmp_path) == []


def test_the_value_base_ignores_unknown_fields() -> None:
    assert codec.decode(values.BlobRef, b'{"sha256":"a","size":1,"later":2}') == values.BlobRef(sha256="a", size=1)


def _definitions_of(kind: type[Any]) -> set[str]:
    schema = json.loads(FILES[f"{catalogue.snake(kind.__name__)}.schema.json"])
    return {schema["title"], *schema.get("$defs", {})}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_the_document_has_every_endpoint_that_is_hosted_and_no_other() -> None:
    from waypost_coordinator.api.table import OPERATIONS

    described = {f"{endpoint.noun}.{endpoint.verb}" for endpoint in catalogue.ENDPOINTS}
    assert described == OPERATIONS.keys() - NOT_YET
