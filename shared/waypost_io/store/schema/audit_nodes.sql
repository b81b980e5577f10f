-- Inner nodes of the Merkle tree: level l keeps the subtrees of 256^l leaves, from level 1 up.
CREATE TABLE audit_nodes (
    level smallint NOT NULL,
    index bigint   NOT NULL,
    hash  bytea    NOT NULL,
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE audit_nodes IS 'writer: audit logger. Every 256th part of the Merkle tree, for proofs.';
