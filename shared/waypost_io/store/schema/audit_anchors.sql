-- How far each anchor has come. `place` says where the last head is, in the anchor's own words.
CREATE TABLE audit_anchors (
    name        text        PRIMARY KEY,
    size        bigint      NOT NULL,
    anchored_at timestamptz NOT NULL,
    place       text        NOT NULL
);
COMMENT ON TABLE audit_anchors IS 'writer: audit logger. The last head that each anchor outside has.';
