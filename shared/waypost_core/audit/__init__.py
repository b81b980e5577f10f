"""The audit log as mathematics: hashes, proofs, signed heads, and what a checker makes of them. No I/O; `msgspec` and PyNaCl at most.

    leaves      an event's leaf
    merkle      the tree of RFC 6962: roots, proofs and their verification
    growing     its right edge, to append
    tiles       which nodes are kept, and which a proof reads
    notes       signed texts and their keys
    heads       what is signed: heads, and statements of keys
    keyring     which key may have signed which head
    proofs      proofs as documents
    checking    the checker, and its report
    exports     the record as lines that prove themselves
    kept        heads and keys as people hand them to a check

`python -m waypost_core.audit EXPORT --key KEY` checks an export without any server.
"""

__all__: list[str] = []
