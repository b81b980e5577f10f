"""The policy in front of tools: what a call meets, how a new version comes into force, and what a faulty one does."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import UNSET, json
from structlog.testing import capture_logs

from tests.unit.waypost_gateway.rig import Desktop, Rig, approval_id
from waypost.policies import Allow, Deny, PolicyRequest, RequireApproval, Verdict, hooks_in, policy
from waypost_gateway.gateway import Rules
from waypost_gateway.metrics import Metrics
from waypost_gateway.policing import PolicyDesk
from waypost_gateway.reloading import Reloader, Watched
from waypost_proto.errors import Misconfigured
from waypost_proto.mailbox import ToolFailed, ToolNeedsApproval, ToolRefused, ToolSucceeded

LARGE = """
version = "v1"

[[rules]]
name = "no web"
decision = "deny"
reason = "nothing is paid after reading the web"
tools = ["po*"]
taint = ["web"]

[[rules]]
name = "large"
decision = "require_approval"
reason = "more than 100"
when = [{ path = "amount", op = ">", value = 100 }]
approval = { role = "officer", quorum = 2, expires_hours = 1 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(LARGE)
    return path


@pytest.mark.parametrize("name", ["look", "put", "post"])
async def test_a_call_that_needs_approval_is_not_started_and_says_whose(rig: Rig, file: Path, name: str) -> None:
    desktop = Desktop()
    desk = PolicyDesk(file)
    async with rig.gateway(desktop, rules=Rules(policy=desk)):
        assert isinstance(await rig.run(rig.call(name)), ToolSucceeded)
        call = rig.call(name, b'{"amount":101}')
        answer = await rig.run(call)
        assert isinstance(answer, ToolNeedsApproval)
        assert (answer.rule, answer.policy_version, answer.role, answer.quorum) == ("large", desk.version, "officer", 2)
        assert (answer.tool, answer.args_digest, answer.expires_seconds, answer.reason) == (name, call.args_digest, 3600.0, "more than 100")
        assert call.idempotency_key not in desktop.effects
        await rig.settled()


async def test_a_denial_names_its_rule_and_version(rig: Rig, file: Path) -> None:
    desk = PolicyDesk(file)
    async with rig.gateway(Desktop(), rules=Rules(policy=desk)) as running:
        answer = await rig.run(rig.call("post", taint=("mail", "web")))
        assert isinstance(answer, ToolRefused)
        assert answer.error.type == "ToolDenied"
        assert answer.error.message.startswith("nothing is paid after reading the web (rule 'no web' of policy v1@")
        assert answer.error.details is not UNSET
        assert json.decode(answer.error.details) == {"rule": "no web", "policy_version": desk.version}
        assert 'waypost_gateway_policy_total{verdict="deny"} 1' in running.metrics.registry.render().decode()


@pytest.mark.parametrize("name", ["look", "post"])
async def test_an_approved_call_is_judged_again_and_runs_once(rig: Rig, file: Path, name: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop, rules=Rules(policy=PolicyDesk(file))):
        call = rig.call(name, b'{"amount":101}', approval_id=approval_id(), approval_terms="officer*2", permit=True)
        await rig.approval(call)
        assert isinstance(await rig.run(call), ToolSucceeded)
        assert desktop.effects[call.idempotency_key] == 1


@pytest.mark.parametrize("terms", ["", "officer*1", "clerk*2", "nonsense"])
async def test_an_approval_on_other_terms_is_asked_for_anew(rig: Rig, file: Path, terms: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop, rules=Rules(policy=PolicyDesk(file))):
        call = rig.call("post", b'{"amount":101}', approval_id=approval_id(), approval_terms=terms)
        await rig.approval(call)
        assert isinstance(await rig.run(call), ToolNeedsApproval)
        assert desktop.total_effects == 0


async def test_a_denial_wins_over_an_approval(rig: Rig, file: Path) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop, rules=Rules(policy=PolicyDesk(file))):
        call = rig.call("post", b'{"amount":101}', approval_id=approval_id(), approval_terms="officer*2", taint=("web",))
        await rig.approval(call)
        assert isinstance(await rig.run(call), ToolRefused)
        assert desktop.total_effects == 0


