"""SQL files: named, described, and part of the wheel because they lie in the package."""

from __future__ import annotations

from pathlib import Path

import pytest

import waypost_io.store
from waypost_io.store import queries
from waypost_io.store.migrate import migrations
from waypost_proto.errors import ContractError


def test_queries_come_by_name_without_the_semicolon() -> None:
    found = queries.load("timers")
    assert list(found) == ["due"]
    assert found["due"].startswith("-- Timers.due")
    assert not found["due"].endswith(";")


def test_a_name_that_comes_twice_is_our_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "x.sql").write_text("-- name: a\n-- for us\nSELECT 1;\n\n-- name: a\n-- for us\nSELECT 2;\n")
    monkeypatch.setattr(queries, "files", lambda _: tmp_path)
    with pytest.raises(ContractError, match="twice"):
        queries.load("x")


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_sql_lies_in_the_package() -> None:
    package = Path(waypost_io.store.__file__).parent
    assert {path.parent.name for path in package.rglob("*.sql")} == {"sql", "schema", "migrations"}
    assert {path.stem for path in (package / "sql").glob("*.sql")} == set(queries.tables())
