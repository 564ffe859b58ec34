"""The composition root: which implementation stands behind each seam, and in which order all is opened and closed.

Owns: construction. Every other module takes its collaborators; these choose them.

    engine    what runs scripts: the same in every process that does
    platform  HTTP on top of it: a worker of the server
    jobs      jobs on top of it: the dispatcher, which knows nothing of HTTP
"""
