"""The API where callers are authenticated: every endpoint against every kind of token, other tenants' ids, limits of tokens, delegates."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.waypost_coordinator.api.conftest import Caller as Asking
from tests.unit.waypost_coordinator.api.rig import Desk
from waypost_coordinator.api.table import OPERATIONS
from waypost_coordinator.callers import FOR_SERVICES, Gatekeeper
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.identities import Identities
from waypost_io.identity import Signer, Signs, new_token
from waypost_io.permissions import PERMISSIONS, may
from waypost_proto.errors import NotAuthenticated
from waypost_proto.events import ApprovalRequested, ToolCallRequested
from waypost_proto.ids import CallId, RunId, uuid7
from waypost_proto.mailbox import DecideApproval
from waypost_proto.signing import BEHALF_HEADER, KEY_HEADER, SIGNATURE_HEADER, Behalf, pack_behalf
from waypost_proto.values import Approval, Effect, Mark, Proof

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
MISSING = RunId(uuid7(1_700_000_000_000, bytes(10)))


class Office:
    """A desk that authenticates, and people's tokens."""

    def __init__(self, desk: Desk, ask: Asking, path: Path) -> None:
        self.desk = desk
        self.ask = ask
        self.file = path
        self.signers: dict[str, Signer] = {}

    async def call(self, who: str | Signs, endpoint: str, request: Any = None, **headers: str) -> tuple[str, Any]:
        """(code, decoded body) of a request by `who`; "" does not sign."""
        body = request if isinstance(request, bytes) else json.dumps(request or {}).encode()
        noun, _, verb = endpoint.partition(".")
        signer = self.signers.get(who) if isinstance(who, str) else who
        signed = {} if signer is None else signer.headers(self.desk.subjects.api(noun, verb), body)
        answer = await self.ask.raw(endpoint, body, {**signed, **headers})
        code = answer.headers.get("Nats-Service-Error-Code", "200")
        return code, json.loads(answer.body) if answer.body[:1] in (b"{", b"[") else answer.body

    async def waiting(self, tenant: str, agent: str = "desk") -> tuple[RunId, str]:
        """A run that waits for an officer's approval, and the approval."""
        run_id = await self.desk.started(agent, tenant=tenant, starter="sam")
        asked = ToolCallRequested(
            call_id=CallId("c1"),
            tool="pay",
            args=msgspec.Raw(b"{}"),
            args_digest="d",
            idempotency_key="k",
            effect=Effect.UNSAFE,
            approval=Approval(role="officer"),
            seen=1,
            mark=Mark(digest="a", seen=1, worker="w"),
        )
        approval_id = f"ap-{run_id}"
        await self.desk.play(
            run_id,
            asked,
            ApprovalRequested(
                approval_id=approval_id, call_id=CallId("c1"), tool="pay", args_digest="d", role="officer", expires_at=self.desk.now + 3_600
            ),
        )
        return run_id, approval_id


PEOPLE: dict[str, dict[str, Any]] = {
    "sam": {"roles": ["submitter"]},
    "ann": {"roles": ["officer"]},
    "olga": {"roles": ["operator"]},
    "aud": {"roles": ["auditor"]},
    "root": {"roles": ["admin"], "tenant": "*"},
    "svc": {"roles": ["service"], "tenant": "*"},
    "edge": {"roles": ["delegate"]},
    "tight": {"roles": ["delegate"], "behalf_roles": ["submitter"], "behalf_tenants": ["bank"]},
    "bea": {"roles": ["submitter", "operator", "officer", "auditor"], "tenant": "bank"},
    "one": {"roles": ["submitter", "operator", "officer"], "agents": ["desk"]},
    "reader": {"roles": ["submitter", "operator", "officer"], "read_only": True},
    "starter": {"roles": ["submitter", "operator"], "verbs": ["runs.start", "approvals.*"]},
}


