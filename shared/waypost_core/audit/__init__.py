"""The audit log as mathematics: hashes, proofs, signed heads, and what a checker makes of them. No I/O; `msgspec` and PyNaCl at most.

leaves      an event's leaf
merkle      the tree of RFC 6962: roots, proofs and their verification
growing     its right edge, to append
tiles       which nodes are kept, and which a proof reads
"""

__all__: list[str] = []
