"""The gateway's policy: the rules of a file, then the hooks of its modules, then the default. Owns which policy is in force.

A file that has faults at the start is refused; one that gets them later leaves the old policy in force and is told (log, metric, ops).
A hook that raises lets nothing through.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog
from msgspec.structs import replace

from waypost.policies import PolicyHook
from waypost_core.policy import ALLOWED, Allow, Deny, Policy, PolicyFault, PolicyRequest, RequireApproval, Verdict
from waypost_proto.codec import decode
from waypost_proto.errors import Misconfigured, WaypostError
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect

NO_POLICY = "version = 'none'"

_log = structlog.get_logger(__name__)


class PolicyFailed(WaypostError):
    """A policy hook raised, or answered what is no verdict: the call is not made, and may be tried again."""


class PolicyDesk:
    """The policy in force. Raises `Misconfigured` with line and reason when the file cannot be used."""

    def __init__(self, file: Path | None = None, hooks: Sequence[PolicyHook] = (), *, build: str = "") -> None:
        self._file = file
        self._hooks = tuple(hooks)
        self._build = build
        self.fault = ""
        """Why the file as it is now is not in force; "" when it is."""
        self.reloads = 0
        try:
            self._policy = Policy.parse(self._text())
        except PolicyFault as error:
            raise Misconfigured(f"WAYPOST_POLICY_FILE: {file}: {error}") from error

    @property
    def file(self) -> Path | None:
        return self._file

    @property
    def version(self) -> str:
        """Of the policy in force: the file's, and the build of the code when hooks take part."""
        return f"{self._policy.version}+{self._build}" if self._hooks else self._policy.version

    @property
    def idle(self) -> bool:
        """Whether every call is allowed without looking."""
        return not self._hooks and not self._policy.rules and self._policy.default == "allow"

    def reload(self) -> None:
        """Read the file again. Raises `Misconfigured` when it cannot be used: the policy that is in force stays."""
        try:
            policy = Policy.parse(self._text())
        except (PolicyFault, Misconfigured) as error:
            self.fault = str(error)
            raise Misconfigured(f"WAYPOST_POLICY_FILE: {self._file}: {error}; the policy {self.version} stays in force") from error
        self.fault = ""
        changed = policy.version != self._policy.version
        self._policy = policy
        if changed:
            self.reloads += 1
            _log.info("a new policy is in force", version=self.version, rules=policy.rules)

    def judge(self, call: ToolCall, effect: Effect, args: bytes) -> Verdict:
        """The verdict on a call. Raises `PolicyFailed`."""
        policy = self._policy
        if not self._hooks and not policy.rules:
            return policy.otherwise()
        looked_at = bool(self._hooks) or policy.needs_arguments(call.agent, call.tool, effect, call.tenant)
        request = PolicyRequest(
            agent=call.agent,
            tool=call.tool,
            effect=effect,
            arguments=decode(dict, args) if looked_at else {},
            taint=call.taint,
            labels=call.labels,
            tenant=call.tenant,
            budget_left=call.budget_left,
            run_id=call.run_id,
        )
        verdict = policy.judge(request)
        for hook in self._hooks if verdict is None else ():
            verdict = _asked(hook, request)
            if verdict is not None:
                break
        return policy.otherwise() if verdict is None else verdict

    def _text(self) -> str:
        if self._file is None:
            return NO_POLICY
        try:
            return self._file.read_text(encoding="utf-8")
        except OSError as error:
            raise Misconfigured(f"{self._file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise PolicyFault("the file is not UTF-8") from error


def _asked(hook: PolicyHook, request: PolicyRequest) -> Verdict | None:
    try:
        verdict = hook(request)
    except Exception as error:
        _log.error("a policy hook raised, the call is not made", hook=hook.name, tool=request.tool, error_type=type(error).__name__)
        raise PolicyFailed(f"policy hook {hook.name} raised {type(error).__name__}; the call was not started") from error
    match verdict:
        case None:
            return None
        case Allow():
            return ALLOWED
        case Deny() | RequireApproval():
            return verdict if verdict.rule else replace(verdict, rule=hook.name)
    raise PolicyFailed(f"policy hook {hook.name} answered {type(verdict).__name__}: give Allow(), Deny(…), RequireApproval(…) or None")
