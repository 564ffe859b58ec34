"""PiCloud on a Debian machine, for good: what `make install` and `picloud install` do, and what undoes it.

    machine        the one way to look at the machine and to change it; `--check` has one that changes nothing
    build          a release: a checkout made into a virtual environment of its own, whole or not at all
    releases       which release is in use, which one was before, and the switch between them
    plan           what an installation consists of, in order, and the run through it
    accounts       users, groups and folders
    configuration  the operator's file, the key of secrets, the command in /usr/local/bin
    postgres       role, database, and what lets PostgreSQL sleep
    caddy          the site, and who may talk to PiCloud's socket
    services       systemd's units: in place, enabled, and of the release in use
    tokens         the first administrator
    asked          what an installation asks the database as PiCloud's own user
    removal        all of it away again

Each step compares what is with what should be, and yields a `Change` for each difference. So a second run finds nothing
to do, and one that was cut short is finished by the next. `build` and `removal` want nothing but Python's own library.
"""
