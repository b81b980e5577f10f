"""The reference, generated from the code: nothing here is written by hand, and nothing of the code is left out. Pure text; no mkdocs.

`PAGES` maps a page's path on the site to what makes it. Importing this imports no page's subject.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
_SPECIAL = re.compile(r"([\\*_\[\]<>|])")


def python() -> str:
    """What `from waypost import …` offers: signatures and docstrings, with the public methods of classes."""
    import waypost

    parts = ["# Python", "", "What `from waypost import …` offers, from its docstrings. The guides show how it is used.", ""]
    for name in sorted(waypost.__all__, key=str.lower):
        thing = getattr(waypost, name)
        parts += [f"## `{name}`", "", *_shown(name, thing)]
        if inspect.isclass(thing):
            for method, member in _methods(thing):
                parts += [f"### `{name}.{method}`", "", *_shown(method, member)]
    return "\n".join(parts) + "\n"


def _shown(name: str, thing: Any) -> list[str]:
    try:
        signature = str(inspect.signature(thing))
    except (TypeError, ValueError):
        signature = ""
    signature = re.sub(r" at 0x[0-9a-f]+", "", re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature))
    keyword = "class " if inspect.isclass(thing) else "async " if inspect.iscoroutinefunction(thing) else ""
    code = ["```python", f"{keyword}{name}{signature}", "```", ""] if signature else []
    return [*code, *_prose(inspect.getdoc(thing) or ""), ""]


def _methods(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in sorted(vars(kind).items()):
        inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isroutine(inner) and inspect.getdoc(inner):
            yield name, inner


def _prose(text: str) -> list[str]:
    """A docstring as Markdown: indented examples become blocks."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        indented = line.startswith("    ") and bool(line.strip())
        if indented != inside and line.strip():
            lines += [""] if indented else []
            lines.append("```python" if indented else "```")
            inside = indented
        lines.append(line[4:] if inside else line.replace("<", "&lt;"))
    return [*lines, "```"] if inside else lines


def command_line() -> str:
    """Every command with its help, as `--help` prints it."""
    from rich.console import Console

    from waypost_cli.app import COMMANDS, build

    parts = ["# Command line", "", "Every command as `waypost COMMAND --help` prints it; [cli.md](../cli.md) tells what they are for.", ""]
    for command in COMMANDS:
        out = io.StringIO()
        words = command.words.split()
        console = Console(file=out, width=120, color_system=None, legacy_windows=False, force_terminal=False)
        build(words).help_print(words, console=console)
        text = "\n".join(line.rstrip() for line in out.getvalue().strip("\n").splitlines())
        parts += [f"## `waypost {command.words}`", "", "```text", text, "```", ""]
    return "\n".join(parts)


def settings() -> str:
    """Every variable that is read, by the process that reads it."""
    from waypost_io import environment
    from waypost_io import settings as code

    parts = [
        "# Settings",
        "",
        "Every `WAYPOST_…` variable; [operations.md](../operations.md#environment-variables) says what they are for.",
        "",
    ]
    kinds = (
        code.Settings, code.CoordinatorSettings, code.WorkerSettings, code.GatewaySettings, code.AuditSettings, code.EdgeSettings,
        code.TraceContentSettings,
    )  # fmt: skip
    seen: set[str] = set()
    for kind in kinds:
        rows = [(env, getattr(kind(), field), inner) for field, env, inner in environment.variables(kind) if env.variable not in seen]
        seen |= {env.variable for env, _, _ in rows}
        parts += [f"## {kind.__name__}", "", _first(kind), "", "| variable | default | what |", "|---|---|---|"]
        parts += [f"| `{env.variable}` | {_default(value)} | {_cell(env.what)}{_bounds(env)} |" for env, value, _ in rows]
        parts.append("")
    parts += ["## Read elsewhere", "", *(f"- `{name}`" for name in sorted(code.OTHER_VARIABLES)), ""]
    return "\n".join(parts)


def _default(value: object) -> str:
    return "" if value in (None, "") else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _bounds(env: Any) -> str:
    return f" ({env.low:g} to {env.high:g})" if isfinite(env.low) and isfinite(env.high) else ""


