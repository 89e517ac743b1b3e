-- The tables of one app, in its schema. Each statement is idempotent and runs in its own transaction.

-- Format version of these tables, number of buckets, frozen settings of the app.
CREATE TABLE IF NOT EXISTS meta (key text PRIMARY KEY, value text NOT NULL);

-- Declarations as first seen; tag is the 16 bits that ids carry. A changed declaration is drift.
CREATE TABLE IF NOT EXISTS kind (tag int4 PRIMARY KEY, name text UNIQUE NOT NULL, declaration text NOT NULL);

-- Numbers of lifecycles never change; active says whether new facts are routed to it.
CREATE TABLE IF NOT EXISTS lifecycle (id int2 PRIMARY KEY, name text UNIQUE NOT NULL, kind int4 NOT NULL,
  active bool NOT NULL, priority int4 NOT NULL DEFAULT 0, generation int4 NOT NULL, module text NOT NULL,
  friends text[] NOT NULL DEFAULT '{}', finds text[] NOT NULL DEFAULT '{}');

-- One row. Every transaction that writes facts holds ACCESS SHARE on it and compares the version.
CREATE TABLE IF NOT EXISTS routing (version int8 NOT NULL);
INSERT INTO routing SELECT 0 WHERE NOT EXISTS (SELECT FROM routing);

CREATE TABLE IF NOT EXISTS generation (id int4 PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), sha text NOT NULL);
-- The files it was made of, a line each: "kinds/edge.lua SHA-256".
ALTER TABLE generation ADD COLUMN IF NOT EXISTS files text NOT NULL DEFAULT '';

-- One row per writer (worker, ingest, script): a connection that writes. Part of batch and packet ids.
CREATE TABLE IF NOT EXISTS epoch (id int4 PRIMARY KEY, role text NOT NULL, backend_pid int4 NOT NULL,
  host text NOT NULL, pid int4 NOT NULL, generation int4 NOT NULL, started timestamptz NOT NULL DEFAULT now(),
  folded bool NOT NULL DEFAULT false);

-- Up to about 1,000 events of one lifecycle and bucket. tries counts deaths of a worker; above 0 it is quarantined.
CREATE TABLE IF NOT EXISTS packet (bucket int2 NOT NULL, id int8 NOT NULL, lifecycle int2 NOT NULL, priority int2 NOT NULL,
  tries int2 NOT NULL, born timestamptz NOT NULL, not_before timestamptz, n int4 NOT NULL, payload bytea NOT NULL,
  PRIMARY KEY (bucket, id));
ALTER TABLE packet ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE packet SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
  toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 2000);

-- Events that failed: delayed (tried again at ready_at), queued (its retry is in a packet), dead, discarded.
CREATE TABLE IF NOT EXISTS parked (lifecycle int2 NOT NULL, fact uuid NOT NULL, bucket int2 NOT NULL, state text NOT NULL,
  attempts int4 NOT NULL, error text NOT NULL, trace text NOT NULL, generation int4 NOT NULL, first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL, ready_at timestamptz NOT NULL, PRIMARY KEY (lifecycle, fact));
CREATE INDEX IF NOT EXISTS parked_state ON parked (state, ready_at);
-- Its last 10 attempts, newest first: {n, at, worker, generation, took_ms, error}.
ALTER TABLE parked ADD COLUMN IF NOT EXISTS history jsonb NOT NULL DEFAULT '[]';
-- Its error's first line with quoted strings, ids and numbers taken out (the line of a file stays): the same for like errors.
ALTER TABLE parked ADD COLUMN IF NOT EXISTS signature text NOT NULL GENERATED ALWAYS AS (
  regexp_replace(regexp_replace(regexp_replace(regexp_replace(left(split_part(error, E'\n', 1), 400), '"[^"]*"', '"*"', 'g'),
    '(^|[^[:alnum:]])''[^'']*''', '\1''*''', 'g'),
    '\m[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\M|\m(?=[0-9]*[a-f])[0-9a-f]{12,}\M|\m0x[0-9a-f]+\M', 'ID', 'gi'),
    '(?<![[:alnum:]_]|\.(?:lua|c|h):)-?[0-9]+(?:\.[0-9]+)?(?:e[-+]?[0-9]+)?', 'N', 'g')) STORED;

-- The audit's number of a person's retry until it has ended, negative from then on. NULL: nobody has had it tried again.
ALTER TABLE parked ADD COLUMN IF NOT EXISTS retry int8;
CREATE INDEX IF NOT EXISTS parked_retry ON parked (retry) WHERE retry IS NOT NULL;

-- Retries that have not ended: events put in the queue, and those of them that a later retry took.
CREATE TABLE IF NOT EXISTS retry (audit int8 PRIMARY KEY, queued int8 NOT NULL, taken int8 NOT NULL);

-- Old facts that a new lifecycle has yet to see: facts of its kind with id above cursor in this bucket, whose batch
-- is at most the bound of its epoch.
CREATE TABLE IF NOT EXISTS replay (lifecycle int2 NOT NULL, bucket int2 NOT NULL, cursor uuid NOT NULL, PRIMARY KEY (lifecycle, bucket));
CREATE TABLE IF NOT EXISTS replay_bound (lifecycle int2 NOT NULL, epoch int4 NOT NULL, last_batch int8 NOT NULL, PRIMARY KEY (lifecycle, epoch));

-- What people did to it: who, what, why. Rows are only added; the result of what takes long comes later.
CREATE TABLE IF NOT EXISTS audit (id int8 PRIMARY KEY, at timestamptz NOT NULL, who text NOT NULL, act text NOT NULL,
  what text NOT NULL, reason text NOT NULL, result text NOT NULL);

