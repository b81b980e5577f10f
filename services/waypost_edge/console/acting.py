"""Everything in the console that changes something. Each is one request to the coordinator, as whoever is signed in; it decides.

A form sends a `request_id` that its page was made with, so that pressing twice does nothing twice. Answers are JSON for the console's own
script (`{"message": …, "go"?: address}`, or a problem), and a page that goes on where it was for a browser without it.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw, UnsetType
from starlette.responses import Response

from waypost_edge.console.pages import onwards, wants_json
from waypost_edge.console.schema_forms import read_form
from waypost_proto import api
from waypost_proto.errors import BadInput, NotFound, TooLarge
from waypost_proto.ids import parse_run_id, uuid7
from waypost_proto.task import TaskBudget

if TYPE_CHECKING:
    from starlette.requests import Request

    from waypost_edge.console.site import Console, Who

MAX_FORM_BYTES = 1024 * 1024
MAX_FIELDS = 500
Form = Mapping[str, str]


async def form_of(request: Request) -> Form:
    """What was filled in, bounded. Raises `TooLarge`, `BadInput`."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_FORM_BYTES:
        raise TooLarge(f"a form has at most {MAX_FORM_BYTES} bytes and says how many (Content-Length: {length or 'missing'})")
    from urllib.parse import parse_qsl

    body = await request.body()
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadInput("send the form as application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise BadInput(f"the form cannot be read: {error}") from error
    return dict(pairs)


def done(request: Request, message: str, go: str, *, stay: bool = True) -> Response:
    """It is done: `message` for people, `go` where to look at it. `stay`: the page looks again and stays where it is."""
    if wants_json(request):
        body = {"message": message} if stay else {"message": message, "go": go}
        return Response(msgspec.json.encode(body), media_type="application/json")
    return onwards(request, go)


# -- runs


async def start(_console: Console, request: Request, who: Who) -> Response:
    """`POST /runs/start`: `agent`, `input` (JSON) or the fields of the agent's form (`as=fields`), limits."""
    form = await form_of(request)
    agent = form.get("agent", "").strip()
    text = form.get("input", "").strip()
    given = await _input_of(who, agent, form) if form.get("as") == "fields" and not text else _json(text or "null", "Input")
    answer = await who.client.call(
        "runs.start",
        api.RunsStart(
            agent=agent,
            input=given,
            run_id=form.get("run_id") or _new_id(),
            budget=_budget(form),
            labels=_labels(form.get("labels", "")),
        ),
        api.RunAnswer,
    )
    return done(request, f"Run {answer.run_id} was started", f"/runs/{answer.run_id}", stay=False)


async def _input_of(who: Who, agent: str, form: Form) -> Raw:
    """The fields of a form, read by the schema that it was made from."""
    schemas = {view.definition.name: view.definition.input_schema for view in await who.client.agents()}
    if agent not in schemas:
        raise NotFound(f"there is no agent {agent!r} any more whose form this could be: look again")
    return read_form(schemas[agent], form)


def _labels(text: str) -> dict[str, str]:
    from waypost_edge.console.listing import labels_of

    return labels_of(text)


def _new_id() -> str:
    import os
    import time

    return uuid7(int(time.time() * 1000), os.urandom(10))


async def run_command(_console: Console, request: Request, who: Who) -> Response:
    """`POST /runs/{id}/{verb}`."""
    run_id = parse_run_id(request.path_params["run_id"])
    verb = request.path_params["verb"]
    act = _VERBS.get(verb)
    if act is None:
        raise NotFound(f"there is no {verb!r}: there are {', '.join(_VERBS)}")
    message, go = await act(who, run_id, await form_of(request))
    return done(request, message, go, stay=go == f"/runs/{run_id}")


async def _pause(who: Who, run_id: str, form: Form) -> tuple[str, str]:
    command = api.RunCommand(run_id=run_id, **_said(who, form))
    answer = await who.client.call("runs.pause", command, api.RunAnswer)
    return f"The run is {_now(answer)}. Nothing that was queued takes effect.", f"/runs/{run_id}"


async def _resume(who: Who, run_id: str, form: Form) -> tuple[str, str]:
    command = api.RunCommand(
        run_id=run_id,
        request_id=_request_id(form),
        by=_by(who, form),
        budget=_budget(form),
        instruction=form.get("instruction", "").strip(),
    )
    answer = await who.client.call("runs.resume", command, api.RunAnswer)
    return f"The run goes on: it is {_now(answer)}.", f"/runs/{run_id}"


async def _cancel(who: Who, run_id: str, form: Form) -> tuple[str, str]:
    answer = await who.client.call("runs.cancel", api.RunCommand(run_id=run_id, **_said(who, form)), api.RunAnswer)
    return f"The run is {_now(answer)}. Nothing that was queued takes effect.", f"/runs/{run_id}"


async def _signal(who: Who, run_id: str, form: Form) -> tuple[str, str]:
    name = form.get("name", "").strip()
    if not name:
        raise BadInput("name the signal")
    request = api.RunSignal(
        run_id=run_id,
        name=name,
        payload=_json(form.get("payload", "").strip() or "null", "Payload"),
        request_id=_request_id(form),
        by=_by(who, form),
    )
    await who.client.call("runs.signal", request, api.RunAnswer)
    return f"Signal {name} was sent.", f"/runs/{run_id}"


async def _resolve(who: Who, run_id: str, form: Form) -> tuple[str, str]:
    outcome = form.get("outcome", "")
    if outcome not in ("completed", "not_done", "failed"):
        raise BadInput("say what became of the call: it took effect, it did not, or it is given up")
    result: Raw | UnsetType = UNSET
    if outcome == "completed":
        result = _json(form.get("result", "").strip() or "null", "Result")
    request = api.RunResolve(run_id=run_id, call_id=form.get("call_id", ""), outcome=outcome, result=result, **_said(who, form))  # type: ignore[arg-type]
    await who.client.call("runs.resolve", request, api.RunAnswer)
    return "The call is settled.", f"/runs/{run_id}"


async def _fork(who: Who, run_id: str, form: Form) -> tuple[str, str]:
    at, tools = form.get("at", "").strip(), form.get("tools", "recorded")
    if not at.isdecimal() or len(at) > 12 or int(at) < 1:
        raise BadInput(f"event {at!r} is not the number of an event: they count from 1")
    if tools not in ("recorded", "deny", "live"):
        raise BadInput(f"tools={tools!r} is not one of recorded, deny, live")
    changed = form.get("input", "").strip()
    request = api.RunFork(
        run_id=run_id,
        at=int(at),
        tools=tools,  # type: ignore[arg-type]
        input=_json(changed, "Input") if changed else UNSET,
        new_run_id=form.get("new_run_id") or _new_id(),
        budget=_budget(form),
        by=_by(who, form),
    )
    answer = await who.client.call("runs.fork", request, api.RunAnswer)
    return f"Forked as run {answer.run_id}.", f"/runs/{answer.run_id}"


_VERBS: Mapping[str, Callable[[Who, str, Form], Awaitable[tuple[str, str]]]] = {
    "pause": _pause,
    "resume": _resume,
    "cancel": _cancel,
    "signal": _signal,
    "resolve": _resolve,
    "fork": _fork,
}


# -- approvals


async def decide(_console: Console, request: Request, who: Who) -> Response:
    """`POST /approvals/{id}`: `decision` is approve, edit, deny or answer."""
    approval_id = request.path_params["approval_id"]
    form = await form_of(request)
    decision = form.get("decision", "")
    if decision not in ("approve", "edit", "deny", "answer"):
        raise BadInput(f"decision={decision!r} is not one of approve, edit, deny, answer")
    args: Raw | UnsetType = UNSET
    answer: Raw | UnsetType = UNSET
    if decision in ("edit", "answer"):
        value = _json(form["json"], "JSON") if form.get("json", "").strip() else await _filled(who, approval_id, decision, form)
        args, answer = (value, UNSET) if decision == "edit" else (UNSET, value)
    request_ = api.ApprovalsDecide(
        approval_id=approval_id,
        decision="approve" if decision == "edit" else decision,  # type: ignore[arg-type]
        by=_by(who, form),
        roles=[] if who.known else [role for role in (form.get("role", ""),) if role],
        reason=form.get("reason", "").strip(),
        request_id=_request_id(form),
        args=args,
        answer=answer,
    )
    given = await who.client.call("approvals.decide", request_, api.RunAnswer)
    words = {"approve": "Approved", "edit": "Approved with other arguments", "deny": "Denied", "answer": "Answered"}
    return done(request, f"{words[decision]}. The run is {_now(given)}.", form.get("back", "/approvals") or "/approvals")


async def _filled(who: Who, approval_id: str, decision: str, form: Form) -> Raw:
    """The fields of a form, read by the schema that it was made from."""
    run_id = form.get("run_id") or None
    asked = await who.client.approvals(run_id=run_id)
    approval = next((each for each in asked if each.approval_id == approval_id), None)
    if approval is None:
        raise NotFound(f"approval {approval_id} is not open any more")
    if decision == "answer":
        return read_form(approval.answer_schema, form)
    tools = {each.definition.name: each.definition.args_schema for each in await who.client.tools()}
    return read_form(tools.get(approval.tool, Raw(b"{}")), form)


# -- dead letters


async def letter(_console: Console, request: Request, who: Who) -> Response:
    """`POST /dead/{id}/redrive`, `…/discard`."""
    dead_id, verb = int(request.path_params["dead_id"]), request.path_params["verb"]
    if verb not in ("redrive", "discard"):
        raise NotFound(f"there is no {verb!r}: there are redrive, discard")
    await form_of(request)
    await who.client.call(f"dead.{verb}", api.DeadRef(dead_id=dead_id), api.DeadView)
    words = "was sent again" if verb == "redrive" else "is discarded"
    return done(request, f"Dead letter {dead_id} {words}.", "/dead", stay=form_back(request))


def form_back(request: Request) -> bool:
    """Whether the form was on the list, which looks again, and not on the letter's own page, which is gone now."""
    return not request.headers.get("referer", "").rstrip("/").rpartition("/")[2].isdecimal()


# -- shared


def _said(who: Who, form: Form) -> dict[str, Any]:
    return {"request_id": _request_id(form), "reason": form.get("reason", "").strip(), "by": _by(who, form)}


def _by(who: Who, form: Form) -> str:
    """Of somebody who is authenticated nothing is said: the coordinator knows."""
    return "" if who.known else form.get("by", "").strip()[:200] or "console"


def _request_id(form: Form) -> str:
    return form.get("request_id", "").strip()[:100] or uuid.uuid4().hex


def _now(answer: api.RunAnswer) -> str:
    from waypost_edge.console.shown import status_word

    return status_word(answer.status)


def _json(text: str, what: str) -> Raw:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadInput(f"{what} is not JSON: {error}; texts need double quotes") from error
    return Raw(text.encode())


def _budget(form: Form) -> TaskBudget | None:
    found: dict[str, float | int] = {}
    for name, kind in (("max_steps", int), ("max_tokens", int), ("max_cost_usd", float), ("max_seconds", float), ("max_repeats", int)):
        text = form.get(name, "").strip()
        if not text:
            continue
        try:
            found[name] = kind(text)
        except ValueError as error:
            raise BadInput(f"{name.replace('_', ' ')}: {text!r} is not a number") from error
    if not found:
        return None
    try:
        return msgspec.convert(found, TaskBudget)
    except msgspec.ValidationError as error:
        raise BadInput(f"limits: {error}") from error