@asynccontextmanager
async def opened(path: Path, *, services_sign: bool = False) -> AsyncIterator[Office]:
    lines, signers = [], {}
    for subject, more in PEOPLE.items():
        token, key = new_token()
        signers[subject] = Signer(token)
        lines += ["[[identity]]", f"subject = {json.dumps(subject)}", f"key = {json.dumps(key)}"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    file = path / "identities.toml"
    file.write_text("\n".join(lines))
    broker = MemoryBroker()
    async with MemoryBus(broker) as bus, MemoryBus(broker) as other:
        desk = Desk(bus)
        desk.gate = Gatekeeper(Identities(file), "required", desk.subjects, lambda: desk.now, services_sign=services_sign)
        async with desk:
            office = Office(desk, Asking(other, desk), file)
            office.signers = signers
            yield office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path) as office:
        yield office


# -- every endpoint, every kind of token


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
async def test_missing_expired_foreign_and_underprivileged_tokens(office: Office, operation: str) -> None:
    code, _ = await office.call("", operation)
    assert code == "401" or operation in FOR_SERVICES
    assert (await office.call(Signer(new_token()[0]), operation))[0] == "401"
    good = office.signers["root"].headers(office.desk.subjects.api(*operation.split(".")), b"{}")
    assert (await office.call("", operation, **{**good, SIGNATURE_HEADER: "AAAA"}))[0] == "401"
    assert (await office.call("", operation, {"x": 1}, **good))[0] == "401"
    assert (await office.call("", operation, **{**good, BEHALF_HEADER: pack_behalf(Behalf(subject="ann", roles=["admin"]))}))[0] == "401"
    office.desk.now += 301
    assert (await office.call("", operation, **good))[0] == "401"
    office.desk.now -= 301
    for who, more in PEOPLE.items():
        code, body = await office.call(who, operation)
        limited = who == "starter" and operation not in PEOPLE["starter"]["verbs"] and not operation.startswith("approvals.")
        refused = not may(operation, more["roles"]) or (who == "reader" and not PERMISSIONS[operation].reads) or limited
        assert (code == "403") is (refused or (operation == "runs.redispatch" and who in ("bea", "one"))), (who, code, body)


async def test_services_sign_too_where_that_is_asked(tmp_path: Path) -> None:
    async with opened(tmp_path, services_sign=True) as office:
        run_id = await office.desk.started(tenant="bank")
        for operation in sorted(FOR_SERVICES):
            assert (await office.call("", operation, {"run_id": run_id}))[0] == "401"
        assert (await office.call("svc", "runs.journal", {"run_id": run_id}))[0] == "200"
        assert (await office.call("svc", "runs.get", {"run_id": run_id}))[0] == "403"


async def test_an_identity_that_expires(office: Office) -> None:
    text = office.file.read_text()
    office.desk.gate = None
    token, key = new_token()
    office.file.write_text(text + f'\n[[identity]]\nsubject="old"\nkey="{key}"\nroles=["admin"]\nexpires=2020-01-01T00:00:00Z\n')
    gate = Gatekeeper(Identities(office.file), "required", office.desk.subjects, lambda: office.desk.now)
    subject = office.desk.subjects.api("runs", "list")
    with pytest.raises(NotAuthenticated, match="expired"):
        gate.admit("runs.list", subject, Signer(token).headers(subject, b"{}"), b"{}")


# -- tenants

ABOUT_A_RUN: dict[str, dict[str, Any]] = {
    "runs.get": {},
    "runs.events": {},
    "runs.journal": {},
    "runs.signal": {"name": "go"},
    "runs.pause": {},
    "runs.resume": {},
    "runs.cancel": {},
    "runs.resolve": {"call_id": "c1", "outcome": "not_done"},
    "runs.redispatch": {},
}


@pytest.mark.parametrize("operation", sorted(ABOUT_A_RUN))
async def test_another_tenants_run_is_not_found_in_the_words_for_none(office: Office, operation: str) -> None:
    theirs = await office.desk.started(tenant="default", starter="sam")
    rest = ABOUT_A_RUN[operation]
    other = await office.call("bea", operation, {"run_id": theirs, **rest})
    none = await office.call("bea", operation, {"run_id": MISSING, **rest})
    assert (other[0], none[0]) == ("404", "404")
    assert other[1] == json.loads(json.dumps(none[1]).replace(MISSING, theirs))
    assert not [mail for mail in office.desk.submitted if mail.run_id == theirs]
    assert (await office.call("root", operation, {"run_id": theirs, **rest}))[1] != none[1]


