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
