"""The composition root: which implementation stands behind each seam, and in which order all is opened and closed.

Owns: construction. Every other module takes its collaborators; these choose them.

    ground        the database and the node's shared memory: beneath every process
    engine        what runs scripts: the same in every process that does
    edge          whose tokens a service knows, and what must answer for it to be ready
    manager       HTTP of the control plane, on the ground: it builds nothing that runs scripts
    orchestrator  HTTP on top of the engine: the scripts' own, and the API of what ran and is to run
    platform      both in one server
    jobs          jobs on top of the engine: the dispatcher, which knows nothing of HTTP
"""
