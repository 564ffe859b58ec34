"""The untrusted side: everything that runs in the process of a script. Design record of the trust boundary.

    trusted                                   │ untrusted
                                              │
    gunicorn worker ── connect() ──┐          │
    dispatcher ────────────────────┤          │
                                   ▼          │
                    executor.sock (listening) ┼─ accept() ── sandbox: one connection, one run, exit
                                   │          │                 ▲ fork
    supervisor ── holds, execs ────┴──────────┼──────────── zygote ── fork ── init (PID 1 of the namespace)
       ▲ a report of the layers, log lines    │                │
       └──────────────────────────────────────┼────────────────┘

What crosses the line, and what each side believes:

- *exec*: argv with the folders of three packages and whole numbers, an empty environment, the listening socket, two
  pipes. No file, no secret, no memory of a trusted process. The supervisor believes no more than the form of a
  report's lines.
- *caller → sandbox*: one REQUEST (`sandbox.protocol`): the program, its environment, the request. Trusted.
- *caller ⇄ sandbox*: a CALL for what only the trusted side can do, and its REPLY, while the script waits.
- *sandbox → caller*: ACCEPTED, CALL, LOG, STREAM, CHUNK, RESULT, FAILURE. Every byte is hostile;
  `picloud.executor.frames` alone reads them.
- *sandbox → zygote*: one notification before the first byte of a request is read, so by code of ours; the kernel
  vouches for the sender's pid. Afterwards a sandbox has no way to reach it.
- *caller → zygote*: a connection to parking.sock, for as long as the caller's script waits for the world outside.
  Nothing is said over it, and no sandbox has a descriptor of it.
- *caller → reserve.sock*: as to executor.sock, by who holds a sandbox already and invokes another script. The zygote
  forks the one that accepts there when somebody has come; no other sandbox has a descriptor of it.
- *zygote → caller*: DIED, on a duplicate of the sandbox's own connection. A sandbox can forge it, about itself only.

What a taken-over sandbox holds: memory up to RLIMIT_AS, CPU up to CEILING, one socket to the caller of this one
request, a dozen system calls of which none makes a descriptor, and nothing that outlives it. It can lie to that caller
about its own answer, ask for the host calls of its own script, which the caller checks as if Lua had not, and stretch
its CPU from the script's limit to the operator's maximum, never its wall time.
It is a restricted process on a shared kernel, not a virtual machine.

Modules: `protocol` (the messages) · `zygote` (forks and buries; `pool` decides, `parking` counts who waits, `reserve`
hears of who invokes, `descriptors` has the numbers, `init` is PID 1) · `lockdown` (what is given up, in which order and
why; `probe` proves it) · `child` (one run; `limits`, `clock`, `seccomp`) · `lua`, `host`, `prelude/` (what a script
sees) · `options` (the command line). Standard library, lupa and python-prctl only, and little of it: each page that a
module touches is copied in every fork.
"""
