"""PiCloud: upload a Lua script, get an HTTP endpoint."""

__version__ = "0.1.0"
