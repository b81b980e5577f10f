CREATE TABLE trace_cursors (
    partition integer PRIMARY KEY,
    position  bigint  NOT NULL
);
COMMENT ON TABLE trace_cursors IS 'writer: audit logger. Per partition the position of the last event whose spans were exported.';

DO $$
BEGIN
    IF to_regrole('waypost_audit') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE ON trace_cursors TO waypost_audit;
    END IF;
    IF to_regrole('waypost_reader') IS NOT NULL THEN
        GRANT SELECT ON trace_cursors TO waypost_reader;
    END IF;
END
$$;
