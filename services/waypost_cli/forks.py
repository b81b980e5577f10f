"""`waypost runs fork` and `waypost runs compare`: a run again from one of its events, and two runs side by side."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected
from waypost_cli.options import NO_LIMITS, AsJson, By, Labels, Limits, parse_json, parse_labels, who
from waypost_cli.output import console, note, print_json, say
from waypost_cli.watching import finished, follow_to_end
from waypost_core.comparing import Comparison, Pair, RunOf, StepOf

CELL_CHARS = 160
"""Arguments and results in the table; `--json` has more of them."""
_MARKS = {"same": "=", "different": "≠", "only_left": "<", "only_right": ">"}
_COLOURS = {"same": "dim", "different": "yellow", "only_left": "red", "only_right": "green"}
_NOTES = {
    "recorded": "its calls get the recorded answers, nothing is executed",
    "deny": "its calls are refused",
    "live": "its calls are executed: they take effect",
}


async def fork(  # noqa: PLR0913 - each parameter is an option of the command line
    run_id: str,
    /,
    *,
    at: Annotated[int, Parameter(help="The event after which it goes on by itself; `waypost runs events RUN` numbers them.")],
    input: Annotated[  # noqa: A002 - the option's name
        str | None, Parameter(allow_leading_hyphen=True, help="Another input, with --at 1: JSON, @FILE, or - for standard input.")
    ] = None,
    tools: Annotated[
        Literal["recorded", "deny", "live"], Parameter(help="What becomes of its calls after that: recorded if not given.")
    ] = "recorded",
    wait: Annotated[bool, Parameter(name="--wait", help="Wait for the end; print the result.")] = False,
    limits: Limits = NO_LIMITS,
    deadline: Annotated[str | None, Parameter(help="An RFC 3339 time, or an ISO 8601 duration such as PT2H.")] = None,
    label: Labels = [],  # noqa: B006 - cyclopts reads the default, nobody changes it
    by: By = "",
    json: AsJson = False,
) -> int:
    """Run again from one of a run's events: a new run begins with a copy of what came before it.

    --tools recorded answers its calls with what the run was answered, so that a what-if has no effect; it pauses at a call that the run
    never made. deny refuses calls. live executes them: they take effect, under keys of their own. The run itself is left as it is.

    Examples: `waypost runs fork RUN --at 1 --input @other.json --wait`, `waypost runs fork RUN --at 12 --tools live`.
    """
    value: Any = UNSET if input is None else parse_json("--input", input)
    labels = parse_labels(label)
    budget = limits.budget()
    async with connected() as client:
        answer = await client.fork(
            run_id, at, tools=tools, input=value, budget=budget, deadline=deadline, labels=labels, by=who(by)
        )  # fmt: skip
        if wait:
            note(f"fork {answer.run_id}: {_NOTES[tools]}")
            (view,) = await follow_to_end(client, [answer.run_id], quiet=json)
            return await finished(client, view, as_json=json)
    if json:
        print_json(answer)
        return 0
    say(answer.run_id)
    note(f"{_NOTES[tools]}; follow it with: waypost runs watch {answer.run_id}")
    note(f"compare them with: waypost runs compare {run_id} {answer.run_id}")
    return 0


async def compare(
    left: str,
    right: str,
    /,
    *,
    all: Annotated[bool, Parameter(name="--all", help="Show the steps that are the same, too.")] = False,  # noqa: A002
    json: AsJson = False,
) -> int:
    """Compare two runs step by step: what is asked, what came of it, cost and time; where they part is said first.

    Exit 1 if they differ in a step, in how they ended or in what came of it.
    """
    async with connected() as client:
        found = await client.compare(left, right)
    if json:
        print_json(found)
    else:
        show(found, everything=all)
    return 1 if differ(found) else 0


def differ(found: Comparison) -> bool:
    """Whether anything but the runs' ids and times is not the same."""
    return found.first_difference is not None or bool(found.differs)


def show(found: Comparison, *, everything: bool) -> None:
    """For people: both runs, then the steps side by side."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("", f"LEFT {found.left.run_id}", f"RIGHT {found.right.run_id}"):
        table.add_column(name, overflow="fold", ratio=1 if name else None)
    for name, left, right in _wholes(found.left, found.right):
        table.add_row(name, Text(left), Text(right, style="" if left == right or name in ("seconds", "forked") else "yellow"))
    table.add_section()
    same = 0
    for index, pair in enumerate(found.pairs):
        if pair.verdict == "same" and not everything:
            same += 1
            continue
        if same:
            table.add_row("", Text(f"{same} the same", style="dim"), "")
            same = 0
        first = index == found.first_difference
        colour = _COLOURS[pair.verdict]
        mark = Text(_MARKS[pair.verdict] + (" first" if first else ""), style=f"bold {colour}" if first else colour)
        table.add_row(mark, Text(words(pair.left, pair), style=colour), Text(words(pair.right, pair), style=colour))
    if same:
        table.add_row("", Text(f"{same} the same", style="dim"), "")
    console().print(table)
    say(verdict(found))


def verdict(found: Comparison) -> str:
    """In one sentence."""
    if found.first_difference is not None:
        pair = found.pairs[found.first_difference] if found.first_difference < len(found.pairs) else None
        step = None if pair is None else pair.left or pair.right
        what = (
            ""
            if step is None or pair is None
            else f" at {step.kind} {step.name or step.call_id} ({', '.join(pair.differs) or 'only one has it'})"
        )
        return f"the runs part{what}"
    if found.differs:
        return f"the same steps; {', '.join(found.differs)} differ{'s' if len(found.differs) == 1 else ''}"
    return "the runs are the same"


def words(step: StepOf | None, pair: Pair) -> str:
    """A step of one run in a few lines; what differs is shown, what is the same only named."""
    if step is None:
        return ""
    seconds = f", {step.seconds:.3g} s" if step.seconds else ""
    cost = f", {step.cost_usd:g} USD" if step.cost_usd else ""
    tokens = f", {step.tokens} tokens" if step.tokens else ""
    recalled = f", answered by event {step.recalled}" if step.recalled else ""
    lines = [f"{step.seq} {step.kind} {step.name} {step.state}{seconds}{tokens}{cost}{recalled}".replace("  ", " ")]
    if step.asked and (pair.verdict != "different" or "asked" in pair.differs):
        lines.append(f"  asked {_cell(step.asked)}")
    if step.answer and (pair.verdict != "different" or "answer" in pair.differs):
        lines.append(f"  → {_cell(step.answer)}")
    return "\n".join(lines)


def _wholes(left: RunOf, right: RunOf) -> list[tuple[str, str, str]]:
    rows = [(name, _cell(str(getattr(left, name))), _cell(str(getattr(right, name)))) for name in _WHOLES]
    forked = [f"from {run.forked_from} at {run.forked_at}" if run.forked_from else "" for run in (left, right)]
    rows.insert(1, ("forked", forked[0], forked[1]))
    return [row for row in rows if row[1] or row[2]]


_WHOLES = ("agent", "status", "input", "result", "error", "steps", "model_calls", "tool_calls", "tokens", "cost_usd", "seconds")


def _cell(text: str) -> str:
    return text if len(text) <= CELL_CHARS else f"{text[:CELL_CHARS]}…"
