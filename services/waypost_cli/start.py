"""`waypost run`: start a run, and wait for it if asked to."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from waypost_cli.connect import connected
from waypost_cli.options import NO_LIMITS, AsJson, JsonText, Labels, Limits, parse_json, parse_labels
from waypost_cli.output import note, print_json, say
from waypost_cli.watching import finished, follow_to_end


async def run(  # noqa: PLR0913 - one parameter per option
    agent: str,
    /,
    *,
    input: JsonText = "null",  # noqa: A002
    wait: Annotated[bool, Parameter(name="--wait", help="Wait for the end; print the result.")] = False,
    idempotency_key: Annotated[str | None, Parameter(help="The same key again returns the first run.")] = None,
    limits: Limits = NO_LIMITS,
    deadline: Annotated[str | None, Parameter(help="An RFC 3339 time, or an ISO 8601 duration such as PT2H.")] = None,
    label: Labels = [],  # noqa: B006 - cyclopts reads the default, nobody changes it
    json: AsJson = False,
) -> int:
    """Start a run of AGENT. It is committed when this returns, whether or not a worker is there.

    With --wait the result goes to standard output and progress to standard error; exit 1 if the run fails.

    Examples: `waypost run compliance --input '{"id": "c-1"}' --wait`, `waypost run compliance --input @case.json --deadline PT2H`.
    """
    value = parse_json("--input", input)
    labels = parse_labels(label)
    budget = limits.budget()
    async with connected() as client:
        answer = await client.start(agent, value, idempotency_key=idempotency_key, budget=budget, deadline=deadline, labels=labels)
        if wait:
            if answer.duplicate:
                note(f"this key has started {answer.run_id} before: waiting for that run")
            (view,) = await follow_to_end(client, [answer.run_id], quiet=json)
            return await finished(client, view, as_json=json)
    if json:
        print_json(answer)
        return 0
    say(answer.run_id)
    note(f"{'already ' if answer.duplicate else ''}{answer.status or 'pending'}; follow it with: waypost runs watch {answer.run_id}")
    return 0
