CREATE TABLE trace_cursors (
    partition integer PRIMARY KEY,
    position  bigint  NOT NULL
);
COMMENT ON TABLE trace_cursors IS 'writer: audit logger. Per partition the position of the last event whose spans were exported.';
