"""Which tools this gateway hosts: those *defined in* the modules it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from msgspec import structs

from waypost import hosted
from waypost_gateway.calls import AnyTool
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured
from waypost_proto.limits import HEADER_ALLOWANCE_BYTES, MAX_MESSAGE_BYTES
from waypost_proto.registry import ToolDefinition

MAX_DEFINITIONS_BYTES = MAX_MESSAGE_BYTES - 2 * HEADER_ALLOWANCE_BYTES
"""What one announcement has room for: schemas from documents can be large."""


def tools_of(modules: Sequence[ModuleType], *, allow_empty: bool = False) -> list[AnyTool]:
    """The tools of all modules by name. Raises `Misconfigured` for two of the same name, or (unless `allow_empty`) for none at all."""
    tools: dict[str, AnyTool] = {}
    for module in modules:
        for tool in hosted(module)[1]:
            if tool.name in tools and tools[tool.name].function is not tool.function:
                raise Misconfigured(
                    f"two tools named {tool.name!r} (in {tools[tool.name].module} and {module.__name__}): give one of them another name="
                )
            tools[tool.name] = tool
    if not tools and not allow_empty:
        names = ", ".join(module.__name__ for module in modules)
        raise Misconfigured(
            f"no tools are defined in {names}: a gateway hosts the functions decorated with @tool in the modules it is given"
        )
    return [tools[name] for name in sorted(tools)]


def definitions_of(tools: Sequence[AnyTool], build: str) -> list[ToolDefinition]:
    """What is announced of them. Raises `Misconfigured` for types that have no JSON form, or more than one message can carry."""
    definitions: list[ToolDefinition] = []
    size = 0
    for tool in tools:
        try:
            definitions.append(structs.replace(tool.definition(build), answers_digest=True))
        except TypeError as error:
            raise Misconfigured(str(error)) from error
        size += len(encode(definitions[-1]))
    if size > MAX_DEFINITIONS_BYTES:
        largest = max(definitions, key=lambda definition: len(encode(definition)))
        raise Misconfigured(
            f"the definitions of {len(definitions)} tools take {size} bytes, at most {MAX_DEFINITIONS_BYTES} can be announced "
            f"(the largest is {largest.name!r}): host fewer (include=[…]), or in several gateways"
        )
    return definitions
