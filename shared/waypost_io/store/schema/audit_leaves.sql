-- A row per append: `count` leaf hashes from leaf `index` on, 32 bytes each. They stay when events go.
CREATE TABLE audit_leaves (
    index  bigint  PRIMARY KEY,
    count  integer NOT NULL,
    hashes bytea   NOT NULL
);
ALTER TABLE audit_leaves ALTER COLUMN hashes SET STORAGE EXTERNAL; -- hashes do not compress
COMMENT ON TABLE audit_leaves IS 'writer: audit logger. The leaf hashes in order, a row per append.';
