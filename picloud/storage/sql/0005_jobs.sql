-- What is to run later.

CREATE TABLE jobs (
    id           uuid PRIMARY KEY,
    script       text NOT NULL,                 -- by name: it may be deleted meanwhile, and made anew
    trigger      text NOT NULL,
    state        text NOT NULL DEFAULT 'queued', -- while it runs, too: who runs it holds the row's lock
    request      bytea NOT NULL,                -- MessagePack of a Request
    priority     smallint NOT NULL,
    due_at       timestamptz NOT NULL,
    key          text COLLATE "C",              -- of a script's jobs, one is kept with a key, unless it is cancelled
    ordering_key text COLLATE "C",
    position     bigint,                        -- among those with its ordering key
    attempts     integer NOT NULL DEFAULT 0,    -- that failed, of …
    max_attempts integer,                       -- … at most; NULL: as the script's settings say
    crashes      integer NOT NULL DEFAULT 0,    -- attempts that came to no end
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz,
    invocation   uuid,                          -- the last one that came to an end
    outcome      text,                          -- of that
    error        text NOT NULL DEFAULT '',
    status       smallint,                      -- of its answer …
    headers      text,                          -- … JSON: [[NAME, VALUE], …]
    body         bytea,
    sender       text                           -- the script that sent it; NULL: no script did
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX jobs_by_key ON jobs (script, key) WHERE key IS NOT NULL AND state <> 'cancelled';
CREATE INDEX jobs_ready ON jobs (priority DESC, due_at, id) WHERE state = 'queued';
CREATE INDEX jobs_due ON jobs (due_at) WHERE state = 'queued';
CREATE INDEX jobs_in_order ON jobs (script, ordering_key, position) WHERE state = 'queued' AND ordering_key IS NOT NULL;
CREATE INDEX jobs_queued ON jobs (script) WHERE state = 'queued';
CREATE INDEX jobs_by_script ON jobs (script, id DESC);
CREATE INDEX jobs_dead ON jobs (id DESC) WHERE state = 'dead';

-- Who sends a job with an ordering key holds its row to the end of the transaction: positions become visible in order.
CREATE TABLE lanes (
    script       text NOT NULL,
    ordering_key text COLLATE "C" NOT NULL,
    last         bigint NOT NULL,
    PRIMARY KEY (script, ordering_key)
) WITH (fillfactor = 50);

-- Each run of a job, written before it begins, by itself. One without an outcome whose job nobody holds has crashed.
CREATE TABLE job_attempts (
    invocation uuid PRIMARY KEY,
    job        uuid NOT NULL,
    node       text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deadline   timestamptz NOT NULL,            -- when it has ended, or nobody runs it any more
    outcome    text
) WITH (fillfactor = 80);

CREATE INDEX job_attempts_by_job ON job_attempts (job);
CREATE INDEX job_attempts_open ON job_attempts (deadline) WHERE outcome IS NULL;
