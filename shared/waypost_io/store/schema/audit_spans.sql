-- Which leaf is which event: `count` events of a partition from `position` on are the leaves from `index` on.
CREATE TABLE audit_spans (
    partition     integer     NOT NULL,
    position      bigint      NOT NULL,
    index         bigint      NOT NULL UNIQUE,
    count         integer     NOT NULL,
    recorded_from timestamptz NOT NULL,
    recorded_to   timestamptz NOT NULL,
    PRIMARY KEY (partition, position)
);
COMMENT ON TABLE audit_spans IS 'writer: audit logger. Where the events of each partition are in the log.';
