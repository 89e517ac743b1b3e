-- The closure app's database as format 2 was: no `control`, no `token`, parked events without their earlier attempts. Two edges folded,
-- a third queued, one event dead. tests/whole/schema.sh brings it up to what this version wants. Schema `old`.
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
CREATE SCHEMA old;
CREATE FUNCTION old.fact_is_permanent() RETURNS trigger
    LANGUAGE plpgsql
    AS $$BEGIN RAISE EXCEPTION 'facts are permanent: % on % is refused', TG_OP, TG_TABLE_NAME; END$$;
CREATE TABLE old.audit (
    id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    who text NOT NULL,
    act text NOT NULL,
    what text NOT NULL,
    reason text NOT NULL,
    result text NOT NULL
);
CREATE TABLE old.batch (
    id bigint NOT NULL,
    lifecycle smallint NOT NULL,
    generation integer NOT NULL,
    at timestamp with time zone NOT NULL,
    events integer NOT NULL,
    found integer NOT NULL,
    new integer NOT NULL,
    phases_us integer[] NOT NULL
);
CREATE TABLE old.epoch (
    id integer NOT NULL,
    role text NOT NULL,
    backend_pid integer NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    generation integer NOT NULL,
    started timestamp with time zone DEFAULT now() NOT NULL,
    folded boolean DEFAULT false NOT NULL
);
CREATE TABLE old.fact_edge (
    _id uuid NOT NULL,
    "from" bigint NOT NULL,
    "to" bigint NOT NULL,
    _batch bigint NOT NULL,
    _data uuid,
    _friends uuid[]
);
CREATE TABLE old.fact_path (
    _id uuid NOT NULL,
    "from" bigint NOT NULL,
    "to" bigint NOT NULL,
    _batch bigint NOT NULL,
    _data uuid,
    _friends uuid[]
);
CREATE TABLE old.generation (
    id integer NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    sha text NOT NULL
);
CREATE TABLE old.kind (
    tag integer NOT NULL,
    name text NOT NULL,
    declaration text NOT NULL
);
CREATE TABLE old.lifecycle (
    id smallint NOT NULL,
    name text NOT NULL,
    kind integer NOT NULL,
    active boolean NOT NULL,
    priority integer DEFAULT 0 NOT NULL,
    generation integer NOT NULL,
    module text NOT NULL,
    friends text[] DEFAULT '{}'::text[] NOT NULL,
    finds text[] DEFAULT '{}'::text[] NOT NULL
);
CREATE TABLE old.meta (
    key text NOT NULL,
    value text NOT NULL
);
CREATE TABLE old.packet (
    bucket smallint NOT NULL,
    id bigint NOT NULL,
    lifecycle smallint NOT NULL,
    priority smallint NOT NULL,
    tries smallint NOT NULL,
    born timestamp with time zone NOT NULL,
    not_before timestamp with time zone,
    n integer NOT NULL,
    payload bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000', autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='100000', toast.autovacuum_vacuum_scale_factor='0', toast.autovacuum_vacuum_threshold='2000');
ALTER TABLE ONLY old.packet ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE old.parked (
    lifecycle smallint NOT NULL,
    fact uuid NOT NULL,
    bucket smallint NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    error text NOT NULL,
    trace text NOT NULL,
    generation integer NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone NOT NULL
);
CREATE TABLE old.replay (
    lifecycle smallint NOT NULL,
    bucket smallint NOT NULL,
    cursor uuid NOT NULL
);
CREATE TABLE old.replay_bound (
    lifecycle smallint NOT NULL,
    epoch integer NOT NULL,
    last_batch bigint NOT NULL
);
CREATE TABLE old.routing (
    version bigint NOT NULL
);
CREATE TABLE old.tally_kind (
    epoch integer NOT NULL,
    lifecycle smallint NOT NULL,
    kind integer NOT NULL,
    new bigint NOT NULL,
    repeats bigint NOT NULL,
    contradictions bigint NOT NULL,
    last_batch bigint NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE old.tally_lifecycle (
    epoch integer NOT NULL,
    lifecycle smallint NOT NULL,
    early bigint NOT NULL,
    late bigint NOT NULL,
    empty bigint NOT NULL,
    found bigint NOT NULL,
    failed bigint NOT NULL,
    friends bigint NOT NULL,
    retries bigint NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE old.tally_reason (
    epoch integer NOT NULL,
    lifecycle smallint NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    n bigint NOT NULL
)
WITH (fillfactor='50');
INSERT INTO old.audit VALUES (1, '2026-11-23 02:36:07.112791+00', 'root@host', 'queue retry', 'path_takes_edge', 'a try', '0 events');
INSERT INTO old.batch VALUES (4294967297, 0, 1, '2026-11-23 02:36:06.947439+00', 0, 2, 2, '{0,0,0,0}');
INSERT INTO old.batch VALUES (8589934593, 1, 1, '2026-11-23 02:36:07.028677+00', 1, 1, 1, '{0,10204,23,435}');
INSERT INTO old.batch VALUES (17179869185, 1, 1, '2026-11-23 02:36:07.027942+00', 1, 1, 1, '{0,7194,46,454}');
INSERT INTO old.batch VALUES (8589934594, 2, 1, '2026-11-23 02:36:07.031802+00', 1, 0, 0, '{0,2047,10,1}');
INSERT INTO old.batch VALUES (17179869186, 2, 1, '2026-11-23 02:36:07.040768+00', 1, 1, 1, '{0,833,18,766}');
INSERT INTO old.batch VALUES (17179869187, 2, 1, '2026-11-23 02:36:07.042499+00', 1, 0, 0, '{0,969,6,0}');
INSERT INTO old.batch VALUES (21474836481, 0, 1, '2026-11-23 02:36:07.092189+00', 0, 1, 1, '{0,0,0,0}');
INSERT INTO old.epoch VALUES (2, 'worker', 4469, 'host', 4466, 1, '2026-11-23 02:36:06.99133+00', false);
INSERT INTO old.epoch VALUES (4, 'worker', 4471, 'host', 4465, 1, '2026-11-23 02:36:06.999562+00', false);
INSERT INTO old.epoch VALUES (1, 'ingest', 4460, 'host', 4459, 1, '2026-11-23 02:36:06.946051+00', true);
INSERT INTO old.epoch VALUES (3, 'quarantine', 4470, 'host', 4467, 1, '2026-11-23 02:36:06.992418+00', true);
INSERT INTO old.epoch VALUES (5, 'ingest', 4476, 'host', 4475, 1, '2026-11-23 02:36:07.090796+00', false);
INSERT INTO old.fact_edge VALUES ('0eabbda9-b65a-fd9b-9387-7416b40a8b18', 1, 2, 4294967297, NULL, NULL);
INSERT INTO old.fact_edge VALUES ('5f8abda9-e870-535c-caea-88c95ca93d82', 2, 3, 4294967297, NULL, NULL);
INSERT INTO old.fact_edge VALUES ('8960bda9-ad69-5bd1-9a5c-ebeab8ae00ad', 3, 4, 21474836481, NULL, NULL);
INSERT INTO old.fact_path VALUES ('0eab7986-ed8c-024c-51c9-c11ccd3923e6', 1, 2, 17179869185, '0eabbda9-b65a-fd9b-9387-7416b40a8b18', NULL);
INSERT INTO old.fact_path VALUES ('5f8a7986-892d-a4d1-614c-7c28f5839b7a', 2, 3, 8589934593, '5f8abda9-e870-535c-caea-88c95ca93d82', NULL);
INSERT INTO old.fact_path VALUES ('0eab7986-50df-bffe-332f-19661e9783ba', 1, 3, 17179869186, '0eab7986-ed8c-024c-51c9-c11ccd3923e6', '{5f8abda9-e870-535c-caea-88c95ca93d82}');
INSERT INTO old.generation VALUES (1, '2026-11-23 02:36:06.940766+00', '0834948a04618fed18d2471982762c28db89b39d86c439f9728f7df95ba49c40');
INSERT INTO old.kind VALUES (48553, 'edge', 'from int8 unique
to int8 unique
shard from
');
INSERT INTO old.kind VALUES (31110, 'path', 'from int8 unique
to int8 unique
shard from
');
INSERT INTO old.lifecycle VALUES (1, 'edge_extends_path', 48553, true, 0, 1, '4aee10df4bc65fb0573727efc084aad9686daaea06b147565005b4190e4352de', '{path}', '{path}');
INSERT INTO old.lifecycle VALUES (2, 'path_takes_edge', 31110, true, 0, 1, '2acd59db797512e8ec7b8fc6bc799ebf202fd748cfd7c94ea1af5f1ac94e77f5', '{edge}', '{path}');
INSERT INTO old.meta VALUES ('format', '2');
INSERT INTO old.meta VALUES ('base', '2:b7ae208db8286b24968e618b3427ad77');
INSERT INTO old.meta VALUES ('settings', '');
INSERT INTO old.meta VALUES ('buckets', '4');
INSERT INTO old.meta VALUES ('waited', '2026-11-23 02:36:07.060368+00');
INSERT INTO old.packet VALUES (2, 21474836481, 1, 0, 0, '2026-11-23 02:36:07.092189+00', NULL, 1, '\x52a9bd032d66668960bda9ad695bd19a5cebeab8ae00ad03000000000000000400000000000000');
INSERT INTO old.parked VALUES (2, '0eab7986-50df-bffe-332f-19661e9783ba', 3, 'dead', 5, 'path_takes_edge.lua:7: made up', 'trace', 1, '2026-11-23 02:36:07.102814+00', '2026-11-23 02:36:07.102814+00', '2026-11-23 02:36:07.102814+00');
INSERT INTO old.routing VALUES (2);
INSERT INTO old.tally_kind VALUES (0, 0, 48553, 2, 0, 0, 0);
INSERT INTO old.tally_kind VALUES (2, 1, 31110, 1, 0, 0, 8589934593);
INSERT INTO old.tally_kind VALUES (4, 1, 31110, 1, 0, 0, 17179869185);
INSERT INTO old.tally_kind VALUES (4, 2, 31110, 1, 0, 0, 17179869186);
INSERT INTO old.tally_kind VALUES (5, 0, 48553, 1, 0, 0, 21474836481);
INSERT INTO old.tally_lifecycle VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO old.tally_lifecycle VALUES (2, 1, 0, 0, 0, 1, 0, 0, 0);
INSERT INTO old.tally_lifecycle VALUES (4, 1, 0, 0, 0, 1, 0, 0, 0);
INSERT INTO old.tally_lifecycle VALUES (2, 2, 0, 0, 1, 0, 0, 0, 0);
INSERT INTO old.tally_lifecycle VALUES (4, 2, 0, 0, 1, 1, 0, 1, 0);
INSERT INTO old.tally_lifecycle VALUES (5, 0, 0, 0, 0, 0, 0, 0, 0);
ALTER TABLE ONLY old.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY old.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY old.epoch
    ADD CONSTRAINT epoch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY old.fact_edge
    ADD CONSTRAINT fact_edge_pkey PRIMARY KEY (_id);
ALTER TABLE ONLY old.fact_path
    ADD CONSTRAINT fact_path_pkey PRIMARY KEY (_id);
ALTER TABLE ONLY old.generation
    ADD CONSTRAINT generation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY old.kind
    ADD CONSTRAINT kind_name_key UNIQUE (name);
ALTER TABLE ONLY old.kind
    ADD CONSTRAINT kind_pkey PRIMARY KEY (tag);
ALTER TABLE ONLY old.lifecycle
    ADD CONSTRAINT lifecycle_name_key UNIQUE (name);
ALTER TABLE ONLY old.lifecycle
    ADD CONSTRAINT lifecycle_pkey PRIMARY KEY (id);
ALTER TABLE ONLY old.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY old.packet
    ADD CONSTRAINT packet_pkey PRIMARY KEY (bucket, id);
ALTER TABLE ONLY old.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (lifecycle, fact);
ALTER TABLE ONLY old.replay_bound
    ADD CONSTRAINT replay_bound_pkey PRIMARY KEY (lifecycle, epoch);
ALTER TABLE ONLY old.replay
    ADD CONSTRAINT replay_pkey PRIMARY KEY (lifecycle, bucket);
ALTER TABLE ONLY old.tally_kind
    ADD CONSTRAINT tally_kind_pkey PRIMARY KEY (epoch, lifecycle, kind);
ALTER TABLE ONLY old.tally_lifecycle
    ADD CONSTRAINT tally_lifecycle_pkey PRIMARY KEY (epoch, lifecycle);
ALTER TABLE ONLY old.tally_reason
    ADD CONSTRAINT tally_reason_pkey PRIMARY KEY (epoch, lifecycle, outcome, reason);
CREATE INDEX ix_edge_30cd1a4e69a32883 ON old.fact_edge USING btree ("from");
CREATE INDEX ix_path_d48fa1d15a1d697a ON old.fact_path USING btree ("to");
CREATE INDEX parked_state ON old.parked USING btree (state, ready_at);
CREATE TRIGGER permanent BEFORE DELETE OR UPDATE OR TRUNCATE ON old.fact_edge FOR EACH STATEMENT EXECUTE FUNCTION old.fact_is_permanent();
CREATE TRIGGER permanent BEFORE DELETE OR UPDATE OR TRUNCATE ON old.fact_path FOR EACH STATEMENT EXECUTE FUNCTION old.fact_is_permanent();
