-- When scripts run by themselves.

CREATE TABLE schedules (
    name            text COLLATE "C" PRIMARY KEY,
    script          text NOT NULL,               -- by name: the operator's may come before its script
    script_id       bigint REFERENCES scripts ON DELETE CASCADE, -- whose bundle or run made it, and with which it goes; else NULL
    cron            text,                        -- one of these two
    every           text,
    at              text,
    timezone        text NOT NULL,
    payload         bytea NOT NULL,              -- JSON
    overlap         text NOT NULL,
    missed          text NOT NULL,
    missed_within_s integer NOT NULL,
    jitter_s        integer NOT NULL DEFAULT 0,
    origin          text NOT NULL,
    anchor          timestamptz NOT NULL DEFAULT now(), -- from which intervals count
    next_due        timestamptz,                 -- the first slot that is not in the ledger; NULL: there will be none
    error           text NOT NULL DEFAULT '',    -- why it makes no more slots
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(cron, every) = 1)
) WITH (fillfactor = 80);

CREATE INDEX schedules_due ON schedules (next_due) WHERE next_due IS NOT NULL;
CREATE INDEX schedules_of_script ON schedules (script_id) WHERE script_id IS NOT NULL;

-- The ledger: each due time once, whoever comes first. Outlives its schedule until retention.
CREATE TABLE slots (
    schedule    text COLLATE "C" NOT NULL,
    due_at      timestamptz NOT NULL,
    until_at    timestamptz,                     -- the last one, if this stands for a range of them
    count       bigint NOT NULL DEFAULT 1,       -- of due times
    script      text NOT NULL,                   -- that it was for
    state       text NOT NULL,
    job         uuid,
    invocation  uuid,                            -- that the job ended with
    lateness_ms bigint,                          -- from due_at to the job's making
    ended_at    timestamptz,
    PRIMARY KEY (schedule, due_at)
) WITH (fillfactor = 80);

CREATE INDEX slots_by_job ON slots (job) WHERE job IS NOT NULL;
CREATE INDEX slots_by_time ON slots (due_at);
CREATE INDEX slots_queued ON slots (schedule) WHERE state = 'queued';
CREATE INDEX slots_ranges ON slots (until_at) WHERE until_at IS NOT NULL;
