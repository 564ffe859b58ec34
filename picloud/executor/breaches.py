"""How a sandbox may fail the conversation."""


class BadFrame(Exception):
    """A sandbox broke the protocol."""


class BadAnswer(BadFrame):
    """A sandbox kept to the protocol, but what it answers is no HTTP response."""
