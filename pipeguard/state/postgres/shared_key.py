"""The key of fingerprints that all replicas use, sealed in the shared store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.errors import StateError
from pipeguard.state.shared import KEY_BYTES

if TYPE_CHECKING:
    from pipeguard.state.postgres.database import PostgresStore
    from pipeguard.state.shared import Keys

_NAME = "contents"  # of the key in its table, and for what it is sealed


def read_shared_key(store: PostgresStore, keys: Keys) -> bytes:
    """Read the key, made by the first replica; seal it again once another key seals.

    Raises:
        StateError: no key of the file opens it, or the database cannot be used.
    """
    about = _NAME.encode()
    made = keys.seal(os.urandom(KEY_BYTES), about)
    store.write("INSERT INTO keys VALUES (?, ?) ON CONFLICT DO NOTHING", _NAME, made)
    ((sealed,),) = store.read("SELECT sealed FROM keys WHERE name = ?", _NAME)
    key = keys.open(sealed, about)
    if key is None:
        raise StateError(f"no key of the secret file opens the store {store.path}.")
    if keys.keep_first().open(sealed, about) is None:
        again = keys.seal(key, about)
        store.write("UPDATE keys SET sealed = ? WHERE sealed = ?", again, sealed)
    return key
