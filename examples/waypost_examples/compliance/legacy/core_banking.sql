-- The core banking database. `look_up` is slow for the first `slow_first` look-ups of an account; the count is a sequence, because a
-- sequence is not rolled back when the caller gives up and cancels.

CREATE TABLE accounts (
    number          integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    account         text NOT NULL UNIQUE,
    customer        text NOT NULL,
    holder          text NOT NULL,
    opened          date NOT NULL,
    monthly_average numeric NOT NULL,
    slow_first      integer NOT NULL DEFAULT 0,
    slow_seconds    double precision NOT NULL DEFAULT 0
);

CREATE FUNCTION look_up(wanted text) RETURNS SETOF accounts LANGUAGE plpgsql AS $$
DECLARE
    entry accounts;
BEGIN
    SELECT * INTO entry FROM accounts WHERE account = wanted;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF entry.slow_first > 0 AND nextval(format('look_ups_%s', entry.number)::regclass) <= entry.slow_first THEN
        PERFORM pg_sleep(entry.slow_seconds);
    END IF;
    RETURN NEXT entry;
END
$$;
