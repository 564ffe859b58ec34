"""The orchestrator: takes requests in, runs scripts for them, keeps the records.

Knows nothing of how a script got here.
"""
