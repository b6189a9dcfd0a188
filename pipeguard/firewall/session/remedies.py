"""Remedies: the one table, for messages, log, commands and pages.

Nothing else may say how something passes. A rule of a pack is left to the policy, so an exception
helps; what the policy does not decide is listed here. A rule that is in no row gets an exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from pipeguard.firewall.finding import Action, Verdict
from pipeguard.records import NamedTuple

# The beginning of the note of a granted call; the name of the event that stopped it follows.
GRANTED_AS = "a person allowed this call once, as event "
LOST = "protocol.peer-gone"  # no answer came, and nothing was stopped


class Way(Enum):
    """The way to let something pass; the later, the less one command can do."""

    EXCEPTION = "exception"  # `pipeguard allow EVENT`
    GRANT = "grant"  # the same, which gives an isolated server what it wanted
    APPROVE = "approve"  # `pipeguard diff`, then `pipeguard approve`
    POLICY = "policy"  # a key of a file that the user writes
    OPTION = "option"  # of the command that listens
    NOTHING = "nothing"  # only whoever wrote the client or the server

    __hash__ = object.__hash__


class Remedy(NamedTuple):
    """The remedy for what one rule stops.

    Attributes:
        way: how.
        key: of the policy, as `limits.pending`; or empty.
        advice: what to do, in one sentence or two.
    """

    way: Way
    advice: str
    key: str = ""


_EXCEPTION = Remedy(
    Way.EXCEPTION,
    "If it is a false alarm, allow the event: that adds an exception to your policy, as narrow as"
    " possible.",
)
_APPROVE = Remedy(
    Way.APPROVE,
    "It waits for your approval. Look at it with `pipeguard diff SERVER`, then accept it with"
    " `pipeguard approve SERVER`, or reject it with `pipeguard reject SERVER`.",
)
_AUTHOR = Remedy(
    Way.NOTHING,
    "It breaks the protocol, so no exception lets it pass. Tell the author of the client or the"
    " server; the event's note says what was wrong.",
)
_ENTRANCE = Remedy(
    Way.OPTION,
    "The request was refused at the door. Who may connect is set by `--token-env`, `--allow-host`"
    " and `--allow-origin` of `wrap` and `serve`, and by `pipeguard tokens create`. Use a firewall"
    " against somebody who tries tokens.",
)


def _limit(key: str, what: str) -> Remedy:
    return Remedy(
        Way.POLICY,
        f"{what} Raise `{key}` in the file that `pipeguard policy path` names, then restart the"
        " server, if that much is normal for it.",
        key,
    )


def _give(may: str, key: str, more: str = "") -> Remedy:
    return Remedy(
        Way.GRANT,
        f"If the server {may} this file or folder, allow the event: that adds it to {key} of the"
        " server in your policy, under `isolate`, and holds from its next start. What has to be"
        f" named by hand, as keys and logins, is not offered.{more}",
    )


# The rules that the policy's actions and exceptions do not decide. A row for a whole family ends
# with a dot; a row for one rule counts before it.
_ROWS: dict[str, Remedy] = {
    "protocol.": _AUTHOR,
    "protocol.view-limit": _EXCEPTION,
    "protocol.read-limit": _EXCEPTION,
    "protocol.scan-limit": _EXCEPTION,
    "protocol.frame-too-large": _limit(
        "limits.frame", "The message is larger than your policy allows."
    ),
    "protocol.too-many-pending": _limit(
        "limits.pending", "More requests wait for an answer than your policy allows."
    ),
    "protocol.flood": _limit(
        "limits.notifications", "More notifications came in a second than your policy allows."
    ),
    "protocol.not-redacted": Remedy(
        Way.EXCEPTION,
        "PipeGuard could not take out what it found, so it stopped the whole message. If that was a"
        " false alarm, allow the event.",
    ),
    "protocol.forged-mark": Remedy(
        Way.NOTHING,
        "An honest server sends this only if it quotes what it was given, or is itself behind"
        " PipeGuard. If this one does neither, stop using it.",
    ),
    "protocol.internal": Remedy(
        Way.NOTHING,
        "PipeGuard failed to judge it, and what is not judged does not pass. Report it, with the"
        " event's note.",
    ),
    LOST: Remedy(
        Way.NOTHING,
        "See that the server runs, and that the client's entry has its right command or address."
        " What it wrote last is in the client's log or, behind `pipeguard serve`, in"
        " `pipeguard logs SERVER`.",
    ),
    "trust.": _APPROVE,
    "trust.not-offered": Remedy(
        Way.NOTHING,
        "The server has not offered this name, so there is nothing to approve. Use a name that it"
        " lists; what waits for you is shown by `pipeguard diff`.",
    ),
    "trust.full": Remedy(
        Way.NOTHING,
        "The server defines more than PipeGuard keeps for one server. Have its author define less,"
        " or run it as several servers.",
    ),
    "policy.ask": Remedy(
        Way.EXCEPTION,
        "Your policy has you asked about each call of this tool (`tools.ask`). Look at the call:"
        " `pipeguard allow EVENT` shows it before it asks, and lets it pass once.",
    ),
    "policy.": Remedy(
        Way.POLICY,
        "The note says which `tools` blocks it: of the server in `pipeguard.yaml`, or of your"
        " policy, in the file that `pipeguard policy path` names or in the project's"
        " `.pipeguard.yaml`. Only after a change of the project's, restart the server.",
        "tools",
    ),
    "flows.": Remedy(
        Way.EXCEPTION,
        "Look at what was sent and to whom: `pipeguard allow EVENT` shows it before it asks. If you"
        " want it, allow the event: this call then passes once, with the same arguments. To let all"
        " such calls pass, put `- {rule: RULE, server: NAME, action: allow}` first under `actions`"
        " in the policy.",
    ),
    "entrance.": _ENTRANCE,
    "egress.": Remedy(
        Way.NOTHING,
        "The server named no host that PipeGuard can read, asked for too many at once, or used a"
        " protocol that PipeGuard does not pass on. Its own messages say what it wanted.",
    ),
    "egress.host": Remedy(
        Way.GRANT,
        "If the server needs this host, allow the event: that adds it to `hosts` of the server in"
        " your policy, under `isolate`, and holds within a second. The server can then send there"
        " whatever it reads. Where the event names no port, that is for ports 443 and 80; for"
        " another, as 8081 of `http://example.org:8081`, allow it with `--port 8081`.",
    ),
    "egress.port": Remedy(
        Way.GRANT,
        "If the server needs this port of the host, allow the event: that adds `HOST:PORT` to"
        " `hosts` of the server in your policy, under `isolate`, and holds within a second.",
    ),
    "egress.address": Remedy(
        Way.GRANT,
        "If that is where the name belongs, as in a company's network, allow the event: that adds"
        " `HOST=private` to `hosts` of the server in your policy, by which the name may lead there"
        " too, or the address itself where it is this machine's. Else ask whoever answers for the"
        " name. What gives out credentials is not offered.",
    ),
    "isolation.read": _give(
        "may read", "`read`", " To have it make files in a folder, give that under `write`."
    ),
    "isolation.write": _give("may change", "`write`"),
    "isolation.port": Remedy(
        Way.GRANT,
        "If the server needs what listens at this port, allow the event: that adds the port to"
        " `loopback` of the server in your policy, under `isolate`, and holds from its next start.",
    ),
    "egress.failed": Remedy(
        Way.NOTHING,
        "Your policy allows the host, but it did not answer or does not exist: the note names the"
        " error. Try it from this machine.",
    ),
    "search.": Remedy(
        Way.POLICY,
        "Read the definition: `pipeguard diff SERVER`. `tools.block` and `tools.overrides` of the"
        " server in `pipeguard.yaml` hide it or describe it anew.",
        "tools",
    ),
    "audit.": Remedy(
        Way.NOTHING,
        "It is a note of the audit about itself. Run `pipeguard audit verify`, and check whether"
        " the disk is full.",
    ),
    "secrets.foreign-placeholder": Remedy(
        Way.NOTHING,
        "No exception puts a secret back for a server that it did not come from, or from an"
        " earlier run. Have the model ask the server for it again, or give the server the secret"
        " yourself.",
    ),
    "secrets.put-back": Remedy(Way.NOTHING, "Nothing was stopped, so there is nothing to do."),
    "secrets.known": Remedy(
        Way.NOTHING,
        "PipeGuard holds this secret for the server, and never shows it to a client. Have the"
        " server's author keep it out of what the server says.",
    ),
}
_WAYS = tuple(Way)
# What stops one definition, and not the list that it is left out of.
_LEFT_OUT = ("trust.", "protocol.duplicate-name", "protocol.nameless")


def find_remedy(rule: str) -> Remedy:
    """Find the remedy for what a rule stops."""
    family = rule.partition(".")[0]
    return _ROWS.get(rule) or _ROWS.get(f"{family}.", _EXCEPTION)


def is_held_verdict(verdict: Verdict) -> bool:
    """True if all that blocks a judged message are definitions that wait for a decision."""
    return is_held(each.rule for each in verdict.findings if each.action is Action.BLOCK)


def is_held(rules: Iterable[str]) -> bool:
    """True if all that blocks a message are definitions that wait for a decision.

    Args:
        rules: of the findings that block it.
    """
    ways = {find_remedy(rule).way for rule in rules}
    return ways == {Way.APPROVE}


def decisive_rule(rule: str, tool: str, stopped: Iterable[tuple[str, str]]) -> str:
    """The rule that says what can be done about a finding, given all that stopped its message.

    One finding that no exception helps keeps the message from passing, so that allowing the others
    would be in vain. A definition that waits is left out of its list alone.

    Args:
        rule: of the finding.
        tool: that it concerns, or empty.
        stopped: the rule and the tool of each finding that stopped the message.
    """
    rules = [rule]
    rules += [other for other, of in stopped if not other.startswith(_LEFT_OUT) or of == tool]
    return max(rules, key=lambda name: _WAYS.index(find_remedy(name).way))


def advised_rules() -> tuple[str, ...]:
    """The rules and families that have a row: all others get an exception."""
    return tuple(_ROWS)
