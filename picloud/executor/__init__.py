"""The executor: a pool of sandbox processes behind one socket, and the only door to it.

`client` is the caller's side (frames out, `model.Run` in), on one `line`; `frames` reads hostile bytes; `supervisor` is
the service, on the socket of `listener`, which execs the untrusted side by `launch`; `protections` says what holds it.
Knows nothing of HTTP, PostgreSQL or secrets. Nothing but this package imports `sandbox.protocol`.
"""
