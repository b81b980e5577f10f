"""Policy in Python: a function of a gateway's module that is asked about every call, after the rules of the policy file.

    from waypost.policies import Deny, PolicyRequest, RequireApproval, policy

    @policy
    def nights(request: PolicyRequest) -> Deny | RequireApproval | None:
        if request.tool == "pay" and "web" in request.taint:
            return RequireApproval(role="officer", reason="the agent has read the web")
        return None

It must be quick and plain (not `async`): it runs before each call, on the gateway's loop. What raises lets nothing through.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

from waypost_core.policy import Allow, Deny, PolicyRequest, RequireApproval, Verdict

Judge = Callable[[PolicyRequest], Verdict | None]


class PolicyHook:
    """A function marked with `@policy`. `name` is what events call its verdicts."""

    def __init__(self, function: Judge) -> None:
        self.function = function
        self.name = getattr(function, "__name__", "policy")
        self.module = function.__module__

    def __call__(self, request: PolicyRequest) -> Verdict | None:
        """Ask it; None: it has no opinion. Raises what the function raises."""
        return self.function(request)


def policy(function: Judge, /) -> PolicyHook:
    """Mark a function as policy of the gateways that host its module. Raises `TypeError` for a coroutine function."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise TypeError(f"@policy needs a plain function of one PolicyRequest, not {function!r}")
    return PolicyHook(function)


def hooks_in(module: ModuleType) -> list[PolicyHook]:
    """The hooks that are defined in a module, in the order of their definition."""
    return [value for value in vars(module).values() if isinstance(value, PolicyHook) and value.module == module.__name__]


__all__ = ["Allow", "Deny", "Judge", "PolicyHook", "PolicyRequest", "RequireApproval", "Verdict", "hooks_in", "policy"]