async def test_lists_show_the_own_tenant_alone(office: Office) -> None:
    ours, our_approval = await office.waiting("bank")
    theirs, their_approval = await office.waiting("default")
    listed = {who: {run["run_id"] for run in (await office.call(who, "runs.list"))[1]["runs"]} for who in ("bea", "sam", "root")}
    assert listed == {"bea": {ours}, "sam": {theirs}, "root": {ours, theirs}}
    asked = {who: {a["approval_id"] for a in (await office.call(who, "approvals.list"))[1].get("approvals", [])} for who in listed}
    assert asked == {"bea": {our_approval}, "sam": {their_approval}, "root": {our_approval, their_approval}}
    of_runs = [(await office.call("bea", "approvals.list", {"run_id": run_id}))[1] for run_id in (theirs, MISSING)]
    assert of_runs[0] == of_runs[1]
    everything = await office.call("bea", "approvals.list", {"state": "all"})
    assert [a["approval_id"] for a in everything[1]["approvals"]] == [our_approval]


async def test_another_tenants_approval_is_not_found_and_not_decided(office: Office) -> None:
    run_id, approval_id = await office.waiting("default")
    for decision in ("approve", "deny"):
        other = await office.call("bea", "approvals.decide", {"approval_id": approval_id, "decision": decision})
        none = await office.call("bea", "approvals.decide", {"approval_id": "ap-none", "decision": decision})
        assert other[1] == json.loads(json.dumps(none[1]).replace("ap-none", approval_id))
        assert other[0] == "404"
    assert (await office.call("ann", "approvals.decide", {"approval_id": approval_id, "decision": "approve"}))[0] == "200"
    state = await office.desk.state(run_id)
    assert state is not None


async def test_by_the_mailbox_too_a_decision_is_of_the_deciders_tenant(office: Office) -> None:
    """Whoever may publish there goes past the API: the owner of the run looks at the signature's tenant, whatever the mail says."""
    run_id, approval_id = await office.waiting("default")
    body = json.dumps({"approval_id": approval_id, "decision": "approve"}).encode()
    subject = office.desk.subjects.api("approvals", "decide")
    headers = office.signers["bea"].headers(subject, body)
    proof = Proof(
        key=headers[KEY_HEADER], at=headers["Waypost-At"], signature=headers[SIGNATURE_HEADER], subject=subject, body=msgspec.Raw(body)
    )
    forged = DecideApproval(
        run_id=run_id,
        request_id="x",
        by="ann",
        approval_id=approval_id,
        decision="approve",
        roles=["officer"],
        authenticated=True,
        proof=proof,
    )
    assert office.desk.gate is not None
    vouched = office.desk.gate.vouched(forged)
    assert (vouched.by, vouched.tenant) == ("bea", "bank")
    reply = await office.desk.decide(vouched)
    assert (reply.ok, reply.code) == (False, "404")
    assert (await office.call("ann", "approvals.decide", {"approval_id": approval_id, "decision": "approve"}))[0] == "200"


async def test_runs_are_of_their_starters_tenant_and_nothing_in_a_request_changes_it(office: Office) -> None:
    asked = {"agent": "desk", "input": 1, "labels": {"tenant": "default", "waypost.tenant": "default"}, "idempotency_key": "k"}
    ours = (await office.call("bea", "runs.start", asked))[1]["run_id"]
    theirs = (await office.call("sam", "runs.start", asked))[1]["run_id"]
    assert ours != theirs
    assert (await office.call("bea", "runs.start", asked))[1] == {"run_id": ours, "status": "pending", "duplicate": True}
    assert (await office.call("root", "runs.get", {"run_id": ours}))[1]["tenant"] == "bank"
    for smuggled in ({"tenant": "default"}, {"starter": "sam"}, {"parent": {"run_id": theirs}}):
        assert (await office.call("bea", "runs.start", {**asked, "idempotency_key": "n", **smuggled}))[0] == "400"
    by_root = (await office.call("root", "runs.start", {"agent": "desk", "input": 2}))[1]["run_id"]
    assert (await office.call("sam", "runs.get", {"run_id": by_root}))[0] == "200"


