"""Connections of a sandbox as rows of the audit, and the rule that would allow a refused one.

What a sandbox repeats is written once a minute with a count, so that it cannot fill the audit.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.core.checks.addresses import Reach, reach_of
from pipeguard.core.finding import Action, Finding, Severity
from pipeguard.isolation.egress.addresses import is_own, is_private
from pipeguard.isolation.egress.hosts import (
    DEFAULT_PORTS,
    LOOPBACK,
    PRIVATE,
    HostAndPort,
    HostError,
    is_localhost,
    parse_authority,
    parse_host,
    show_host,
)
from pipeguard.isolation.egress.judge import EgressOutcome, EgressReason, EgressRecord, EgressWay
from pipeguard.state.connections import EndedConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLACE = "connection"
INTERVAL_SECONDS = 60.0
MAX_KEYS = 1024  # different refusals in an interval; those beyond share one row
_WORDS = {
    EgressReason.HOST: "no rule names this host",
    EgressReason.PORT: "no rule names this port of the host",
    EgressReason.ADDRESS: "its addresses are private, local or of this machine",
    EgressReason.MALFORMED: "the request cannot be read, or could be read in two ways",
    EgressReason.UNSUPPORTED: "the request is for what is not passed on",
    EgressReason.SLOW: "the request did not come in time",
    EgressReason.TOO_MANY: "too many connections are open, or names in use",
    EgressReason.WITHDRAWN: "the rules changed while it was open",
}
# What a program does by mistake, or asks for as well.
_LOW = {EgressReason.SLOW, EgressReason.TOO_MANY, EgressReason.WITHDRAWN}
_ADDRESS = f"egress.{EgressReason.ADDRESS.value}"
_ALLOWABLE = {
    f"egress.{reason.value}"
    for reason in (EgressReason.HOST, EgressReason.PORT, EgressReason.ADDRESS)
}


class _Key(NamedTuple):
    way: EgressWay | None
    reason: EgressReason
    host: str
    port: int


class _Count:
    """Refusals of one kind since the row that told of the first."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.last: EgressRecord | None = None
        self.more = 0


class ConnectionRecorder:
    """Takes the reports of one `Egress`, in its thread; `close` after it.

    Args:
        record: writes a connection to the audit, and returns its event, if it has one:
            `Run.connect`.
        now: seconds on a clock that only goes forward.
        refused: called for each refused connection that a person could allow, also for one that
            is only counted: with the host, its port unless that is one of the web's, and the event
            that tells of it.
    """

    def __init__(
        self,
        record: Callable[[EndedConnection], str | None],
        now: Callable[[], float] = time.monotonic,
        refused: Callable[[str, str], None] | None = None,
    ) -> None:
        self._record = record
        self._now = now
        self._refused = refused
        self._events: dict[_Key, str] = {}  # that told of a refusal last
        self._counts: dict[_Key, _Count] = {}  # in order of time
        self._advice_given: set[str] = set()

    def __call__(self, record: EgressRecord) -> None:
        """Write a connection, or count it."""
        if not record.is_repeated:
            self._take(record)
        if record.reason is not None and self._refused is not None:
            event = self._events.get(_Key(record.way, record.reason, record.host, record.port))
            if event and entry_of(_fields(record)) is not None:
                self._refused(shown_target(record), event)

    def _take(self, record: EgressRecord) -> None:
        now = self._now()
        self._write_old(now)
        reason = record.reason
        if reason is None:
            self._write(record, 0)
            return
        key = _Key(record.way, reason, record.host, record.port)
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = _Key(None, reason, "", 0)
        count = self._counts.get(key)
        if count is None:
            self._counts[key] = _Count(now)
            event = self._write(record, 0)
            if event:
                self._events.pop(key, None)
                self._events[key] = event
                if len(self._events) > MAX_KEYS:
                    del self._events[next(iter(self._events))]
        else:
            count.last = record
            count.more += 1

    def close(self) -> None:
        """Write all counts."""
        self._write_old(None)

    def _write_old(self, now: float | None) -> None:
        """Write the counts whose interval is over; all of them at the end."""
        while self._counts:
            key, count = next(iter(self._counts.items()))
            if now is not None and now - count.since < INTERVAL_SECONDS:
                return
            del self._counts[key]
            if count.last is not None:
                self._write(count.last, count.more)

    def _write(self, record: EgressRecord, more: int) -> str | None:
        host = f"[{record.host}]" if ":" in record.host else record.host
        port = f":{record.port}" if record.port else ""
        via = f"via {record.proxy}" if record.proxy else ""
        target = " ".join(filter(None, (record.way.value, f"{host}{port}", via)))
        finding = _finding(record, f"{host}{port}", more)
        if finding is not None and record.advice and record.advice not in self._advice_given:
            self._advice_given.add(record.advice)  # the first is a line of the log
            finding = finding._replace(severity=Severity.MEDIUM, action=Action.WARN)
        sizes = record.bytes_sent, record.bytes_received
        return self._record(EndedConnection(target, finding, *sizes, record.seconds))


