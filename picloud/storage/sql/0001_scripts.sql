-- Scripts, their versions, and who may change them.

-- Outlives the script: a version number is never given twice, not even after a delete.
CREATE TABLE script_names (
    name         text PRIMARY KEY,
    last_version integer NOT NULL
);

CREATE TABLE scripts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL UNIQUE REFERENCES script_names,
    active_version integer NOT NULL,
    settings       jsonb NOT NULL DEFAULT '{}',
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE versions (
    script_id  bigint NOT NULL REFERENCES scripts ON DELETE CASCADE,
    version    integer NOT NULL,
    sha256     text NOT NULL,
    bytes      bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    PRIMARY KEY (script_id, version)
);

CREATE TABLE version_files (
    script_id bigint NOT NULL,
    version   integer NOT NULL,
    path      text NOT NULL,
    content   bytea NOT NULL,
    PRIMARY KEY (script_id, version, path),
    FOREIGN KEY (script_id, version) REFERENCES versions ON DELETE CASCADE
);

ALTER TABLE scripts
    ADD FOREIGN KEY (id, active_version) REFERENCES versions (script_id, version) DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE,
    secret_hash  bytea NOT NULL UNIQUE,
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);
