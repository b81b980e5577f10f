"""Every limit that both ends of the wire must agree on, with its unit in its name and its reason beside it."""

from __future__ import annotations

PROTOCOL_VERSION = "1.0.0"
"""Semantic version of the wire protocol: subjects, messages and their meaning."""

MAX_MESSAGE_BYTES = 512 * 1024
"""Body plus headers of one message. Half of the server's default: probed, a 1 MiB body plus one header closes nats-py."""
HEADER_ALLOWANCE_BYTES = 8 * 1024
"""What headers may take of `MAX_MESSAGE_BYTES`."""
MAX_DEAD_BYTES = 1024 * 1024 - HEADER_ALLOWANCE_BYTES
"""Body plus headers of a dead letter: a task that was too large is kept whole, as far as the server's default payload goes."""
CLAIM_CHECK_BYTES = 256 * 1024
"""A value past this travels as a `BlobRef` to a row in `blobs`."""
BLOB_CHUNK_BYTES = 256 * 1024
"""Blobs are stored and carried in chunks of this size, so that each fits into a message."""
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
"""The largest single value (an input, an argument list, a result) that Waypost carries."""
MAX_NESTING = 64
"""JSON nested deeper than this is refused; it is far below what would exhaust a parser's stack."""
MAX_LABELS = 32
MAX_LABEL_CHARS = 256
MAX_KEY_CHARS = 256
"""Idempotency keys, correlation ids, signal names."""
MAX_TAINTS = 32
"""Taint labels that a result or a run carries; `more` stands for what is past it."""
MAX_TAINT_CHARS = 64
MAX_ITEMS_PER_ADVANCE = 2_000
"""Commands and local results in one advance; a worker splits what is more."""
MAX_ENTRY_BYTES_PER_ACTIVATION = 320 * 1024
"""When the new journal entries of a run are more than this, the activation says `fetch` and carries none."""
ARGS_IN_STATE_BYTES = 2 * 1024
"""Arguments up to this size stay in the folded state for the next attempt; larger ones are read from the log."""
MAX_QUESTION_CHARS = 8 * 1024
"""The text of a question that an agent asks a person."""
MAX_INSTRUCTION_CHARS = 8_000
"""What a person tells an agent at a resume: a few paragraphs."""
MAX_GRAPH_PART_BYTES = 64 * 1024
"""One thing that a graph shows on `waypost.stream.<run_id>`; a larger one is left out, with its size."""
MAX_FORK_EVENTS = 20_000
"""Events of a run that can be forked: all of them are read, and those before the fork point are written again in one commit."""