async def test_a_run_id_of_another_tenants_tells_nothing_of_it(office: Office) -> None:
    theirs = await office.desk.started(input=b"1", tenant="default", starter="sam")
    code, body = await office.call("bea", "runs.start", {"agent": "desk", "input": 1, "run_id": theirs})
    assert (code, "taken" in body["detail"], "status" in body.get("detail", "")) == ("409", True, False)


async def test_dead_letters_are_of_their_runs_tenant(office: Office) -> None:
    ids: dict[str, int] = {}
    for name, run_id in {
        "bank": await office.desk.started(tenant="bank"),
        "house": await office.desk.started(),
        "none": None,
        "odd": "x",
    }.items():
        ids[name] = await office.desk.store.dead.add(
            origin="mailbox", subject="s", reason="r", body=b"{}", headers={}, source=name, run_id=run_id
        )
    seen = {who: {d["dead_id"] for d in (await office.call(who, "dead.list"))[1].get("dead", [])} for who in ("bea", "olga", "root", "one")}
    assert seen["bea"] == {ids["bank"]}
    assert seen["olga"] == {ids["house"], ids["none"], ids["odd"]}
    assert seen["root"] == set(ids.values())
    page = (await office.call("bea", "dead.list", {"limit": 1}))[1]
    assert [d["dead_id"] for d in page["dead"]] == [ids["bank"]]
    for operation in ("dead.show", "dead.redrive", "dead.discard"):
        other = await office.call("bea", operation, {"dead_id": ids["house"]})
        none = await office.call("bea", operation, {"dead_id": 999})
        assert other[0] == none[0] == "404"
        assert other[1] == json.loads(json.dumps(none[1]).replace("999", str(ids["house"])))
    assert (await office.call("bea", "dead.discard", {"dead_id": ids["bank"]}))[0] == "200"


# -- limits of a token


async def test_a_token_for_one_agent_knows_of_no_other(office: Office) -> None:
    mine, my_approval = await office.waiting("default", "desk")
    other, other_approval = await office.waiting("default", "vault")
    assert [run["run_id"] for run in (await office.call("one", "runs.list"))[1]["runs"]] == [mine]
    assert (await office.call("one", "runs.list", {"agent": "vault"}))[1].get("runs", []) == []
    assert [a["approval_id"] for a in (await office.call("one", "approvals.list"))[1]["approvals"]] == [my_approval]
    assert (await office.call("one", "runs.get", {"run_id": other}))[0] == "404"
    assert (await office.call("one", "runs.cancel", {"run_id": other}))[0] == "404"
    assert (await office.call("one", "approvals.decide", {"approval_id": other_approval, "decision": "approve"}))[0] == "404"
    assert (await office.call("one", "runs.start", {"agent": "vault", "input": 1}))[0] == "403"
    assert (await office.call("one", "runs.start", {"agent": "desk", "input": 1}))[0] == "200"


# -- delegates


