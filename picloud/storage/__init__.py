"""PostgreSQL, the single source of truth. The only home of psycopg2; this page is the design record of transactions.

Who opens connections
    `connection.connect` is the only call of psycopg2.connect, and sets every session up the same: autocommit, so that
    each BEGIN and COMMIT is a statement of ours; UTC; synchronous_commit on; kernel keepalives on both ends and
    client_connection_check_interval, so that the locks of a lost client are free within 25 s, of a killed one at once.
    Five things call it, each after fork: `pool` (4 for the API and look-ups, 2 for records and 1 to ring, of each
    worker and of the dispatcher; of each worker 4 for invocations; of the dispatcher 1 for each job at once, and 2
    beside them), `unit_of_work` (1 for a moment, to ask what became of a COMMIT), `listener` (1 of each worker, for
    what changes; 2 of the dispatcher), `logs.listen` (1 of each worker, while somebody follows a log there) and
    `migrate` (1, while it runs). `pool.vacuum` borrows one more, rarely.
    PostgreSQL has max_connections=100, of which 3 are reserved: 2 workers hold 24, and 26 while logs are followed, the
    dispatcher 19. Of a server that is split, a worker of the orchestrator holds as many, one of the manager 6: it has
    no records and no invocations.

What a transaction promises
    1. `with pool.transaction() as cursor` commits when the block ends and rolls back when it raises.
    2. A COMMIT counts only if the transaction was INTRANS before and the server's tag says COMMIT: psycopg2 reports the
       COMMIT of an aborted transaction, which is a rollback, as success. Otherwise TransactionAborted.
    3. A connection that is lost during COMMIT leaves OutcomeUnknown, which is not the same as "no".
    4. The block starts after the server has answered BEGIN. A connection that died while idle is found there, before
       anything ran, and replaced unseen; one that dies later is DatabaseUnavailable, and nothing is stored.
    5. A statement that may fail for its caller's reasons runs in a savepoint, or ends the transaction.
    6. Isolation is READ COMMITTED. Deadlocks and conflicts are TransactionConflict: to run again is the caller's
       decision.

Whose fault
    DatabaseUnavailable: it cannot be reached or does not answer. Below it PoolTimeout (more `size` or less load),
    PoolClosed (we are stopping) and OutcomeUnknown. IntegrityError and the like are the noun's to
    translate. No message has the DSN, a password, or a name of a host, user or database: /readyz shows it to anybody.

At rest
    No thread but the listener's, which blocks in poll without a timeout; no timer; no SQL.

Modules: connection, pool, listener, migrate (with sql/); unit_of_work, with kv, idempotency, jobs and events, what an
invocation stores; values, the same by hand; claims, who runs a job, with job_table, dead_letters and job_retention
for who looks after them; scripts (with uploads, the steps of one), routes, tokens, secrets, subscriptions,
invocations, requests and logs, one noun each; rows, what is there or not found; changes, the words of what is
announced; embedded, with cluster and launcher, is the PostgreSQL of `picloud up`.
"""
