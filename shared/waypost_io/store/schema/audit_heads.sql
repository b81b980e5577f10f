-- Signed heads, oldest first. `note` is the signed text as it is handed out.
CREATE TABLE audit_heads (
    size      bigint      NOT NULL,
    key_id    text        NOT NULL,
    signed_at timestamptz NOT NULL,
    note      text        NOT NULL,
    PRIMARY KEY (size, key_id)
);
COMMENT ON TABLE audit_heads IS 'writer: audit logger. The signed heads.';
