"""The command line of an untrusted process: ``name=value`` words with whole numbers (`picloud.executor.launch`).

Owns: the names. Knows nothing of what they mean to whom.
"""


class Options:
    """One attribute a word; ValueError if one is missing, unknown or no number."""

    __slots__ = (
        "cpu_seconds_max",  # of any child, whatever its script's limit
        "gid",
        "listener",  # descriptor of the listening socket; -1 in a probe
        "memory_bytes_max",  # the largest Lua heap of any script
        "most",  # children alive at once, beside those whose scripts wait
        "parked",  # children whose scripts may wait beside them
        "parking",  # descriptor of the socket where their callers say so; -1 in a probe
        "reserve",  # descriptor of the listening socket of who invokes; -1 in a probe
        "reserved",  # children for those, beside all others
        "spare",  # children that wait
        "status",  # descriptor of the pipe to the supervisor
        "supervisor",  # its pid
        "uid",  # whom to become; -1 to stay
    )

    cpu_seconds_max: int
    gid: int
    listener: int
    memory_bytes_max: int
    most: int
    parked: int
    parking: int
    reserve: int
    reserved: int
    spare: int
    status: int
    supervisor: int
    uid: int

    def __init__(self, words: list[str]) -> None:
        given = dict(word.split("=", 1) for word in words)
        if sorted(given) != sorted(self.__slots__):
            raise ValueError(f"expected {', '.join(self.__slots__)}; got {', '.join(given)}")
        for name, value in given.items():
            setattr(self, name, int(value))
