"""Connections of a sandbox as rows of the audit, and the rule that would allow a refused one.

What a sandbox repeats is written once a minute with a count, so that it cannot fill the audit.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from pipeguard.firewall.finding import Action, Finding, Severity
from pipeguard.isolation.egress.addresses import is_metadata, is_own, is_private
from pipeguard.isolation.egress.hosts import (
    DEFAULT_PORTS,
    LOCALHOST,
    LOOPBACK,
    PRIVATE,
    HostAndPort,
    HostError,
    is_localhost,
    is_own_port,
    parse_authority,
    parse_host,
    show_host,
)
from pipeguard.isolation.egress.judge import EgressOutcome, EgressReason, EgressRecord, EgressWay
from pipeguard.state.verdict_writer import EndedConnection

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
    EgressReason.UNSUPPORTED: "the request is for something that is not forwarded",
    EgressReason.SLOW: "the request did not come in time",
    EgressReason.TOO_MANY: "too many connections are open, or names in use",
}
# What a program does by mistake, or asks for as well.
_LOW = {EgressReason.SLOW, EgressReason.TOO_MANY}
_OWN_PORT = "isolation.port"  # as where the server's own words name it: `--loopback` gives it
_OWN_PORT_WORDS = "this port of this machine is not given to the server"
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


class RefusedTarget(NamedTuple):
    """A target that a sandbox was refused.

    Attributes:
        rule: of the event.
        subject: the host, with its port unless that is one of the web's; of this machine the port.
        event: tells of it.
        at: when it was refused, on `time.monotonic`'s clock.
    """

    rule: str
    subject: str
    event: str
    at: float


class _Count:
    """Refusals of one kind since the row that told of the first."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.event = ""  # of that row
        self.last: EgressRecord | None = None
        self.more = 0


class ConnectionRecorder:
    """Takes the reports of one `Egress`, in its thread; `close` after it.

    Args:
        record: writes a connection to the audit, and returns its event, if it has one:
            `Run.connect`.
        now: seconds on a clock that only goes forward.
        refused: called for each connection that was refused for where it was to lead, also for
            one that is only counted.
    """

    def __init__(
        self,
        record: Callable[[EndedConnection], str | None],
        now: Callable[[], float] = time.monotonic,
        refused: Callable[[RefusedTarget], None] | None = None,
    ) -> None:
        self._record = record
        self._now = now
        self._refused = refused
        self._events: dict[_Key, str] = {}  # that told of a refusal last
        self._counts: dict[_Key, _Count] = {}  # in order of time
        self._failed: set[tuple[str, str]] = set()  # targets, with the advice that was given

    def __call__(self, record: EgressRecord) -> None:
        """Write a connection, or count it."""
        if not record.is_repeated:
            self._take(record)
        if record.reason is not None and self._refused is not None:
            event = self._events.get(_refusal_key(record, record.reason))
            if event and (target := self._target(record, event)) is not None:
                self._refused(target)

    def _take(self, record: EgressRecord) -> None:
        now = self._now()
        self._write_old(now)
        reason = record.reason
        if reason is None:
            self._write(record)
            return
        key = _refusal_key(record, reason)
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = _Key(None, reason, "", 0)
        count = self._counts.get(key)
        if count is None:
            self._counts[key] = count = _Count(now)
            event = self._write(record)
            if event:
                count.event = event
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
                self._write(count.last, self._more(count, count.last))

    def _more(self, count: _Count, last: EgressRecord) -> str:
        """The text of a row that counts refusals which were reported already."""
        whose = f" after event {count.event}" if count.event else ""
        at = "" if last.at is None else _shown_time(time.time() - (self._now() - last.at))
        return f"{count.more} more within {INTERVAL_SECONDS:g} s{whose}{at}"

    def _target(self, record: EgressRecord, event: str) -> RefusedTarget | None:
        """The message that is sent at once; None for what could lead nowhere."""
        finding = _finding(record, shown_target(record, always=True))
        if finding is None:
            return None
        at = self._now() if record.at is None else record.at
        if finding.rule == _OWN_PORT:
            return RefusedTarget(_OWN_PORT, finding.excerpt, event, at)
        if finding.rule not in _ALLOWABLE:
            return None
        fields = {"rule": finding.rule, "excerpt": finding.excerpt, "host": finding.host}
        if allowing_entry(fields) is None and not _is_host(record.host):
            return None
        return RefusedTarget(finding.rule, shown_target(record), event, at)

    def _write(self, record: EgressRecord, more: str = "") -> str | None:
        host = shown_target(record, always=True)
        via = f"via {record.proxy}" if record.proxy else ""
        target = " ".join(filter(None, (record.way.value, host, via)))
        finding = _finding(record, host, more)
        if finding is not None and record.advice and self._is_first(host, record.advice):
            finding = finding._replace(severity=Severity.MEDIUM, action=Action.WARN)
        sizes = record.bytes_sent, record.bytes_received
        return self._record(EndedConnection(target, finding, *sizes, record.seconds))

    def _is_first(self, host: str, advice: str) -> bool:
        """True for the first such failure of a host, which is a line of the log."""
        key = host, advice
        if key in self._failed or len(self._failed) >= MAX_KEYS:
            return False
        self._failed.add(key)
        return True


