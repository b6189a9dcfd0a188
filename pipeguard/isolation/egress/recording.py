"""Connections of a sandbox as rows of the audit, and the rule that would allow a refused one.

Repeated refusals are written once a minute with a count, so that they cannot fill the audit.
"""

import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from pipeguard.firewall.finding import Action, Finding, Severity
from pipeguard.isolation.egress.addresses import is_metadata, is_own, is_private
from pipeguard.isolation.egress.hosts import (
    DEFAULT_PORTS,
    LOCALHOST,
    LOOPBACK,
    PRIVATE,
    Host,
    HostAndPort,
    HostError,
    is_localhost,
    is_this_machine,
    parse_authority,
    parse_host,
)
from pipeguard.isolation.egress.judge import OF_A_PROXY, EgressReason, EgressRecord, EgressWay, Wall
from pipeguard.state.verdict_writer import EndedConnection

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
# Caused by mistake or by excess.
_LOW = {EgressReason.SLOW, EgressReason.TOO_MANY}
_OWN_PORT = "isolation.port"  # if the server's own words name it: `--loopback` grants it
_OWN_PORT_WORDS = "this port of this machine is not given to the server"
_ADDRESS = f"egress.{EgressReason.ADDRESS.value}"
_ALLOWABLE = {
    f"egress.{reason.value}"
    for reason in (EgressReason.HOST, EgressReason.PORT, EgressReason.ADDRESS)
}


_Key = tuple["EgressWay | None", EgressReason, str, int]  # with the host and the port


