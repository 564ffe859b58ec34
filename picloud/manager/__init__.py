"""The manager: the control plane. Knows nothing of how a script runs, or of PostgreSQL.

scripts    what there is, and which version of it is active
uploads    how a version comes to be: `bundle`, `archive` and `json_files` read it, `files` has the rules,
           `manifest` what its picloud.toml declares
settings   of a script, with `cors`
routes     which paths lead to which script
tokens     who may do what; `uses`: when they were last used
resources  all of it over HTTP
"""
