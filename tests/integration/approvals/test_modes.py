"""Without identities: everybody's word on this machine, nobody's approval elsewhere, and what the settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.approvals.platform import approval_of, identities, platform
from waypost_coordinator.callers import Gatekeeper, gatekeeper
from waypost_io.settings import CoordinatorSettings
from waypost_proto.errors import Denied, Misconfigured, NotAuthenticated

AWAY = "nats://nats.example:4222"
HERE = "nats://127.0.0.1:4222"


async def test_on_this_machine_a_body_that_names_approver_and_role_decides(tmp_path: Path, nats_url: str, postgres_url: str) -> None:
    async with platform(tmp_path, nats_url=nats_url, postgres_url=postgres_url) as desk, desk.client() as client:
        run_id = (await client.start("payer", {"amount": 2})).run_id
        approval = await approval_of(client, run_id)
        with pytest.raises(Denied):
            await client.approve(approval.approval_id, by="ann", roles=["clerk"])
        await client.approve(approval.approval_id, by="ann", roles=["officer"])
        assert (await client.result(run_id, timeout=20))["receipt"] == "paid 2"


def keeper(tmp_path: Path, *, url: str = HERE, auth: str = "auto", people: bool = False) -> Gatekeeper:
    file = None
    if people:
        file = tmp_path / "identities.toml"
        file.write_text(identities({"ann": ["officer"]})[0], encoding="utf-8")
    settings = CoordinatorSettings(nats_url=url, auth=auth, api_tokens_file=file)  # type: ignore[arg-type]
    return gatekeeper(settings, lambda: 0.0)


def test_how_callers_are_treated_follows_from_the_settings(tmp_path: Path) -> None:
    assert keeper(tmp_path).mode == "word"
    assert keeper(tmp_path, url=AWAY).mode == "closed"
    assert keeper(tmp_path, url=f"{HERE},{AWAY}").mode == "closed"
    assert keeper(tmp_path, url=AWAY, auth="off").mode == "word"
    assert keeper(tmp_path, people=True).mode == "required"
    assert keeper(tmp_path, people=True, auth="off").mode == "word"
    assert keeper(tmp_path, people=True, auth="required").mode == "required"
    with pytest.raises(Misconfigured, match="no identities"):
        keeper(tmp_path, auth="required")


def test_elsewhere_without_identities_nobody_approves_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    gate = keeper(tmp_path, url=AWAY)
    with pytest.raises(Denied, match="WAYPOST_AUTH=off"):
        gate.admit("approvals.decide", "waypost.api.approvals.decide", {}, b"{}")
    assert gate.admit("runs.start", "waypost.api.runs.start", {}, b"{}").identity is None
    with pytest.raises(NotAuthenticated):
        gate.admit("approvals.decide", "waypost.api.approvals.decide", {"Waypost-Key": "U123"}, b"{}")
