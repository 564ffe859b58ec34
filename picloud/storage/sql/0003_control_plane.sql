-- Routes, and tokens that are limited to scripts, expire, and are seen in use.

CREATE TABLE routes (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    script_id bigint NOT NULL REFERENCES scripts ON DELETE CASCADE,
    method    text NOT NULL,               -- or ANY
    host      text NOT NULL,               -- '': every host
    path      text NOT NULL,               -- the pattern as it was written
    shape     text NOT NULL,               -- the same without the names of its parameters: two of one shape would clash
    declared  boolean NOT NULL DEFAULT false, -- by the script's own picloud.toml, which also removes it
    UNIQUE (host, method, shape)
);
CREATE INDEX routes_by_script ON routes (script_id);

ALTER TABLE tokens
    ADD scripts      text[],               -- NULL: all
    ADD expires_at   timestamptz,          -- NULL: never
    ADD last_used_at timestamptz;          -- a use in the minute after it is not noted

-- What a version's picloud.toml declares is applied once it is first active; what was there before had none.
ALTER TABLE versions
    ADD applied boolean NOT NULL DEFAULT true;

-- What is looked for among much else: what failed, what is loud, and what was written at a time.
CREATE INDEX invocations_failed ON invocations (id) WHERE outcome <> 'ok';
CREATE INDEX log_lines_loud ON log_lines (id) WHERE level IN ('warn', 'error');
CREATE INDEX log_lines_by_time ON log_lines (at);
