"""The posture of this machine for whoever reads its audit: a row a day, and one when it changes.

It says which version of PipeGuard and of the organisation's policy is here, and how many servers of
clients are guarded. What a person, or an agent, took back since the last row is a warning.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from pipeguard.assess.checks.guarded import records_elsewhere
from pipeguard.clients.entries import GuardState, read_config
from pipeguard.clients.machine import Machine, find
from pipeguard.clients.rewrite import GuardOptions, judge
from pipeguard.config.enrolment import find_machine_policy
from pipeguard.config.following import Following, describe_following
from pipeguard.errors import StateError
from pipeguard.gateway.discovery import describe_mistakes
from pipeguard.state.audit import Audit, AuditEntry, AuditFilter, parse_findings, rows
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import from_utc_text, now_text
from pipeguard.unicode.display import show
from pipeguard.version import VERSION

RULE = "audit.posture"
DAY_SECONDS = 86_400
SHOWN_CHARS = 500  # of what cannot be read
LOOK_SECONDS = 30.0  # between two looks of an export that follows
_COLUMNS = {
    GuardState.GUARDED: "guarded",
    GuardState.OPEN: "open",
    GuardState.STALE: "open",
    GuardState.CANNOT: "cannot",
}


def count_servers() -> tuple[list[dict[str, Any]], list[str]]:
    """Count the servers of each client that has some, and list what cannot be read.

    Returns:
        `client`, `guarded`, `open` and `cannot` of each client; and the files with the reasons, and
        guards whose record is not here.
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
            if records_elsewhere(server):
                unread.append(f"{config.path}: the record of {server.name}, elsewhere if anywhere")
            if column := _COLUMNS.get(judge(server, options).state):
                counts.setdefault(server.client, row)[column] += 1
    if mistakes := describe_mistakes():
        unread.append(mistakes)
    return [counts[client] for client in sorted(counts)], unread


class PostureWatch:
    """Looks at the posture again and again, for an export that goes on."""

    _next = 0.0  # on the clock that only goes forward

    def look(self) -> None:
        """Append a row about the posture, if it changed or the last one is a day old.

        Does nothing if the last look was a moment ago.

        Raises:
            StateError: the store cannot be read or written.
        """
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        with open_store() as store:
            _record_posture(store)


def _record_posture(store: Store) -> None:
    posture = _find_posture()
    warnings = [posture[name] for name in ("problem", "unread") if posture[name]]
    usual = "the first of this record"
    for row in rows(store, AuditFilter(rule=RULE, limit=1)):
        usual = "nothing went back"
        try:
            age_seconds = time.time() - from_utc_text(row.entry.time)
            last = parse_findings(row.entry)[0]
            if posture.items() <= last.items() and 0 <= age_seconds < DAY_SECONDS:
                return
            warnings += _find_retreats(last, posture)
            if age_seconds < 0:
                warnings.append("the clock was set back: the last row is of a later time")
        except (StateError, ValueError):
            warnings.append("the last row was changed")
    moment = now_text()
    finding = {"rule": RULE, "note": "; ".join(warnings) or usual, **posture}
    entry = AuditEntry(
        moment,
        kind="posture",
        action="warn" if warnings else "allow",
        findings=json.dumps([finding], separators=(",", ":")),
    )
    Audit(store, f"POSTURE-{secrets.token_hex(8).upper()}", "", moment).append_many([entry])


def _find_posture() -> dict[str, str]:
    """The posture now, as texts of a finding."""
    following = describe_following() or Following("", is_managed=False)
    clients, unread = count_servers()
    counts = [sum(client[column] for client in clients) for column in ("guarded", "open", "cannot")]
    return {
        "pipeguard": VERSION,
        "bundle": str(following.version),
        "source": following.url,
        "key": following.kid,
        "machine_policy": find_machine_policy() or "",
        "problem": following.problem,
        "unread": show("; ".join(unread), SHOWN_CHARS),
        "guarded": str(counts[0]),
        "found": str(sum(counts)),
    }


def _find_retreats(last: dict[str, str], now: dict[str, str]) -> list[str]:
    """Describe what became looser since the last row."""
    keys = [key for key in ("source", "machine_policy") if last.get(key, "") not in ("", now[key])]
    keys += [key for key in ("bundle", "guarded") if int(last.get(key, 0)) > int(now[key])]
    return [f"{key} was {last[key]} before" for key in keys]
