"""The policy of a gateway: which calls are allowed, denied, or need people's approval. Pure: text in, verdicts out; no clock, no I/O.

rules      what a policy file may say, as data, and its faults with their lines
compiled   rules prepared once, and asked for every call
arguments  predicates on a call's arguments
patterns   regular expressions whose cost is bounded
"""

from waypost_core.policy.compiled import Policy
from waypost_core.policy.rules import PolicyFault, parse_policy
from waypost_core.policy.verdict import ALLOWED, Allow, Deny, PolicyRequest, RequireApproval, Terms, Verdict

__all__ = ["ALLOWED", "Allow", "Deny", "Policy", "PolicyFault", "PolicyRequest", "RequireApproval", "Terms", "Verdict", "parse_policy"]
