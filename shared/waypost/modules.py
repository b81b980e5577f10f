"""Loading a user's module and finding what it defines. No global registry: what is hosted is what stands in the module."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from waypost.agents import Agent
from waypost.outside_tools import ToolSet
from waypost.tools import Tool
from waypost_proto.errors import Misconfigured

H = TypeVar("H", Agent[..., Any], Tool[..., Any])


def load_module(name: str) -> ModuleType:
    """Import `pkg.mod`, or a `.py` file, as `python` itself would: its folder (or the current one) comes first on the path.

    Loading the same file again gives the same module. Raises `Misconfigured` that says what could not be found, or where the text is
    not Python; an error inside the module comes through as it is.
    """
    try:
        return _load_file(Path(name)) if name.endswith(".py") else _load_name(name)
    except SyntaxError as error:
        raise Misconfigured(f"module {name!r} is not Python: {error.msg} ({error.filename}, line {error.lineno})") from error


def _load_name(name: str) -> ModuleType:
    _search_first(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is not
        raise Misconfigured(
            f"no module {name!r} (looked for {error.name!r} in {Path.cwd()} and on the path): give an importable name such as "
            "'my_package.agents', or a file such as 'agents.py'"
        ) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Misconfigured(f"no file {str(path)!r} in {Path.cwd()}: give a .py file, or an importable module name")
    path = path.resolve()
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) != str(path):
        name = f"{name}_{abs(hash(str(path))):x}"  # another module already has this name
        known = sys.modules.get(name)
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Misconfigured(f"{str(path)!r} is not a Python file")
    _search_first(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def hosted(module: ModuleType) -> tuple[list[Agent[..., Any]], list[Tool[..., Any]]]:
    """The agents and tools that are *defined in* `module`, in order of definition; a package's include its submodules'.

    Tools that an agent brings along (`Agent.hosts`) belong to its module. What was imported from elsewhere is not hosted, nor are
    `.using(…)` variants and remote tools. Raises `Misconfigured` when two of a kind have the same name.
    """
    agents: dict[str, Agent[..., Any]] = {}
    tools: dict[str, Tool[..., Any]] = {}
    for value in vars(module).values():
        if isinstance(value, Agent) and _belongs(value.module, module):
            _add("agents", agents, value, module)
            for tool in value.hosts:
                _add("tools", tools, tool, module)
        elif isinstance(value, Tool) and _belongs(value.module, module):
            _add("tools", tools, value, module)
        elif isinstance(value, ToolSet) and _belongs(value.module, module):
            for tool in value.values():
                _add("tools", tools, tool, module)
    return list(agents.values()), list(tools.values())


def _belongs(defined_in: str, module: ModuleType) -> bool:
    return defined_in == module.__name__ or (hasattr(module, "__path__") and defined_in.startswith(f"{module.__name__}."))


def _add(kind: str, known: dict[str, H], value: H, module: ModuleType) -> None:
    first = known.setdefault(value.name, value)
    if first.origin is not value.origin:
        raise Misconfigured(f"module {module.__name__!r} defines two {kind} named {value.name!r}: give one of them another name=")
