"""Which key belongs to which person, in memory: before authentication no database is asked (`tunnels.directory`)."""

from __future__ import annotations

from channels.db import database_sync_to_async

from terminals.keys import KnownKey, keys_of_people, names_of_people


class Keyring:
    """The keys of all active people by fingerprint; `reload` replaces them at once."""

    def __init__(self) -> None:
        self._keys: dict[str, KnownKey] = {}
        self._names: set[str] = set()

    def by_fingerprint(self, fingerprint: str) -> KnownKey | None:
        return self._keys.get(fingerprint)

    def still_has(self, key: KnownKey) -> bool:
        """Whether the key is still that person's, and the person active."""
        return self._keys.get(key.fingerprint) == key

    def is_person(self, name: str) -> bool:
        """Whether somebody here has that name, with or without a key."""
        return name in self._names

    async def reload(self) -> None:
        self._keys = {key.fingerprint: key for key in await database_sync_to_async(keys_of_people)()}
        self._names = await database_sync_to_async(names_of_people)()
