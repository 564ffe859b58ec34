"""What an invocation has seen of keys: it stays as it was seen until the invocation itself changes it.

Owns: how much of it is kept. Of every key the version, of some the value: others are read again, and must be the same.
"""

from picloud.errors import InvalidRequest
from picloud.model import Entry

_KEYS_BYTES_MAX = 4 * 1024 * 1024
_KEY_BYTES = 128  # what each costs beside its own length
_VALUES_BYTES_MAX = 1024 * 1024


class Reads:
    """Versions and values by (space, key)."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str], int] = {}  # 0: there was none
        self._entries: dict[tuple[str, str], Entry] = {}
        self._keys_bytes = 0
        self._values_bytes = 0

    def version(self, space: str, key: str) -> int | None:
        """Which was there, 0 if none was; None: that was not asked yet."""
        return self._versions.get((space, key))

    def entry(self, space: str, key: str) -> Entry | None:
        """What was there, if it is kept."""
        return self._entries.get((space, key))

    def present(self, space: str) -> list[str]:
        """The keys that were there."""
        return [key for (where, key), version in self._versions.items() if where == space and version]

    def note(self, space: str, key: str, entry: Entry | None) -> None:
        """This is what is there. InvalidRequest: too many keys were seen."""
        place = (space, key)
        if place not in self._versions:
            self._keys_bytes += len(key) + _KEY_BYTES
            if self._keys_bytes > _KEYS_BYTES_MAX:
                raise InvalidRequest(f"the keys that an invocation uses have at most {_KEYS_BYTES_MAX} bytes in all")
        self._versions[place] = entry.version if entry else 0
        if before := self._entries.pop(place, None):
            self._values_bytes -= before.value.size
        if entry and self._values_bytes + entry.value.size <= _VALUES_BYTES_MAX:
            self._values_bytes += entry.value.size
            self._entries[place] = entry

    def copy(self) -> "Reads":
        """As it is now, to come back to."""
        twin = Reads()
        twin._versions, twin._entries = dict(self._versions), dict(self._entries)
        twin._keys_bytes, twin._values_bytes = self._keys_bytes, self._values_bytes
        return twin
