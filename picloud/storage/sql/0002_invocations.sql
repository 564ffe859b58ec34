-- What ran, and what it wrote. No foreign key to scripts: records outlive them.

CREATE TABLE invocations (
    id           uuid PRIMARY KEY,
    script       text NOT NULL,
    version      integer NOT NULL,
    trigger      text NOT NULL,
    outcome      text NOT NULL,
    status       smallint NOT NULL,
    started_at   timestamptz NOT NULL,
    queue_ms     real NOT NULL,
    run_ms       real NOT NULL,
    cpu_ms       real NOT NULL,
    memory_bytes bigint NOT NULL,
    http_calls   integer NOT NULL,
    error        text NOT NULL
);
CREATE INDEX invocations_by_script ON invocations (script, id DESC);

CREATE TABLE log_lines (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invocation uuid NOT NULL,
    script     text NOT NULL,
    at         timestamptz NOT NULL,
    level      text NOT NULL,
    message    text NOT NULL,
    fields     json
);
CREATE INDEX log_lines_by_invocation ON log_lines (invocation, id);
CREATE INDEX log_lines_by_script ON log_lines (script, id DESC);
