"""The rules of shape, as functions from files to violations. What may break them, and why, stands in `allowed`."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
CODE = ("proto", "shared", "services", "examples")
ROOTS_WITHOUT_INIT = ("proto", "shared", "services", "examples")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7
MAX_NESTING = 4
SHORT_FUNCTION_LINES = 4
BANNED_MODULES = frozenset({"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"})
LOCK_FILES = frozenset({"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pylock.toml", "package-lock.json", "yarn.lock"})

# spelt so that this file does not break its own rules
REGISTRY_HOSTS = re.compile(r"\b(?:pypi[.]org|pythonhosted[.]org|registry[.]npmjs[.]org|conda[.]anaconda[.]org|index[-]url)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.~/-])/(?:[w]ork|[r]oot|[h]ome|[U]sers)/[\w.-]+")

Function = ast.FunctionDef | ast.AsyncFunctionDef
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """`where` is `path` or `path::Class.function`; it is the key in the allow-list."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Source:
    """A tracked Python file."""

    path: PurePosixPath
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.text)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Every function with its qualified name."""
        yield from _functions(self.tree, "")


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield f"{prefix}{child.name}", child
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


@cache
def tracked() -> tuple[PurePosixPath, ...]:
    """The files that git tracks and that are there."""
    output = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(PurePosixPath(name) for name in output.split("\0") if name and (ROOT / name).is_file())


@cache
def text_of(path: PurePosixPath) -> str:
    """The text of a tracked file, "" for a binary one."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def sources(*roots: str) -> list[Source]:
    """Tracked Python files below these folders."""
    return [Source(path, text_of(path)) for path in tracked() if path.suffix == ".py" and path.parts[0] in roots]


# -- size


def long_files(source: Source) -> Iterator[Violation]:
    """Files past 400 lines."""
    lines = source.text.count("\n")
    if lines > MAX_FILE_LINES:
        yield Violation(str(source.path), f"{lines} lines, at most {MAX_FILE_LINES}: split it by what changes together")


def long_functions(source: Source) -> Iterator[Violation]:
    """Functions past 60 lines, their docstring not counted."""
    for name, function in source.functions():
        lines = _lines(function)
        if lines > MAX_FUNCTION_LINES:
            yield Violation(f"{source.path}::{name}", f"{lines} lines, at most {MAX_FUNCTION_LINES}")


def _lines(function: Function) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def many_parameters(source: Source) -> Iterator[Violation]:
    """Functions with more than 7 parameters, `self` and `cls` not counted."""
    for name, function in source.functions():
        arguments = function.args
        names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len(names) - (1 if names[:1] in (["self"], ["cls"]) else 0)
        if count > MAX_PARAMETERS:
            yield Violation(f"{source.path}::{name}", f"{count} parameters, at most {MAX_PARAMETERS}: make a frozen struct of them")


def deep_nesting(source: Source) -> Iterator[Violation]:
    """Blocks within blocks within … past 4 in one function."""
    for name, function in source.functions():
        depth = max((_depth(statement, 0) for statement in function.body), default=0)
        if depth > MAX_NESTING:
            yield Violation(f"{source.path}::{name}", f"nested {depth} deep, at most {MAX_NESTING}")


def _depth(node: ast.AST, depth: int) -> int:
    if isinstance(node, _SCOPES):
        return depth
    here = depth + isinstance(node, _BLOCKS)
    deepest = here
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                is_elif = isinstance(node, ast.If) and field == "orelse" and isinstance(child, ast.If) and len(node.orelse) == 1
                deepest = max(deepest, _depth(child, depth if is_elif else here))
    return deepest


# -- names and packages


def banned_names(path: PurePosixPath) -> Iterator[Violation]:
    """Modules and packages named after nothing. Under `k8s` a base is what kustomize calls one."""
    if path.parts[0] == "k8s":
        return
    for part in (*path.parts[:-1], path.stem):
        if part.strip("_") in BANNED_MODULES:
            yield Violation(str(path), f"{part!r} says nothing about what is in it")


def stray_inits(path: PurePosixPath) -> Iterator[Violation]:
    """`import proto` must never mean us."""
    if path.name == "__init__.py" and len(path.parts) == 2 and path.parts[0] in ROOTS_WITHOUT_INIT:
        yield Violation(str(path), f"{path.parts[0]}/ is a folder of packages, no package")


def busy_inits(source: Source) -> Iterator[Violation]:
    """`__init__.py` holds a docstring, imports and `__all__`."""
    if source.path.name != "__init__.py":
        return
    if ast.get_docstring(source.tree) is None:
        yield Violation(str(source.path), "has no docstring")
    for statement in source.tree.body:
        if not _belongs_in_init(statement):
            yield Violation(str(source.path), f"line {statement.lineno}: only a docstring, imports and __all__ belong here")


def _belongs_in_init(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(target=ast.Name(id="__all__")):
            return True
        case _:
            return False


# -- words


def missing_docstrings(source: Source, documented: frozenset[str] = frozenset()) -> Iterator[Violation]:
    """Public modules, functions, classes and methods without a docstring.

    Functions of at most 4 lines and classes of mere fields explain themselves; methods of `documented` (those of the protocols) are
    explained there, and so is a class that has no others.
    """
    if source.path.name.startswith("_") and source.path.name not in ("__init__.py", "__main__.py"):
        return
    if ast.get_docstring(source.tree) is None:
        yield Violation(str(source.path), "the module has no docstring")
    for node in source.tree.body:
        if isinstance(node, Function) and not _explains_itself(node):
            yield Violation(f"{source.path}::{node.name}", "no docstring")
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = [child for child in node.body if isinstance(child, Function) and child.name not in documented]
            public = [method for method in methods if not method.name.startswith("_")]
            if public and not _is_protocol(node) and ast.get_docstring(node) is None:
                yield Violation(f"{source.path}::{node.name}", "no docstring")
            for method in public:
                if not _explains_itself(method):
                    yield Violation(f"{source.path}::{node.name}.{method.name}", "no docstring")


def _explains_itself(function: Function) -> bool:
    return (
        function.name.startswith("_")
        or ast.get_docstring(function) is not None
        or _lines(function) <= SHORT_FUNCTION_LINES
        or any("overload" in ast.unparse(decorator) for decorator in function.decorator_list)
    )


def _is_protocol(node: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(parent) for parent in node.bases)


def protocol_methods(all_sources: list[Source]) -> frozenset[str]:
    """Names of the methods that some protocol declares: an adapter need not repeat their docstrings."""
    return frozenset(
        method.name
        for source in all_sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and _is_protocol(node)
        for method in node.body
        if isinstance(method, Function)
    )


# -- what must not be tracked


def registry_hosts(path: PurePosixPath, text: str) -> Iterator[Violation]:
    """Where packages come from is for the machine that installs them."""
    for number, line in enumerate(text.splitlines(), 1):
        if REGISTRY_HOSTS.search(line):
            yield Violation(str(path), f"line {number} names a package registry")


def machine_paths(path: PurePosixPath, text: str) -> Iterator[Violation]:
    """Paths of somebody's machine."""
    for number, line in enumerate(text.splitlines(), 1):
        found = MACHINE_PATHS.search(line)
        if found is not None:
            yield Violation(str(path), f"line {number} names {found[0]}, a path of one machine")


def lock_files(path: PurePosixPath) -> Iterator[Violation]:
    """A lock file pins one machine's registry; `constraints.txt` pins versions."""
    if path.name in LOCK_FILES:
        yield Violation(str(path), "lock files are not tracked; versions are in constraints.txt")
