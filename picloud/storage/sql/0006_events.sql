-- What has happened, as CloudEvents has it, and which scripts hear of it.

CREATE TABLE events (
    source          text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    number          bigint GENERATED ALWAYS AS IDENTITY,
    type            text COLLATE "C" NOT NULL,
    subject         text,
    time            text,                       -- RFC 3339, as it was written
    datacontenttype text,
    dataschema      text,
    data            bytea,
    is_text         boolean NOT NULL,           -- whether the data is text: JSON, if its type says so
    extensions      text NOT NULL,              -- JSON: {NAME: VALUE, …}
    depth           smallint NOT NULL,          -- how many events led to each other, this one included
    published_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, id)
);
CREATE UNIQUE INDEX events_by_number ON events (number);
CREATE INDEX events_by_type ON events (type, number);

CREATE TABLE subscriptions (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    script_id bigint NOT NULL REFERENCES scripts ON DELETE CASCADE,
    type      text COLLATE "C" NOT NULL,        -- patterns, see picloud/subscriptions.py
    source    text COLLATE "C" NOT NULL,        -- '': any
    subject   text COLLATE "C" NOT NULL,        -- '': any, or none
    declared  boolean NOT NULL DEFAULT false,   -- by the script's own picloud.toml, which also removes it
    UNIQUE (script_id, type, source, subject)
);
CREATE INDEX subscriptions_by_type ON subscriptions (type);
