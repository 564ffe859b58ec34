"""The control plane as HTTP: one module a noun. Each docstring is the reference of its endpoint."""