def subjects() -> str:
    """Subjects with what builds them, and streams with their bounds."""
    from waypost_io.bus.topology import stream_specs
    from waypost_proto.subjects import Subjects

    made = Subjects()
    parts = ["# Subjects and streams", "", "Under the default prefix; [wire.md](../wire.md) tells what their messages are.", ""]
    parts += ["| subject | what |", "|---|---|"]
    for name, method in inspect.getmembers(Subjects, inspect.isfunction):
        if name.startswith("_") or name in ("agent_of_task", "stream", "mail_consumer"):
            continue
        values = [_sample(parameter) for parameter in list(inspect.signature(method).parameters)[1:]]
        parts.append(f"| `{_written(getattr(made, name)(*values))}` | {_cell(_first(method))} |")
    parts += ["", "| stream | subjects | keeps | at most | age | message |", "|---|---|---|---|---|---|"]
    for spec in stream_specs(made, partitions=8):
        age = f"{spec.max_age_seconds / 3600:g} h" if spec.max_age_seconds else ""
        size = f"{spec.max_bytes >> 20} MiB"
        parts.append(
            f"| `{spec.name}` | `{', '.join(spec.subjects)}` | {spec.retention} | {size} | {age} | {spec.max_message_bytes} bytes |"
        )
    return "\n".join(parts) + "\n"


_RUN = "00000000-0000-7000-8000-000000000000"


def _sample(name: str) -> Any:
    return {"run_id": _RUN, "partitions": 8, "partition": 0, "kind": "result"}.get(name, f"x-{name.replace('_', '-')}")


def _written(subject: str) -> str:
    return re.sub(r"x-([a-z-]+)", lambda match: f"<{match[1].replace('-', '_')}>", subject.replace(_RUN, "<run_id>"))


def metrics() -> str:
    """Every metric that some service defines."""
    parts = ["# Metrics", "", "Every metric of every service; [metrics.md](../metrics.md) tells what they are for.", ""]
    parts += ["| metric | kind | labels | what |", "|---|---|---|---|"]
    for name, (kind, labels, text) in sorted(metrics_of_the_code().items()):
        parts.append(f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {_cell(text)} |")
    return "\n".join(parts) + "\n"


def metrics_of_the_code() -> dict[str, tuple[str, list[str], str]]:
    """Kind, labels and words of each metric, by its name; of the GenAI conventions those that some service uses."""
    from waypost_io import genai_metrics

    code = "\n".join(path.read_text() for path in sorted((ROOT / "services").rglob("*.py")))
    found: dict[str, tuple[str, list[str], str]] = {}
    for constant, instrument in vars(genai_metrics).items():
        if any(instrument is one for one in genai_metrics.INSTRUMENTS) and f"genai_metrics.{constant}" in code:
            found[instrument.name] = (instrument.kind, list(instrument.labels), instrument.text)
    for root in ("services", "shared"):
        for path in sorted((ROOT / root).rglob("*.py")):
            found |= _defined(ast.parse(path.read_text()))
    return found


def _defined(tree: ast.Module) -> dict[str, tuple[str, list[str], str]]:
    found: dict[str, tuple[str, list[str], str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr=("counter" | "gauge" | "histogram") as kind), args=[ast.Constant(value=str(name)), *rest]
            ):
                labels = [ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "labels"]
                text = rest[0].value if rest and isinstance(rest[0], ast.Constant) else ""
                found[name] = (kind, list(labels[0]) if labels else [], str(text))
    return found


def events() -> str:
    """Every event of the log with its fields."""
    from typing import get_args

    from msgspec import NODEFAULT
    from msgspec.structs import fields

    from waypost_proto import events as code

    parts = [
        "# Events",
        "",
        "What happens to a run, as it is stored and published; [wire.md](../wire.md#events) tells how to read them.",
        "",
    ]
    for kind in get_args(code.AnyData):
        parts += [f"## `{kind.__struct_config__.tag}`", "", *([_cell(doc) + "\n"] if (doc := _own_doc(kind)) else [])]
        rows = [field for field in fields(kind) if field.name not in ("seen", "mark")]
        if rows:
            parts += ["| field | type | |", "|---|---|---|"]
            parts += [f"| `{f.name}` | `{_type(f.type)}` | {'required' if _required(f, NODEFAULT) else ''} |" for f in rows]
        parts.append("")
    return "\n".join(parts)


def _required(field: Any, nothing: object) -> bool:
    return field.default is nothing and field.default_factory is nothing


def _own_doc(kind: type) -> str:
    return " ".join((kind.__dict__.get("__doc__") or "").split())


def _type(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"typing\.Annotated\[([^,\[\]]+(?:\[[^\]]*\])?), [^\]]*\)\]", r"\1", text)
    return re.sub(r"(?:[a-z_]+\.)+(?=\w)", "", text).replace("|", "or").replace("`", "")


def _first(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")


PAGES: Final[dict[str, Callable[[], str]]] = {
    "reference/python.md": python,
    "reference/command-line.md": command_line,
    "reference/settings.md": settings,
    "reference/subjects.md": subjects,
    "reference/metrics.md": metrics,
    "reference/events.md": events,
}