async def test_a_delegate_acts_for_somebody_and_both_are_recorded(office: Office) -> None:
    run_id, approval_id = await office.waiting("bank")
    edge = office.signers["edge"]
    stranger = edge.on_behalf(Behalf(subject="dan@bank", tenant="default", roles=["officer"], issuer="https://id.example"))
    assert (await office.call(stranger, "approvals.decide", {"approval_id": approval_id, "decision": "approve"}))[0] == "404"
    sam = edge.on_behalf(Behalf(subject="sam", tenant="bank", roles=["officer"]))
    code, body = await office.call(sam, "approvals.decide", {"approval_id": approval_id, "decision": "approve"})
    assert (code, "sam started" in body["detail"]) == ("403", True)  # the real person counts, whoever signs
    clerk = edge.on_behalf(Behalf(subject="cleo", tenant="bank", roles=["clerk"]))
    assert (await office.call(clerk, "approvals.decide", {"approval_id": approval_id, "decision": "approve"}))[0] == "403"
    dan = edge.on_behalf(Behalf(subject="dan@bank", tenant="bank", roles=["officer"], issuer="https://id.example"))
    assert (await office.call(dan, "approvals.decide", {"approval_id": approval_id, "decision": "approve", "by": "edge"}))[0] == "403"
    assert (await office.call(dan, "approvals.decide", {"approval_id": approval_id, "decision": "approve"}))[0] == "200"
    [mail] = [m for m in office.desk.submitted if isinstance(m, DecideApproval) and m.by == "dan@bank"]
    assert (mail.via, mail.proof is not None and mail.proof.behalf != "") == ("edge", True)
    log = (await office.call("root", "runs.events", {"run_id": run_id}))[1]["events"]
    [granted] = [event["data"] for event in log if event["type"] == "approval_granted"]
    assert (granted["by"], granted["via"]) == ("dan@bank", "edge")
    assert office.desk.gate is not None
    assert office.desk.gate.vouched(mail).by == "dan@bank"  # as another replica finds it in the mailbox
    with pytest.raises(NotAuthenticated):
        office.desk.gate.vouched(
            msgspec.structs.replace(
                mail, proof=msgspec.structs.replace(mail.proof, behalf=pack_behalf(Behalf(subject="eve", roles=["officer"])))
            )
        )


@pytest.mark.parametrize(
    ("signer", "behalf", "code"),
    [
        ("edge", Behalf(subject="dan", roles=["submitter"]), "200"),
        ("edge", Behalf(subject="dan", roles=["officer"]), "403"),
        ("edge", Behalf(subject="dan", roles=[]), "403"),
        ("edge", Behalf(subject="dan", tenant="*", roles=["admin"]), "403"),
        ("edge", Behalf(subject="dan", roles=["delegate", "service"]), "403"),
        ("sam", Behalf(subject="dan", roles=["admin"]), "403"),
        ("root", Behalf(subject="dan", roles=["admin"]), "403"),
        ("tight", Behalf(subject="dan", tenant="bank", roles=["submitter", "admin"]), "200"),
        ("tight", Behalf(subject="dan", tenant="bank", roles=["admin"]), "403"),
        ("tight", Behalf(subject="dan", tenant="default", roles=["submitter"]), "403"),
        ("edge", Behalf(subject=" ", roles=["submitter"]), "401"),
    ],
)
async def test_whom_a_delegate_may_act_for(office: Office, signer: str, behalf: Behalf, code: str) -> None:
    signs = office.signers[signer].on_behalf(behalf)
    assert (await office.call(signs, "runs.start", {"agent": "desk", "input": 1}))[0] == code


async def test_a_behalf_cannot_be_put_on_taken_off_or_exchanged(office: Office) -> None:
    subject, body = office.desk.subjects.api("runs", "start"), b'{"agent":"desk","input":1}'
    signed: Mapping[str, str] = office.signers["edge"].on_behalf(Behalf(subject="dan", roles=["submitter"])).headers(subject, body)
    plain = {name: value for name, value in signed.items() if name != BEHALF_HEADER}
    assert (await office.call("", "runs.start", body, **plain))[0] == "401"
    for other in (pack_behalf(Behalf(subject="eve", roles=["submitter"])), "", "!!", "A" * 9_000, signed[BEHALF_HEADER] + "A"):
        code, _ = await office.call("", "runs.start", body, **{**signed, BEHALF_HEADER: other})
        assert code == "401", other[:20]
    assert (await office.call("", "runs.start", body, **signed))[0] == "200"


def test_the_table_has_every_endpoint_that_names_a_run() -> None:
    named = set(ABOUT_A_RUN) | {"runs.start", "runs.list", "runs.fork"}
    assert {name for name in OPERATIONS if name.startswith("runs.")} - named == set()
    assert list(itertools.islice(PERMISSIONS, 1))
