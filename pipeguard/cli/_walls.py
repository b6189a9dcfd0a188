"""What `pipeguard explain` says of what an isolated server did not get, in words for each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeguard.state.exceptions import AuditedEvent

_SAID = (
    " It named this in an answer that failed. Nothing but its own words says so: they are shown to"
    " you, and give it nothing."
)
# By rule, in place of the text of its family. What to do is in firewall.session.remedies.
WALLS: dict[str, str] = {
    "egress.host": (
        "An isolated server reaches only the hosts that it is given, so that what it reads cannot"
        " be sent elsewhere. It asked for one that neither your policy nor its options name. The"
        " audit has the host and the port, and nothing of what was to be sent."
    ),
    "egress.port": (
        "The server is given this host, at other ports. Each port is given by itself, without one"
        " 443 and 80, since another port is another service."
    ),
    "egress.address": (
        "The server is given this host, but its name leads only to addresses that are not public:"
        " of a private network, of this machine, or of what gives out a machine's credentials."
        " Whoever answers for a name could else lead the server into your network."
    ),
    "egress.failed": (
        "The server is given this host, and the connection failed outside. PipeGuard refused"
        " nothing."
    ),
    "egress.malformed": (
        "What the server sent to the proxy of its sandbox cannot be read as a request, or could be"
        " read in two ways. It is not certain where it would lead, so it leads nowhere."
    ),
    "egress.unsupported": (
        "The server asked the proxy of its sandbox for something that it does not do, as BIND or"
        " UDP of SOCKS, or an `https:` address without CONNECT."
    ),
    "egress.slow": (
        "The server opened a connection to the proxy of its sandbox, and did not say in time where"
        " it leads."
    ),
    "egress.too-many": (
        "The server has as many connections open, or names in use, as one sandbox may have, so that"
        " it cannot use up what your machine has."
    ),
    "egress.withdrawn": (
        "The policy changed while the connection was open, and no longer gives the server where it"
        " led. It was ended."
    ),
    "isolation.read": "An isolated server sees no file of yours but what it is given." + _SAID,
    "isolation.write": (
        "An isolated server changes only what it is given to change; anything else that it sees it"
        " may only read. Where nothing was stopped, the event names what was made while the server"
        " ran and your programs run later: look at it before you use that folder." + _SAID
    ),
    "isolation.port": (
        "The ports of this machine (`127.0.0.1`, `::1`, `localhost`) are services of yours, as"
        " databases, and many ask for no login. An isolated server reaches those that it is given"
        " by number. This one it was refused."
    ),
}
GIVE = "Give the server exactly that:"
GIVEN_BY_NOW = "Nothing: your policy gives the server what it wanted then."
_KINDS = {
    "isolation.read": "to read {}",
    "isolation.write": "to change {}",
    "isolation.port": "port {} of this machine",
}
_FAILED = "The server is isolated. What it wanted is given, and could not be reached."
_REFUSED = "The server is isolated, and did not get what it wanted."


def is_wall(rule: str) -> bool:
    """Whether a rule tells of something that an isolated server wanted."""
    return rule.startswith(("egress.", "isolation."))


def is_file(finding: dict[str, str]) -> bool:
    """True if a failed answer named a file that the server is not given."""
    return is_wall(finding["rule"]) and bool(finding.get("pointer"))


def outcome_of(event: AuditedEvent) -> str:
    """What became of what a server wanted; empty for an event that is no wall."""
    if not event.findings or not all(is_wall(each["rule"]) for each in event.findings):
        return ""
    if all(map(is_file, event.findings)):
        return _REFUSED
    if any(each["rule"] == "egress.failed" for each in event.findings):
        return _FAILED
    return _REFUSED if event.action == "block" else ""


def wanted(finding: dict[str, str]) -> str:
    """What a server wanted, as the end of a sentence."""
    subject = finding.get("path") or finding.get("excerpt", "")
    host = finding.get("host", "")
    text = _KINDS.get(finding["rule"], "{}").format(subject)
    leads = host and finding["rule"] == "egress.address" and not subject.startswith(host)
    return f"{host}, whose name leads to {text}" if leads else text
