"""The manager: the control plane of scripts and versions. Knows nothing of how a script runs."""
