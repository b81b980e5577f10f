-- What arrives at a gateway and is no tool call gets its row from the gateway.
COMMENT ON TABLE dead IS 'writers: coordinator, gateway. What could not be processed; run_id is text because it may be no run id at all.';
DO $$
BEGIN
    IF to_regrole('waypost_gateway') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE (source) ON dead TO waypost_gateway;
        GRANT SELECT, DELETE ON dead_failures TO waypost_gateway;
    END IF;
END
$$;
