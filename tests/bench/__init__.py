"""`make bench`: PiCloud side by side with plain CGI, with CGI in a fresh bubblewrap, and with no script at all.

`python -m tests.bench [--json PATH]`, `QUICK=1` for a run of about a minute. Standard library, wrk and the contenders'
programs. Everything listens on the loopback address and lives in a temporary folder; nothing is left behind.

    contenders  how each is started, and what it runs
    load        one measurement with wrk
    report      medians, spread and ratios: pure
    bare        Falcon on our gunicorn, without scripts
"""
