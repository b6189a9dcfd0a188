"""The posture of this machine for whoever reads its audit: a row a day, and one when it changes.

It says which version of PipeGuard and of the organisation's policy is here, and how many servers of
clients are guarded. What a person, or an agent, took back since the last row is a warning.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from pipeguard.clients.entries import GuardState, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions, judge
from pipeguard.config.enrolment import find_machine_policy
from pipeguard.config.following import describe_following
from pipeguard.gateway.discovery import describe_mistakes, usual_file
from pipeguard.state.audit import Audit, AuditEntry, AuditFilter, parse_findings, rows
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import from_utc_text, now_text
from pipeguard.version import VERSION

if TYPE_CHECKING:
    from pipeguard.state.store import Store

KIND = "posture"  # of its rows
RULE = "audit.posture"
DAY_SECONDS = 86_400
LOOK_SECONDS = 30.0  # between two looks of an export that follows
_COLUMNS = {
    GuardState.GUARDED: "guarded",
    GuardState.OPEN: "open",
    GuardState.STALE: "open",
    GuardState.CANNOT: "cannot",
}


def count_servers() -> tuple[list[dict[str, Any]], list[str]]:
    """Count the servers of each client that has some, and list the files that cannot be read.

    Returns:
        `client`, `guarded`, `open` and `cannot` of each client, and the files with the reasons.
    """
    counts: dict[str, dict[str, Any]] = {}
    unread: list[str] = []
    options = GuardOptions()
    for file in find(Machine.in_current_folder()):
        config = read_config(file)
        if config.is_unread or (config.problem and not config.servers):
            unread.append(f"{config.path}: {config.problem}")
        for server in config.servers:
            row = {"client": server.client, "guarded": 0, "open": 0, "cannot": 0}
            count = counts.setdefault(server.client, row)
            if column := _COLUMNS.get(judge(server, options).state):
                count[column] += 1
    if mistakes := describe_mistakes(usual_file()):
        unread.append(" ".join(mistakes.split()))
    return [counts[client] for client in sorted(counts)], unread


class PostureWatch:
    """Looks at the posture again and again, for an export that goes on."""

    def __init__(self) -> None:
        self._next = 0.0  # on the clock that only goes forward

    def look(self) -> None:
        """Record the posture, unless the last look was a moment ago.

        Raises:
            StateError: the store cannot be read or written.
        """
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOOK_SECONDS
            with open_store() as store:
                record_posture(store)


def record_posture(store: Store) -> bool:
    """Append a row about the posture, if it changed or the last one is a day old.

    Returns:
        True if a row was appended.

    Raises:
        StateError: the store cannot be read or written.
    """
    posture = _find_posture()
    warnings = [posture["problem"]] if posture["problem"] else []
    for row in rows(store, AuditFilter(rule=RULE, limit=1)):
        (last,) = parse_findings(row.entry)
        age_seconds = time.time() - from_utc_text(row.entry.time)
        is_same = all(last.get(key) == value for key, value in posture.items())
        if is_same and 0 <= age_seconds < DAY_SECONDS:
            return False
        warnings += _find_retreats(last, posture, age_seconds)
    moment = now_text()
    finding = {"rule": RULE, "note": "; ".join(warnings) or "as it should be", **posture}
    entry = AuditEntry(
        moment,
        kind=KIND,
        action="warn" if warnings else "allow",
        findings=json.dumps([finding], separators=(",", ":")),
    )
    Audit(store, f"POSTURE-{secrets.token_hex(8).upper()}", "", moment).append_many([entry])
    return True


def _find_posture() -> dict[str, str]:
    """The posture now, as texts of a finding."""
    following = describe_following()
    clients, _ = count_servers()
    guarded = sum(client["guarded"] for client in clients)
    found = guarded + sum(client["open"] + client["cannot"] for client in clients)
    return {
        "pipeguard": VERSION,
        "bundle": str(following.version) if following else "",
        "source": following.url if following else "",
        "key": following.kid if following else "",
        "machine_policy": find_machine_policy() or "",
        "problem": following.problem if following else "",
        "guarded": str(guarded),
        "found": str(found),
    }


def _find_retreats(last: dict[str, str], now: dict[str, str], age_seconds: float) -> list[str]:
    """Describe what became looser since the last row."""
    retreats = []
    if age_seconds < 0:
        retreats.append("the clock was set back: the last row is of a later time")
    if last.get("source") and last["source"] != now["source"]:
        retreats.append(f"it no longer follows {last['source']}")
    elif int(last.get("bundle") or 0) > int(now["bundle"] or 0):
        retreats.append(f"the bundle's version was {last['bundle']} before")
    if last.get("machine_policy") and not now["machine_policy"]:
        retreats.append(f"{last['machine_policy']} is gone")
    if int(last.get("guarded") or 0) > int(now["guarded"]):
        retreats.append(f"{last['guarded']} servers were guarded before")
    return retreats
