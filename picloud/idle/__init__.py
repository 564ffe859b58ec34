"""Whether processes rest: what each was switched to, computed, wrote and holds between two looks.

Owns: how that is read of /proc, without waking whom it is read of. Knows nothing of the database: what SQL was sent is
counted by `storage.activity`.
The idea of what to count is powertop's: a process that is never switched to costs nothing, whatever it may be.
"""
