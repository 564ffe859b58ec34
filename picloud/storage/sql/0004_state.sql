-- What scripts keep between invocations.

CREATE SEQUENCE kv_versions;               -- of all values: a version is never given twice

CREATE TABLE kv (
    space      text NOT NULL,              -- 'script ID': its own; 'shared NAME': granted by settings
    key        text COLLATE "C" NOT NULL,
    json       text,                       -- one of these three is the value
    raw        bytea,
    number     bigint,
    bytes      integer NOT NULL,           -- key and value, as quotas count them
    replaced   integer NOT NULL DEFAULT 0, -- the bytes of what the last write replaced
    version    bigint NOT NULL,
    expires_at timestamptz,                -- from then on it is absent, whether the row is still there or not
    PRIMARY KEY (space, key),
    CHECK (num_nonnulls(json, raw, number) = 1)
) WITH (fillfactor = 80);
CREATE INDEX kv_expiring ON kv (expires_at) WHERE expires_at IS NOT NULL;

-- How much is in a space, in several rows: writers of one space do not wait for each other.
CREATE TABLE kv_usage (
    space text NOT NULL,
    shard smallint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (space, shard)
) WITH (fillfactor = 50);

-- What scripts are granted by name. A value is sealed before it comes here, with a key that never does.
CREATE TABLE secrets (
    name       text COLLATE "C" PRIMARY KEY,
    sealed     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- What was answered to requests with an Idempotency-Key, to be answered again.
CREATE TABLE kept_answers (
    script_id   bigint NOT NULL,
    key         text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,            -- of the request
    invocation  uuid NOT NULL,             -- that gave the answer
    status      smallint NOT NULL,
    headers     text NOT NULL,             -- JSON: [[NAME, VALUE], …]
    body        bytea NOT NULL,
    bytes       integer NOT NULL,          -- of all that, about
    expires_at  timestamptz NOT NULL,      -- from then on it is absent, whether the row is still there or not
    PRIMARY KEY (script_id, key)
);
CREATE INDEX kept_answers_expiring ON kept_answers (expires_at);

-- What invocations were asked, of scripts whose settings say so: to be looked at, and run again. Goes with its invocation.
CREATE TABLE requests (
    invocation uuid PRIMARY KEY,
    request    bytea NOT NULL              -- MessagePack of a KeptRequest; what was secret in it is masked
);
