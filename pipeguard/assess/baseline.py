"""What was known before: a file of fingerprints, so that a check fails only on what is new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeguard.errors import InputError

VERSION = 1
MAX_FILE_BYTES = 16 * 2**20


def read(path: Path) -> frozenset[str]:
    """The fingerprints that a file holds: a baseline, or any report in JSON.

    Raises:
        InputError: it cannot be read, or is neither.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is too large for a baseline.")
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the baseline {path} cannot be read: {error.strerror}.\n"
            f"  Make one:  pipeguard assess --write-baseline {path}"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(f"the baseline {path} is no JSON.") from None
    found = told.get("findings") if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise InputError(
            f"the baseline {path} has no list of findings.\n"
            f"  Make one:  pipeguard assess --write-baseline {path}"
        )
    each = (one.get("fingerprint") if isinstance(one, Mapping) else None for one in found)
    return frozenset(one for one in each if isinstance(one, str))


def write(path: Path, known: Iterable[Mapping[str, str]]) -> None:
    """Write a baseline: of each finding its fingerprint, and for people check, file and server.

    Raises:
        InputError: it cannot be written.
    """
    told = json.dumps({"version": VERSION, "findings": list(known)}, indent=2)
    try:
        path.write_text(told + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"the baseline {path} cannot be written: {error.strerror}.") from None