class _Count:
    """Refusals of one kind since the row of the first one."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.event = ""  # of that row
        self.last: EgressRecord | None = None
        self.more = 0


class ConnectionRecorder:
    """Takes the reports of one `Egress`, in its thread; close it after the `Egress`.

    Args:
        record: writes a connection to the audit, and returns its event, if it has one:
            `Run.connect`.
        now: seconds on a clock that only goes forward.
        refused: called for each connection that was refused because of its target, even if it is
            only counted.
    """

    def __init__(
        self,
        record: Callable[[EndedConnection], str | None],
        now: Callable[[], float] = time.monotonic,
        refused: Callable[[Wall], None] | None = None,
    ) -> None:
        self._record = record
        self._now = now
        self._refused = refused
        self._counts: dict[_Key, _Count] = {}  # in order of time
        self._failed: set[tuple[str, str]] = set()  # targets, each with a proxy's error

    def __call__(self, record: EgressRecord) -> None:
        """Write a connection, or count it."""
        now = self._now()
        self._write_old(now)
        reason = record.reason
        if reason is None:
            self._write(record)
            return
        key = _refusal_key(record, reason)
        is_counted_apart = key in self._counts or len(self._counts) < MAX_KEYS
        key = key if is_counted_apart else (None, reason, "", 0)
        count = self._counts.get(key)
        if count is None:
            self._counts[key] = count = _Count(now)
            count.event = self._write(record) or ""
        elif record.way is not EgressWay.DNS and reason is not EgressReason.TOO_MANY:
            count.last = record  # of a name, or of too many, the first is enough
            count.more += 1
        if self._refused and is_counted_apart and count.event:
            wall = self._wall(record, count.event)
            if wall:
                self._refused(wall)

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
            if count.last:
                self._write(count.last, self._describe_count(count, count.last))

    def _describe_count(self, count: _Count, last: EgressRecord) -> str:
        """The text of a row that counts refusals which were already reported."""
        text = f"{count.more} more within {INTERVAL_SECONDS:g} s"
        text += f" after event {count.event}" if count.event else ""
        if last.at is not None:
            at = time.gmtime(time.time() - (self._now() - last.at))
            text += time.strftime(", the last at %H:%M:%S UTC", at)
        return text

    def _wall(self, record: EgressRecord, event: str) -> Wall | None:
        """The wall to report at once; None if the refused target could lead nowhere."""
        rule = _rule(record)
        is_own = rule == _OWN_PORT
        if not is_own and (rule not in _ALLOWABLE or _parse_host(record.host) is None):
            return None
        subject = str(record.port) if is_own else _show_target(record)
        return Wall(rule, subject, event, self._now() if record.at is None else record.at)

    def _write(self, record: EgressRecord, more: str = "") -> str | None:
        host = _show_target(record, always=True)
        via = f"via {record.proxy}" if record.proxy else ""
        target = " ".join(filter(None, (record.way.value, host, via)))
        finding = _finding(record, host, more)
        failure = host, record.error
        is_new = failure not in self._failed and len(self._failed) < MAX_KEYS
        if finding and record.error.startswith(OF_A_PROXY) and is_new:
            self._failed.add(failure)  # it is one line of the log
            finding = finding._replace(severity=Severity.MEDIUM, action=Action.WARN)
        sizes = record.bytes_sent, record.bytes_received
        return self._record(EndedConnection(target, finding, *sizes, record.seconds))


def _refusal_key(record: EgressRecord, reason: EgressReason) -> _Key:
    """The key for counting refusals; a port of this machine has one key for all its names."""
    if _is_own_port(record):
        return None, EgressReason.HOST, LOCALHOST, record.port
    return record.way, reason, record.host, record.port


def _is_own_port(record: EgressRecord) -> bool:
    is_unnamed = record.reason in {EgressReason.HOST, EgressReason.PORT}
    return is_unnamed and bool(record.port) and is_this_machine(record.host)


def _rule(record: EgressRecord) -> str:
    reason = record.reason.value if record.reason else "failed"
    return _OWN_PORT if _is_own_port(record) else f"egress.{reason}"


def _parse_host(text: str) -> Host | None:
    try:
        return parse_host(text)
    except HostError:
        return None


def _show_target(record: EgressRecord, *, always: bool = False) -> str:
    """The host of a connection, with its port unless that is a web port."""
    host = f"[{record.host}]" if ":" in record.host else record.host
    is_shown = record.port and (always or record.port not in DEFAULT_PORTS)
    return f"{host}:{record.port}" if is_shown else host


def _finding(record: EgressRecord, target: str, more: str = "") -> Finding | None:
    """The finding about a connection; None if it was allowed.

    Args:
        record: the connection.
        target: its host and port.
        more: how many similar connections, reported by another event, a row counts; or empty.
    """
    reason = record.reason
    if reason is None and not record.error:
        return None
    if reason is None:
        note = f"allowed, but could not be reached: {record.error}"
        failed = Finding(_rule(record), PLACE, severity=Severity.LOW, action=Action.ALLOW)
        return failed._replace(excerpt=target, note=note, host=record.host)
    if reason is EgressReason.ADDRESS and record.address:
        target = str(HostAndPort(ip_address(record.address), record.port))
    rule = _rule(record)
    is_own = rule == _OWN_PORT
    words = _OWN_PORT_WORDS if is_own else _WORDS[reason]
    # A count repeats reported refusals: not logged, because it would look like a new event.
    severity = Severity.LOW if more or reason in _LOW else Severity.MEDIUM
    return Finding(
        rule,
        PLACE,
        severity=severity,
        excerpt=str(record.port) if is_own else target,
        note=f"{more}: {words}" if more else words,
        host=record.host,
    )


def allowing_entry(finding: Mapping[str, str]) -> str | None:
    """The entry of a policy's hosts that allows what an event refused; None if no entry does.

    Args:
        finding: the event's, as the audit has it (`state.exceptions.AuditedEvent.findings`).

    Returns:
        Such as `api.example.com` or `api.example.com:8443`; for a name that leads into a private
        network, `git.corp.example=private`; for one that leads to this machine, the address, such
        as `127.0.0.1:5432`. `HostRules.parse` reads it. Never a host that gives out the machine's
        credentials: a person must write that entry.
    """
    rule = finding.get("rule", "")
    try:
        target = parse_authority(finding.get("excerpt", ""), default_port=443)
    except HostError:
        return None
    host, port = target
    if rule not in _ALLOWABLE or is_metadata(host):
        return None
    if rule == _ADDRESS:
        return _entry_of_address(target, finding.get("host", ""))
    if not isinstance(host, str):
        return str(target)
    return str(HostAndPort(LOOPBACK[0], port)) if is_localhost(host) else target.entry


def _entry_of_address(target: HostAndPort, name: str) -> str | None:
    """The entry for an address that a name led to; None if none of its addresses is known here."""
    if isinstance(target.host, str):
        return None
    if not is_private(target.host) or is_own(target.host):
        return str(target)
    host = _parse_host(name)
    return f"{HostAndPort(host, target.port).entry}{PRIVATE}" if isinstance(host, str) else None
