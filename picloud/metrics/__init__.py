"""What is counted of a node, over all its processes, and how Prometheus reads it.

Owns: the table of series, and the files in which each process counts. Knows nothing of who counts, and asks nobody:
what is known only at the moment (jobs, sandboxes) is handed in by `picloud.api.metrics`.

    series      the table: names, types, labels, meanings
    cells       one file of numbers in shared memory, as prometheus_client's multiprocess mode has them
    names       which scripts have series of their own, the same in every process of the node
    folder      the files of all processes: of the living, and what the dead have left, folded into one
    measuring   what one process counts
    exposition  all of it as text; the only import of prometheus_client, which the dispatcher does without

prometheus_client would choose where it counts when it is imported, by the environment. So it counts nothing here: we
write its files, it adds them up and makes the text. A count is a few stores to memory under a lock of the process: no
system call, no thread, no timer. It is in the file at once, so that a process that is killed has lost none.
"""
