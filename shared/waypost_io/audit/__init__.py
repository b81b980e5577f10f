"""The audit log in the database and in files: proofs, checking, exports, keys. What `waypost audit` and the edge are made of.

tree        the hashes that are kept
proving     proofs of events and of growth
verifying   the whole log in the database, with spans
exporting   the record as lines that prove themselves
keyfile     the file of signing keys
"""

__all__: list[str] = []