-- What a call of each part takes, by generation: the newest result of each. of: a lifecycle, or 'host'. ns: median per call, NULL when it
-- was not measured, as note says; ci_ns: half the width of its 95 % interval. module: SHA-256 of the lifecycle's module, or the host's
-- version.
CREATE TABLE IF NOT EXISTS bench (generation int4 NOT NULL, of text NOT NULL, part text NOT NULL, at timestamptz NOT NULL,
  ns float8, ci_ns float8, runs int4 NOT NULL, samples int4 NOT NULL, host text NOT NULL, module text NOT NULL,
  note text NOT NULL, is_failed bool NOT NULL, PRIMARY KEY (generation, of, part));

-- What people have set while it runs; all workers obey it. what: pause (lifecycle 0), throttle (events a second of a lifecycle).
CREATE TABLE IF NOT EXISTS control (what text NOT NULL, lifecycle int2 NOT NULL, per_s float8, who text NOT NULL,
  reason text NOT NULL, since timestamptz NOT NULL, PRIMARY KEY (what, lifecycle));

-- Who may use HTTP. hash: SHA-256 of a secret of 256 random bits. Rows stay, so that a name in the audit is one secret's for ever.
CREATE TABLE IF NOT EXISTS token (name text PRIMARY KEY, role text NOT NULL, hash bytea NOT NULL, made timestamptz NOT NULL,
  who text NOT NULL, revoked timestamptz);

-- What a transaction wrote that found facts or finished events. id = epoch << 32 | counter. lifecycle 0: ingest.
-- phases_us: load, friends, process, insert (as far as known before the commit).
CREATE TABLE IF NOT EXISTS batch (id int8 PRIMARY KEY, lifecycle int2 NOT NULL, generation int4 NOT NULL, at timestamptz NOT NULL,
  events int4 NOT NULL, found int4 NOT NULL, new int4 NOT NULL, phases_us int4[] NOT NULL);
-- waited_ms: how long its events had waited when they were taken, on average; last_write_us: how long the write of the
-- writer's batch before it took, which nobody knows before the commit.
ALTER TABLE batch ADD COLUMN IF NOT EXISTS waited_ms int4 NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN IF NOT EXISTS last_write_us int4 NOT NULL DEFAULT 0;
-- A transaction of facts that were sent with several records has a row for each: place counts them from 0, ingest is the
-- record's id (NULL: found, or not known).
ALTER TABLE batch ADD COLUMN IF NOT EXISTS place int4 NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN IF NOT EXISTS ingest int8;

-- One row per body or file that was sent, and one for all single facts of a transaction (name '', kind '' when of several).
-- id = epoch << 32 | counter. batch: its last. errors: [{line, field, message}], the first 1,000 of the lines refused. A body
-- of several transactions has its row with the first, and each later one brings it up to date (at stays, ended: with the last);
-- so it always tells what is written, and of a body whose writer is gone before its end what was written.
CREATE TABLE IF NOT EXISTS ingest (id int8 PRIMARY KEY, batch int8 NOT NULL, at timestamptz NOT NULL, who text NOT NULL,
  name text NOT NULL, format text NOT NULL, kind text NOT NULL, bytes int8 NOT NULL, lines int8 NOT NULL, new int8 NOT NULL,
  repeats int8 NOT NULL, refused int8 NOT NULL, part int8 NOT NULL, parts int8 NOT NULL, trace text NOT NULL, errors jsonb);
CREATE INDEX IF NOT EXISTS ingest_at ON ingest (at, id);
ALTER TABLE ingest ADD COLUMN IF NOT EXISTS ended bool NOT NULL DEFAULT true;
-- Of a file that a writer of its own sent: its facts' batches are first_batch to batch. NULL: batch alone is known.
ALTER TABLE ingest ADD COLUMN IF NOT EXISTS first_batch int8;
CREATE INDEX IF NOT EXISTS ingest_first ON ingest (first_batch) WHERE first_batch IS NOT NULL;

-- Exact counts, one writer a row. Rows of dead epochs are folded into epoch 0.
CREATE TABLE IF NOT EXISTS tally_lifecycle (epoch int4 NOT NULL, lifecycle int2 NOT NULL, early int8 NOT NULL, late int8 NOT NULL,
  empty int8 NOT NULL, found int8 NOT NULL, failed int8 NOT NULL, friends int8 NOT NULL, retries int8 NOT NULL,
  PRIMARY KEY (epoch, lifecycle)) WITH (fillfactor = 50);
-- given: friends handed to events (one row may go to many). by_friends: events that loaded friends, by how many they got
-- (0, 1, 2, to 4, to 8 .. to 512, more); late_by_friends: of them those that abort_late ended.
ALTER TABLE tally_lifecycle ADD COLUMN IF NOT EXISTS given int8 NOT NULL DEFAULT 0;
ALTER TABLE tally_lifecycle ADD COLUMN IF NOT EXISTS by_friends int8[] NOT NULL DEFAULT '{0,0,0,0,0,0,0,0,0,0,0,0}';
ALTER TABLE tally_lifecycle ADD COLUMN IF NOT EXISTS late_by_friends int8[] NOT NULL DEFAULT '{0,0,0,0,0,0,0,0,0,0,0,0}';
CREATE TABLE IF NOT EXISTS tally_kind (epoch int4 NOT NULL, lifecycle int2 NOT NULL, kind int4 NOT NULL, new int8 NOT NULL,
  repeats int8 NOT NULL, contradictions int8 NOT NULL, last_batch int8 NOT NULL,
  PRIMARY KEY (epoch, lifecycle, kind)) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS tally_reason (epoch int4 NOT NULL, lifecycle int2 NOT NULL, outcome text NOT NULL, reason text NOT NULL,
  n int8 NOT NULL, PRIMARY KEY (epoch, lifecycle, outcome, reason)) WITH (fillfactor = 50);
