-- The shared store, form 1. All names are without a schema: the role's own first one has them.

-- Texts are compared by their bytes, as in SQLite.
CREATE DOMAIN bytewise AS text COLLATE "C";

-- SQLite's functions. What cannot be read as JSON has no members, as in `row_conditions`.
CREATE FUNCTION instr(text, text) RETURNS integer LANGUAGE sql IMMUTABLE
    AS 'SELECT strpos($1, $2)';
CREATE FUNCTION iif(boolean, text, text) RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT CASE WHEN $1 THEN $2 ELSE $3 END';
CREATE FUNCTION iif(boolean, bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    AS 'SELECT CASE WHEN $1 THEN $2 ELSE $3 END';
CREATE FUNCTION max(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    AS 'SELECT greatest($1, $2)';
CREATE AGGREGATE min(boolean) (SFUNC = booland_statefunc, STYPE = boolean);
CREATE FUNCTION add_truth(bigint, boolean) RETURNS bigint LANGUAGE sql IMMUTABLE
    AS 'SELECT $1 + coalesce($2, FALSE)::integer';
CREATE AGGREGATE sum(boolean) (SFUNC = add_truth, STYPE = bigint, INITCOND = '0');
CREATE FUNCTION add_number(text, double precision) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT left($1, -1) || CASE $1 WHEN '[]' THEN '' ELSE ',' END || to_json($2) || ']'$$;
CREATE AGGREGATE json_group_array(double precision) (SFUNC = add_number, STYPE = text,
    INITCOND = '[]');
CREATE FUNCTION julianday(text) RETURNS double precision LANGUAGE sql IMMUTABLE
    AS 'SELECT (extract(epoch FROM $1::timestamptz) / 86400 + 2440587.5)::double precision';
-- PostgreSQL's JSON refuses escapes of NUL and of halves of characters: nothing searches them.
CREATE FUNCTION as_json(text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    RETURN regexp_replace($1, '\\u(0000|[dD][89abAB]..|[dD][c-fC-F]..)', '?', 'g')::jsonb;
    EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$;
CREATE FUNCTION json_valid(text) RETURNS boolean LANGUAGE sql IMMUTABLE
    AS 'SELECT as_json($1) IS NOT NULL';
CREATE FUNCTION json_extract(text, text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT jsonb_path_query_first(as_json($1), $2::jsonpath) #>> '{}'$$;
CREATE FUNCTION json_each(text) RETURNS TABLE (value text) LANGUAGE sql IMMUTABLE
    AS $$SELECT each::text FROM jsonb_array_elements(coalesce(as_json($1), '[]')) AS each$$;
CREATE FUNCTION json_list(text, text, text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT '[' || to_json($1) || ',' || to_json($2) || ',' || to_json($3) || ']'$$;
CREATE FUNCTION glob(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$SELECT $1 ~ (
    '^' || replace(replace(replace(replace(regexp_replace(replace(replace($2, '[?]', chr(1)),
    '[[]', chr(2)), '([].+^$(){}|\\])', '\\\1', 'g'), '*', '.*'), '?', '.'), chr(1), '\?'),
    chr(2), '\[') || '$')$$;
CREATE OPERATOR ~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = glob);

CREATE TABLE pins (server bytewise NOT NULL, kind bytewise NOT NULL, name bytewise NOT NULL,
    approved bytewise, approved_fingerprint bytewise, approved_at bytewise NOT NULL DEFAULT '',
    held bytewise, held_fingerprint bytewise, held_at bytewise NOT NULL DEFAULT '',
    reason bytewise NOT NULL DEFAULT '', is_reviewed integer NOT NULL DEFAULT 0,
    PRIMARY KEY (server, kind, name), CHECK (approved IS NOT NULL OR held IS NOT NULL));

CREATE TABLE servers (server bytewise PRIMARY KEY, name bytewise NOT NULL,
    identity bytewise NOT NULL, launched bytewise NOT NULL, since bytewise NOT NULL,
    UNIQUE (name, identity));

CREATE TABLE tokens (name bytewise PRIMARY KEY, sha256 bytea NOT NULL,
    servers bytewise NOT NULL, tools bytewise NOT NULL, effect bytewise NOT NULL,
    per_minute integer NOT NULL, created bytewise NOT NULL, expires bytewise NOT NULL,
    manages integer NOT NULL DEFAULT 0);

CREATE TABLE proposals (name bytewise PRIMARY KEY, definition bytewise NOT NULL,
    fingerprint bytewise NOT NULL, state bytewise NOT NULL, proposed_by bytewise NOT NULL,
    reason bytewise NOT NULL, proposed bytewise NOT NULL, decided bytewise NOT NULL);

CREATE TABLE grants (mark bytewise PRIMARY KEY, event bytewise NOT NULL,
    server bytewise NOT NULL, tool bytewise NOT NULL, why bytewise NOT NULL, made bytewise NOT NULL,
    expires bytewise NOT NULL);

CREATE TABLE dismissals (key bytewise PRIMARY KEY, made bytewise NOT NULL);

-- A replica's chains have the numbers of its own file; those of decisions are counted here.
CREATE TABLE pipeguard (version integer NOT NULL, chains bigint NOT NULL);

INSERT INTO pipeguard VALUES (1, 0);

CREATE VIEW sqlite_sequence AS SELECT 'chains' AS name, chains AS seq FROM pipeguard;

CREATE TABLE chains (replica bytewise NOT NULL DEFAULT '', number bigint NOT NULL,
    chain bytewise PRIMARY KEY, server bytewise NOT NULL, started bytewise NOT NULL,
    previous bytewise NOT NULL, first bytewise NOT NULL, head bytewise NOT NULL,
    length bigint NOT NULL, UNIQUE (replica, number));

CREATE INDEX chains_started ON chains (started);

CREATE FUNCTION number_chain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE pipeguard SET chains = chains + 1 RETURNING chains INTO NEW.number;
    RETURN NEW; END $$;

CREATE TRIGGER numbered BEFORE INSERT ON chains FOR EACH ROW WHEN (NEW.number IS NULL)
    EXECUTE FUNCTION number_chain();

CREATE TABLE audit (id bigint GENERATED BY DEFAULT AS IDENTITY, chain bytewise NOT NULL,
    seq bigint NOT NULL, time bytewise NOT NULL, server bytewise NOT NULL, client bytewise NOT NULL,
    direction bytewise NOT NULL, kind bytewise NOT NULL, method bytewise NOT NULL,
    tool bytewise NOT NULL, action bytewise NOT NULL, event bytewise NOT NULL,
    frame_sha256 bytewise NOT NULL, frame_bytes bigint NOT NULL, findings bytewise NOT NULL,
    prev_hash bytewise NOT NULL, hash bytewise NOT NULL, token bytewise, request_bytes bigint,
    duration_ms double precision, PRIMARY KEY (chain, seq, time)) PARTITION BY RANGE (time);

CREATE INDEX audit_id ON audit (id);

CREATE INDEX audit_event ON audit (event) WHERE event <> '';

CREATE INDEX audit_stopped ON audit (id) WHERE action IN ('block', 'ask', 'cut', 'redact')
    OR (action = 'warn' AND instr(findings, '"rule":"isolation.') > 0);

CREATE INDEX audit_noticed ON audit (id) WHERE action <> 'allow' OR findings <> '[]';

CREATE INDEX audit_slow ON audit (chain, request_bytes) WHERE duration_ms >= 500;

-- Keys that all replicas use, sealed.
CREATE TABLE keys (name bytewise PRIMARY KEY, sealed bytea NOT NULL);

-- What ledgers remember for the others of their client, sealed.
CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(), client bytea NOT NULL,
    ledger bytewise NOT NULL, body bytea NOT NULL,
    made timestamptz NOT NULL DEFAULT clock_timestamp());

CREATE INDEX notes_new ON notes (client, xid);

-- The calls of a minute, by token or subject.
CREATE TABLE rates (who bytewise PRIMARY KEY, minute bigint NOT NULL, calls integer NOT NULL,
    before integer NOT NULL);

-- Sessions that ended (home ''), or that one replica alone can go on with.
CREATE TABLE sessions (digest bytea PRIMARY KEY, home bytewise NOT NULL,
    made timestamptz NOT NULL DEFAULT now());

CREATE INDEX sessions_made ON sessions (made);

-- Counts the changes of what replicas keep in memory.
CREATE TABLE changes (number bigint NOT NULL);

INSERT INTO changes VALUES (1);

CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE changes SET number = number + 1; RETURN NULL; END $$;

DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['pins', 'servers', 'tokens', 'proposals', 'grants', 'dismissals'] LOOP
        EXECUTE format('CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION note_change()', name);
    END LOOP;
END $$;
