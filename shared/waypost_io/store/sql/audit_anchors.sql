-- name: put
-- Audit.anchored. Never goes back.
INSERT INTO audit_anchors AS a (name, size, anchored_at, place) VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO UPDATE SET size = excluded.size, anchored_at = excluded.anchored_at, place = excluded.place
 WHERE a.size <= excluded.size;

-- name: anchors
-- Audit.anchors.
SELECT name, size, anchored_at, place FROM audit_anchors ORDER BY name;
