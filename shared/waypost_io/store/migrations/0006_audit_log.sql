-- The audit log becomes a Merkle log. No head was ever signed over audit_entries, and all that was in it is derived again from events: the
-- audit logger begins at the first event. It takes some seconds for a million events.
DROP TABLE audit_entries;
DELETE FROM audit_cursors;

-- One row: the log's name, how large it is, and which audit logger may append. An append moves `size` from what its author believes.
CREATE TABLE audit_log (
    one        boolean     PRIMARY KEY DEFAULT true CHECK (one),
    origin     text        NOT NULL,
    owner      text        NOT NULL,
    epoch      bigint      NOT NULL,
    expires_at timestamptz NOT NULL,
    size       bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE audit_log IS 'writer: audit logger. The log itself: name, size, and the lease of the one that appends.';

-- A row per append: `count` leaf hashes from leaf `index` on, 32 bytes each. They stay when events go.
CREATE TABLE audit_leaves (
    index  bigint  PRIMARY KEY,
    count  integer NOT NULL,
    hashes bytea   NOT NULL
);
ALTER TABLE audit_leaves ALTER COLUMN hashes SET STORAGE EXTERNAL; -- hashes do not compress
COMMENT ON TABLE audit_leaves IS 'writer: audit logger. The leaf hashes in order, a row per append.';

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

-- Inner nodes of the Merkle tree: level l keeps the subtrees of 256^l leaves, from level 1 up.
CREATE TABLE audit_nodes (
    level smallint NOT NULL,
    index bigint   NOT NULL,
    hash  bytea    NOT NULL,
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE audit_nodes IS 'writer: audit logger. Every 256th part of the Merkle tree, for proofs.';

-- Signed heads, oldest first. `note` is the signed text as it is handed out.
CREATE TABLE audit_heads (
    size      bigint      NOT NULL,
    key_id    text        NOT NULL,
    signed_at timestamptz NOT NULL,
    note      text        NOT NULL,
    PRIMARY KEY (size, key_id)
);
COMMENT ON TABLE audit_heads IS 'writer: audit logger. The signed heads.';

-- The keys that have signed heads, in order, and the statement by which each took over from the one before.
CREATE TABLE audit_keys (
    number   integer     PRIMARY KEY,
    key_id   text        NOT NULL UNIQUE,
    size     bigint      NOT NULL,
    added_at timestamptz NOT NULL,
    note     text        NOT NULL
);
COMMENT ON TABLE audit_keys IS 'writer: audit logger. Statements of keys, each signed by itself and by the key before it.';

-- How far each anchor has come. `place` says where the last head is, in the anchor's own words.
CREATE TABLE audit_anchors (
    name        text        PRIMARY KEY,
    size        bigint      NOT NULL,
    anchored_at timestamptz NOT NULL,
    place       text        NOT NULL
);
COMMENT ON TABLE audit_anchors IS 'writer: audit logger. The last head that each anchor outside has.';

-- Audit.append: leaves, spans and nodes of one batch, the cursors and the size, in one call and one transaction. False, with nothing written,
-- when the lease is not the caller's any more or somebody else has appended.
CREATE FUNCTION waypost_audit_append(
    p_owner text, p_epoch bigint, p_size bigint, p_leaves bytea,
    p_partitions integer[], p_positions bigint[], p_counts integer[], p_from timestamptz[], p_to timestamptz[],
    p_levels smallint[], p_indexes bigint[], p_hashes bytea[]
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_count bigint := length(p_leaves) / 32;
BEGIN
    UPDATE audit_log SET size = size + v_count WHERE owner = p_owner AND epoch = p_epoch AND size = p_size;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- each span must begin right behind what was there
    IF v_count <> (SELECT sum(n) FROM unnest(p_counts) AS n) OR EXISTS (
        SELECT FROM unnest(p_partitions, p_positions) AS s (partition, position)
          LEFT JOIN audit_cursors c ON c.partition = s.partition
         WHERE s.position <> coalesce(c.position, 0) + 1) THEN
        RAISE EXCEPTION 'audit spans do not follow the cursors, or are not as many as the % leaves', v_count USING ERRCODE = 'WP003';
    END IF;
    INSERT INTO audit_leaves (index, count, hashes) VALUES (p_size, v_count, p_leaves);
    INSERT INTO audit_spans (partition, position, index, count, recorded_from, recorded_to)
    SELECT s.partition, s.position, p_size + sum(s.count) OVER (ORDER BY s.number) - s.count, s.count, s.recorded_from, s.recorded_to
      FROM unnest(p_partitions, p_positions, p_counts, p_from, p_to)
           WITH ORDINALITY AS s (partition, position, count, recorded_from, recorded_to, number);
    INSERT INTO audit_nodes (level, index, hash)
    SELECT n.level, n.index, n.hash FROM unnest(p_levels, p_indexes, p_hashes) AS n (level, index, hash);
    INSERT INTO audit_cursors AS c (partition, position)
    SELECT s.partition, s.position + s.count - 1 FROM unnest(p_partitions, p_positions, p_counts) AS s (partition, position, count)
        ON CONFLICT (partition) DO UPDATE SET position = excluded.position;
    RETURN true;
END
$$;
COMMENT ON FUNCTION waypost_audit_append IS 'One batch of the audit log; false when the lease or the size is not what the caller believes.';

DO $$
DECLARE
    v_grant record;
BEGIN
    FOR v_grant IN
        SELECT g.role, g.privileges, g.object
          FROM (VALUES
            ('SELECT, INSERT, UPDATE', 'audit_log'),
            ('SELECT, INSERT',         'audit_leaves'),
            ('SELECT, INSERT',         'audit_spans'),
            ('SELECT, INSERT',         'audit_nodes'),
            ('SELECT, INSERT',         'audit_heads'),
            ('SELECT, INSERT',         'audit_keys'),
            ('SELECT, INSERT, UPDATE', 'audit_anchors')
          ) AS o (privileges, object),
          LATERAL (VALUES ('waypost_coordinator', 'SELECT', o.object), ('waypost_audit', o.privileges, o.object),
                          ('waypost_reader', 'SELECT', o.object)) AS g (role, privileges, object)
    LOOP
        IF to_regrole(v_grant.role) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %I TO %I', v_grant.privileges, v_grant.object, v_grant.role);
        END IF;
    END LOOP;
END
$$;
