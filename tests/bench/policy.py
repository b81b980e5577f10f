"""What one question to a policy costs: `python -m tests.bench.policy`. Microseconds per call, for a file of 100 rules."""

from __future__ import annotations

import time
from collections.abc import Callable

from waypost_core.policy import Policy, PolicyRequest
from waypost_proto.codec import decode
from waypost_proto.values import Effect

CALLS = 20_000
LIMIT_MICROSECONDS = 50.0
ARGS = b'{"amount":500,"country":"DE","case":{"id":"c-7","lines":[{"sum":5},{"sum":50}]},"memo":"invoice 4711, thank you"}'


def file(rules: int = 100) -> str:
    """Rules for other tools, then some that look at these arguments, none of which matches."""
    others = (
        f'[[rules]]\nname = "other {number}"\ndecision = "deny"\ntools = ["tool-{number}-*"]\ntaint = ["web"]'
        for number in range(rules - 4)
    )
    text = ['version = "bench"', *others]
    text.append('[[rules]]\nname = "taint"\ndecision = "deny"\ntaint = ["web"]')
    text.append('[[rules]]\nname = "large"\ndecision = "deny"\nwhen = [{ path = "amount", op = ">", value = 10000 }]')
    text.append('[[rules]]\nname = "lines"\ndecision = "deny"\nwhen = [{ path = "case.lines.*.sum", op = ">", value = 1000 }]')
    text.append('[[rules]]\nname = "memo"\ndecision = "deny"\nwhen = [{ path = "memo", op = "matches", value = ".*(gift|voucher).*" }]')
    return "\n".join(text)


def microseconds(ask: Callable[[], object], *, calls: int = CALLS) -> float:
    """Of one call, the best of five rounds: the machine may be busy otherwise."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(calls):
            ask()
        rounds.append((time.perf_counter() - began) / calls * 1e6)
    return min(rounds)


def measure(*, calls: int = CALLS) -> dict[str, float]:
    """Microseconds per call by what is asked."""
    policy = Policy.parse(file())

    def judged() -> object:
        return policy.judge(
            PolicyRequest(
                agent="clerk", tool="pay", effect=Effect.UNSAFE, arguments=decode(dict, ARGS), taint=("mail",), labels={"desk": "n"}
            )
        )

    empty = Policy.parse("")
    bare = PolicyRequest(agent="clerk", tool="pay", effect=Effect.UNSAFE)
    return {
        "100 rules, four of them for this call, arguments decoded": microseconds(judged, calls=calls),
        "no rules": microseconds(lambda: empty.judge(bare), calls=calls),
    }


def main() -> None:
    """Print the table."""
    for what, cost in measure().items():
        print(f"{cost:7.2f} µs  {what}  (limit {LIMIT_MICROSECONDS:g} µs)")


if __name__ == "__main__":
    main()