def _refusal_key(record: EgressRecord, reason: EgressReason) -> _Key:
    """The key that refusals are counted by; a port of this machine is one, by whatever name."""
    if _is_own_port(record):
        return _Key(None, EgressReason.HOST, LOCALHOST, record.port)
    return _Key(record.way, reason, record.host, record.port)


def _is_own_port(record: EgressRecord) -> bool:
    is_unnamed = record.reason in {EgressReason.HOST, EgressReason.PORT}
    return is_unnamed and bool(record.port) and is_own_port(record.host)


def _is_host(text: str) -> bool:
    try:
        parse_host(text)
    except HostError:
        return False
    return True


def _shown_time(seconds: float) -> str:
    return time.strftime(", the last at %H:%M:%S UTC", time.gmtime(seconds))


def shown_target(record: EgressRecord, *, always: bool = False) -> str:
    """The host of a connection, with its port unless that is one of the web's."""
    host = f"[{record.host}]" if ":" in record.host else record.host
    is_shown = record.port and (always or record.port not in DEFAULT_PORTS)
    return f"{host}:{record.port}" if is_shown else host


def _finding(record: EgressRecord, target: str, more: str = "") -> Finding | None:
    """The message about a connection; None for one that was made.

    Args:
        record: the connection.
        target: its host and port.
        more: how many like it a row counts that were told by another event, or empty.
    """
    if record.outcome is EgressOutcome.ALLOWED:
        return None
    reason = record.reason
    if reason is None:
        advice = f"; {record.advice}" if record.advice else ""
        note = f"allowed, but could not be reached: {record.error}{advice}"
        failed = Finding("egress.failed", PLACE, severity=Severity.LOW, action=Action.ALLOW)
        return failed._replace(excerpt=target, note=note, host=record.host)
    if reason is EgressReason.ADDRESS and record.address:
        target = str(HostAndPort(ip_address(record.address), record.port))
    is_own = _is_own_port(record)
    rule = _OWN_PORT if is_own else f"egress.{reason.value}"
    words = _OWN_PORT_WORDS if is_own else _WORDS[reason]
    # A count is of what was told: it is no line of the log, where it would look like a new event.
    severity = Severity.LOW if more or reason in _LOW else Severity.MEDIUM
    return Finding(
        rule,
        PLACE,
        severity=severity,
        excerpt=str(record.port) if is_own else target,
        note=f"{more}: {words}" if more else words,
        host=record.host,
    )


def _private_entry(name: str, port: int) -> str | None:
    try:
        host = parse_host(name)
    except HostError:
        return None
    shown = str(host) if port in DEFAULT_PORTS else show_host(host, port)
    return f"{shown}{PRIVATE}" if isinstance(host, str) else shown


def allowing_entry(finding: Mapping[str, str]) -> str | None:
    """The entry of a policy's hosts that allows what an event refused; None where none does.

    Args:
        finding: the event's, as the audit has it (`state.exceptions.AuditedEvent.findings`).

    Returns:
        As `api.example.com` or `api.example.com:8443`; for a name that leads into a private
        network, as `git.corp.example=private`, and for one that leads to this machine, the address,
        as `127.0.0.1:5432`. `HostRules.parse` reads it. Never a host that gives out the
        machine's credentials: whoever wants that writes it.
    """
    if finding.get("rule") not in _ALLOWABLE:
        return None
    try:
        target = parse_authority(finding.get("excerpt", ""), default_port=443)
    except HostError:
        return None
    if is_metadata(target.host):
        return None
    if isinstance(target.host, str):
        return _named_entry(target.host, target.port, finding["rule"])
    if finding["rule"] == _ADDRESS and is_private(target.host) and not is_own(target.host):
        return _private_entry(finding.get("host", ""), target.port)
    return str(target)


def _named_entry(name: str, port: int, rule: str) -> str | None:
    if is_localhost(name):
        return str(HostAndPort(LOOPBACK[0], port))
    if rule == _ADDRESS:
        return None  # it is given, and no address of it is known here
    return name if port in DEFAULT_PORTS else show_host(name, port)