def shown_target(record: EgressRecord) -> str:
    """The host of a connection, with its port unless that is one of the web's."""
    host = f"[{record.host}]" if ":" in record.host else record.host
    return host if record.port in {0, *DEFAULT_PORTS} else f"{host}:{record.port}"


def _fields(record: EgressRecord) -> dict[str, str]:
    """The finding of a refused connection as the audit will have it, as far as `entry_of` looks."""
    host = f"[{record.host}]" if ":" in record.host else record.host
    finding = _finding(record, f"{host}:{record.port}" if record.port else host, 0)
    if finding is None:
        return {}
    return {"rule": finding.rule, "excerpt": finding.excerpt, "host": finding.host}


def _finding(record: EgressRecord, target: str, more: int) -> Finding | None:
    """What is to be said of a connection; None for one that was made."""
    if record.outcome is EgressOutcome.ALLOWED:
        return None
    reason = record.reason
    if reason is None:
        advice = f"; {record.advice}" if record.advice else ""
        note = f"allowed, and could not be reached: {record.error}{advice}"
        failed = Finding("egress.failed", PLACE, severity=Severity.LOW, action=Action.ALLOW)
        return failed._replace(excerpt=target, note=note, host=record.host)
    if reason is EgressReason.ADDRESS and record.address:
        target = str(HostAndPort(ip_address(record.address), record.port))
    note = f"{more} more within {INTERVAL_SECONDS:g} s: " if more else ""
    severity = Severity.LOW if reason in _LOW else Severity.MEDIUM
    refused = Finding(f"egress.{reason.value}", PLACE, severity=severity)
    return refused._replace(excerpt=target, note=f"{note}{_WORDS[reason]}", host=record.host)


def _private_entry(name: str, port: int) -> str | None:
    try:
        host = parse_host(name)
    except HostError:
        return None
    shown = str(host) if port in DEFAULT_PORTS else show_host(host, port)
    return f"{shown}{PRIVATE}" if isinstance(host, str) else shown


def entry_of(finding: Mapping[str, str]) -> str | None:
    """The entry of a policy's hosts that allows what an event refused; None where none does.

    Args:
        finding: the event's, as the audit has it (`state.exceptions.AuditedEvent.findings`).

    Returns:
        As `api.example.com` or `api.example.com:8443`; for a name that leads into a private
        network, as `git.corp.example=private`, and for one that leads to this machine, the address,
        as `127.0.0.1:5432`. `HostRules.parse` reads it. Never an address that gives out the
        machine's credentials: whoever wants that writes it.
    """
    if finding.get("rule") not in _ALLOWABLE:
        return None
    try:
        target = parse_authority(finding.get("excerpt", ""), default_port=443)
    except HostError:
        return None
    if isinstance(target.host, str):
        return _named_entry(target.host, target.port, finding["rule"])
    if finding["rule"] == _ADDRESS and is_private(target.host) and not is_own(target.host):
        return _private_entry(finding.get("host", ""), target.port)
    is_metadata = reach_of(str(target.host)) is Reach.METADATA
    return None if is_metadata else str(target)


def _named_entry(name: str, port: int, rule: str) -> str | None:
    if is_localhost(name):
        return str(HostAndPort(LOOPBACK[0], port))
    if rule == _ADDRESS:
        return None  # it is given, and no address of it is known here
    return name if port in DEFAULT_PORTS else show_host(name, port)
