"""Each rule finds what it is for, and leaves alone what it is not for."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tests.tidy import rules
from tests.tidy.rules import Source


def _source(text: str, path: str = "shared/waypost/x.py") -> Source:
    return Source(PurePosixPath(path), text)


def test_lengths() -> None:
    assert not list(rules.long_files(_source("x = 1\n" * 400)))
    assert list(rules.long_files(_source("x = 1\n" * 401)))
    docstring = '    """' + "words\n" * 50 + '    """\n'
    assert not list(rules.long_functions(_source("def f():\n" + docstring + "    x = 1\n" * 59)))
    (violation,) = rules.long_functions(_source("class A:\n  def f(self):\n" + "    x = 1\n" * 60))
    assert violation.where == "shared/waypost/x.py::A.f"


def test_parameters() -> None:
    assert not list(rules.many_parameters(_source("class A:\n  def f(self, a, b, c, *, d, e, f, g): ...")))
    assert list(rules.many_parameters(_source("def f(a, b, c, *, d, e, f, g, h): ...")))


def test_nesting() -> None:
    four = "def f():\n for a in b:\n  with c:\n   if d:\n    try:\n     x()\n    finally: pass\n"
    assert not list(rules.deep_nesting(_source(four)))
    assert list(rules.deep_nesting(_source(four.replace("x()", "if x: pass"))))
    chain = "def f():\n if a: pass\n" + " elif b: pass\n" * 9
    assert not list(rules.deep_nesting(_source(chain)))
    inner = "def f():\n for a in b:\n  if c:\n   def g():\n    for d in e:\n     if f:\n      while g: pass\n"
    assert not list(rules.deep_nesting(_source(inner)))


@pytest.mark.parametrize("path", ["shared/waypost/utils.py", "services/x/_helpers.py", "tests/common/test_a.py", "shared/base/a.py"])
def test_names_that_say_nothing(path: str) -> None:
    assert list(rules.banned_names(PurePosixPath(path)))


def test_names_that_say_something() -> None:
    assert not list(rules.banned_names(PurePosixPath("shared/waypost/database.py")))
    assert not list(rules.banned_names(PurePosixPath("k8s/base/worker.yaml")))


def test_packages() -> None:
    assert list(rules.stray_inits(PurePosixPath("proto/__init__.py")))
    assert not list(rules.stray_inits(PurePosixPath("proto/waypost_proto/__init__.py")))
    init = "shared/waypost/__init__.py"
    assert not list(rules.busy_inits(_source('"""Doc."""\nfrom a import b\n__all__ = ["b"]', init)))
    assert list(rules.busy_inits(_source("from a import b", init)))
    assert list(rules.busy_inits(_source('"""Doc."""\ndef f(): ...', init)))
    assert not list(rules.busy_inits(_source("def f(): ...")))


def test_docstrings() -> None:
    long = "\n".join(f"    x = {number}" for number in range(6))
    text = f"""'Doc.'
def short(): ...
def long_one():
{long}
def _private():
{long}
class Data:
  x: int
class Actor:
  def short(self): ...
  def long(self):
{long}
"""
    assert [violation.where.split("::")[1] for violation in rules.missing_docstrings(_source(text))] == ["long_one", "Actor", "Actor.long"]
    assert len(list(rules.missing_docstrings(_source(text), frozenset({"long", "short"})))) == 1
    assert not list(rules.missing_docstrings(_source(text, "shared/waypost/_x.py")))
    assert rules.protocol_methods([_source("class P(Protocol):\n  def long(self): ...")]) == {"long"}


@pytest.mark.parametrize("text", ["see https://pypi." + "org/simple", "--index-" + "url=x", "files.python" + "hosted.org"])
def test_registries(text: str) -> None:
    assert list(rules.registry_hosts(PurePosixPath("README.md"), text))


@pytest.mark.parametrize(
    ("text", "bad"), [("cd /wo" + "rk/main", True), ("/ho" + "me/ann/x", True), ("~/work/x", False), ("a/home/b", False)]
)
def test_machine_paths(text: str, bad: bool) -> None:
    assert bool(list(rules.machine_paths(PurePosixPath("README.md"), text))) == bad


def test_lock_files() -> None:
    assert list(rules.lock_files(PurePosixPath("uv.lock")))
    assert not list(rules.lock_files(PurePosixPath("constraints.txt")))
