"""Every tracked file keeps the rules of shape, or stands in the allow-list with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.tidy import rules
from tests.tidy.allowed import ALLOWED
from tests.tidy.rules import CODE, Violation, sources, text_of, tracked

TEXT_EXEMPT = ("LICENSE",)


def _over_code(rule: Callable[[rules.Source], Iterator[Violation]], *roots: str) -> Iterator[Violation]:
    for source in sources(*(roots or CODE)):
        yield from rule(source)


def _docstrings() -> Iterator[Violation]:
    everything = sources("proto", "shared", "services")
    documented = rules.protocol_methods(everything)
    for source in everything:
        yield from rules.missing_docstrings(source, documented)


def _over_paths(rule: Callable[[rules.PurePosixPath], Iterator[Violation]]) -> Iterator[Violation]:
    for path in tracked():
        yield from rule(path)


def _over_text(rule: Callable[[rules.PurePosixPath, str], Iterator[Violation]]) -> Iterator[Violation]:
    for path in tracked():
        if path.name not in TEXT_EXEMPT:
            yield from rule(path, text_of(path))


RULES: dict[str, Callable[[], Iterator[Violation]]] = {
    "long_files": lambda: _over_code(rules.long_files, *CODE, "tests"),
    "long_functions": lambda: _over_code(rules.long_functions, *CODE, "tests"),
    "many_parameters": lambda: _over_code(rules.many_parameters),
    "deep_nesting": lambda: _over_code(rules.deep_nesting, *CODE, "tests"),
    "busy_inits": lambda: _over_code(rules.busy_inits),
    "missing_docstrings": _docstrings,
    "banned_names": lambda: _over_paths(rules.banned_names),
    "stray_inits": lambda: _over_paths(rules.stray_inits),
    "lock_files": lambda: _over_paths(rules.lock_files),
    "registry_hosts": lambda: _over_text(rules.registry_hosts),
    "machine_paths": lambda: _over_text(rules.machine_paths),
}


@pytest.mark.parametrize("name", RULES)
def test_rule(name: str) -> None:
    found = sorted(violation for violation in RULES[name]() if (name, violation.where) not in ALLOWED)
    assert not found, "\n" + "\n".join(f"{violation.where}: {violation.what}" for violation in found)


@pytest.mark.parametrize(("name", "where"), ALLOWED)
def test_exceptions_are_needed_and_have_reasons(name: str, where: str) -> None:
    assert any(violation.where == where for violation in RULES[name]()), f"{where} keeps {name} now: remove it from the allow-list"
    assert len(ALLOWED[name, where]) > 20


def test_something_is_looked_at() -> None:
    assert len(sources(*CODE)) > 20
