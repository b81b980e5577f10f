-- One NOLOGIN role per service with what its tables need; grant it to the login that the service uses. Roles belong to the whole
-- cluster: one that exists is kept, and a user who may not create roles gets a notice and a database that works without them.
DO $$
DECLARE
    v_may_create boolean := (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user);
    v_role       text;
    v_grant      record;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['waypost_coordinator', 'waypost_gateway', 'waypost_audit', 'waypost_reader'] LOOP
        IF to_regrole(v_role) IS NOT NULL THEN
            CONTINUE;
        ELSIF NOT v_may_create THEN
            RAISE NOTICE 'role % does not exist and % may not create it: nothing is granted to it', v_role, current_user;
            CONTINUE;
        END IF;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- a migration of another database of this cluster made it in the meantime
        END;
    END LOOP;

    FOR v_grant IN
        SELECT g.role, g.privileges, g.object
          FROM (VALUES
            ('waypost_coordinator', 'SELECT, INSERT',                 'events'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'runs'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'partitions'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE, DELETE', 'timers'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'approvals'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'tool_ledger'),
            ('waypost_coordinator', 'SELECT, INSERT',                 'idempotency'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'definitions'),
            ('waypost_coordinator', 'SELECT, INSERT, DELETE',         'inbox'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'blobs'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE, DELETE', 'dead'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE, DELETE', 'dead_failures'),
            ('waypost_coordinator', 'SELECT, INSERT, UPDATE',         'streams'),
            ('waypost_coordinator', 'SELECT, INSERT',                 'notices'),
            ('waypost_coordinator', 'SELECT',                         'audit_cursors'),
            ('waypost_gateway',     'SELECT, UPDATE',                 'tool_ledger'),
            ('waypost_gateway',     'SELECT, UPDATE (state)',         'approvals'),
            ('waypost_gateway',     'SELECT, INSERT, UPDATE',         'blobs'),
            ('waypost_gateway',     'SELECT',                         'definitions'),
            ('waypost_coordinator', 'SELECT',                         'audit_log'),
            ('waypost_coordinator', 'SELECT',                         'audit_leaves'),
            ('waypost_coordinator', 'SELECT',                         'audit_spans'),
            ('waypost_coordinator', 'SELECT',                         'audit_nodes'),
            ('waypost_coordinator', 'SELECT',                         'audit_heads'),
            ('waypost_coordinator', 'SELECT',                         'audit_keys'),
            ('waypost_coordinator', 'SELECT',                         'audit_anchors'),
            ('waypost_coordinator', 'SELECT',                         'audit_drops'),
            ('waypost_audit',       'SELECT',                         'audit_drops'),
            ('waypost_audit',       'SELECT, INSERT, UPDATE',         'audit_log'),
            ('waypost_audit',       'SELECT, INSERT',                 'audit_leaves'),
            ('waypost_audit',       'SELECT, INSERT',                 'audit_spans'),
            ('waypost_audit',       'SELECT, INSERT',                 'audit_nodes'),
            ('waypost_audit',       'SELECT, INSERT',                 'audit_heads'),
            ('waypost_audit',       'SELECT, INSERT',                 'audit_keys'),
            ('waypost_audit',       'SELECT, INSERT, UPDATE',         'audit_anchors'),
            ('waypost_audit',       'SELECT, INSERT, UPDATE',         'audit_cursors'),
            ('waypost_audit',       'SELECT, INSERT, UPDATE',         'trace_cursors'),
            ('waypost_audit',       'SELECT',                         'events'),
            ('waypost_audit',       'SELECT',                         'runs'),
            ('waypost_audit',       'SELECT',                         'partitions')
          ) AS g (role, privileges, object)
        UNION ALL
        SELECT 'waypost_reader', 'SELECT', t.object
          FROM unnest(ARRAY['events', 'runs', 'partitions', 'timers', 'approvals', 'tool_ledger', 'idempotency', 'definitions', 'inbox',
                            'blobs', 'dead', 'dead_failures', 'streams', 'notices', 'audit_log', 'audit_leaves', 'audit_spans', 'audit_nodes', 'audit_heads', 'audit_keys',
                            'audit_anchors', 'audit_drops', 'audit_cursors', 'trace_cursors']) AS t (object)
        UNION ALL
        SELECT r.role, 'SELECT', 'schema_migrations'
          FROM unnest(ARRAY['waypost_coordinator', 'waypost_gateway', 'waypost_audit', 'waypost_reader']) AS r (role)
    LOOP
        IF to_regrole(v_grant.role) IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %I TO %I', v_grant.privileges, v_grant.object, v_grant.role);
        END IF;
    END LOOP;
    IF to_regrole('waypost_coordinator') IS NOT NULL THEN
        GRANT EXECUTE ON FUNCTION waypost_create_event_partitions TO waypost_coordinator;
    END IF;
    IF to_regrole('waypost_gateway') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE (source) ON dead TO waypost_gateway;
        GRANT SELECT, DELETE ON dead_failures TO waypost_gateway;
    END IF;
END
$$;