async def test_terms_in_the_message_are_not_enough_without_the_approval_itself(rig: Rig, file: Path) -> None:
    """Forged: the ledger and the approvals decide whether an approval was given, never the message."""
    desktop = Desktop()
    async with rig.gateway(desktop, rules=Rules(policy=PolicyDesk(file))):
        call = rig.call("post", b'{"amount":101}', approval_id=approval_id(), approval_terms="officer*2")
        assert isinstance(await rig.run(call), ToolRefused)
        assert desktop.total_effects == 0


# -- hooks


def hook(verdict: Verdict | Exception | object | None) -> list[object]:
    @policy
    def opinion(request: PolicyRequest) -> Verdict | None:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict if request.arguments == {"amount": 1} else None  # type: ignore[return-value]

    return [opinion]


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [
        (None, ToolSucceeded),
        (Allow(), ToolSucceeded),
        (Deny(reason="not today"), ToolRefused),
        (RequireApproval(role="officer"), ToolNeedsApproval),
        (ValueError("bug"), ToolFailed),
        ("yes", ToolFailed),
    ],
)
async def test_a_hook_in_python_is_asked_after_the_file(rig: Rig, verdict: object, kind: type) -> None:
    desktop = Desktop()
    desk = PolicyDesk(None, hook(verdict), build="b7")  # type: ignore[arg-type]
    async with rig.gateway(desktop, rules=Rules(policy=desk)):
        answer = await rig.run(rig.call("post"))
    assert isinstance(answer, kind)
    assert desktop.total_effects == (kind is ToolSucceeded)
    if isinstance(answer, ToolFailed):
        assert answer.error.type == "PolicyFailed"
        assert answer.retryable
    if isinstance(answer, ToolNeedsApproval):
        assert (answer.rule, answer.policy_version) == ("opinion", desk.version)
        assert desk.version.endswith("+b7")


def test_hooks_are_found_in_the_module_that_defines_them() -> None:
    import sys

    assert [each.name for each in hooks_in(sys.modules[__name__])] == ["of_this_module"]
    with pytest.raises(TypeError, match="plain function"):
        policy(_coroutine)  # type: ignore[arg-type]


async def _coroutine(_: PolicyRequest) -> None: ...


@policy
def of_this_module(_: PolicyRequest) -> None: ...


# -- files that change


async def test_a_new_version_comes_into_force_and_a_faulty_one_does_not(rig: Rig, file: Path) -> None:
    desktop = Desktop()
    desk = PolicyDesk(file)
    metrics = Metrics()
    reloader = Reloader([Watched("policy", file, desk.reload)], metrics)
    async with rig.gateway(desktop, rules=Rules(policy=desk)):
        first = desk.version
        file.write_text(LARGE.replace("value = 100", "value = 1000").replace("v1", "v2"))
        reloader.look()
        assert desk.version != first
        assert isinstance(await rig.run(rig.call("post", b'{"amount":101}')), ToolSucceeded)
        second = desk.version
        file.write_text(LARGE.replace('decision = "deny"', 'decision = "perhaps"'))
        with capture_logs() as logs:
            reloader.look()
            reloader.look()
        assert [line["log_level"] for line in logs] == ["error"]  # said once
        assert "line 6" in logs[0]["error"]
        assert desk.version == second
        assert "line 6" in desk.fault
        assert 'waypost_gateway_reloads_total{what="policy",outcome="refused"} 1' in metrics.registry.render().decode()
        assert isinstance(await rig.run(rig.call("post", taint=("web",))), ToolRefused)
        file.unlink()
        reloader.look()
        assert desk.version == second
        file.write_text(LARGE)
        reloader.look()
        assert (desk.version, desk.fault) == (first, "")


def test_comments_and_spaces_make_no_new_version(file: Path) -> None:
    desk = PolicyDesk(file)
    before = desk.version
    file.write_text("# a comment\n" + LARGE.replace("  ", " "))
    desk.reload()
    assert desk.version == before
    assert desk.reloads == 0


def test_at_the_start_a_faulty_file_is_refused_with_its_line(file: Path) -> None:
    file.write_text('[[rules]]\nname = "x"\ndecision = "deny"\ntols = ["a"]\n')
    with pytest.raises(Misconfigured, match=r"policy.toml: line 4: .*unknown field `tols`"):
        PolicyDesk(file)
