"""Rules that are code, not entries of a pack: their names, and what they are, by family or alone.

What to do about each is in firewall.session.remedies.
"""

from __future__ import annotations

_SAID = (
    " The server itself named this path in an answer that failed. To look at it here grants the"
    " server nothing."
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
        "The server may reach this host, and the connection failed outside. PipeGuard refused"
        " nothing."
    ),
    "egress.malformed": (
        "PipeGuard cannot read what the server sent to its sandbox's proxy as a request, or"
        " could read it in two ways. Since the target is not certain, the connection is"
        " refused."
    ),
    "egress.unsupported": (
        "The server asked the proxy of its sandbox for something that it does not do, as BIND or"
        " UDP of SOCKS, or an `https:` address without CONNECT."
    ),
    "egress.slow": (
        "The server opened a connection to its sandbox's proxy, and did not name a target in time."
    ),
    "egress.too-many": (
        "The server has as many connections open, or names in use, as one sandbox may have, so that"
        " it cannot use up what your machine has."
    ),
    "egress.withdrawn": (
        "The policy changed while the connection was open, and no longer grants its target."
        " PipeGuard closed it."
    ),
    "isolation.read": "An isolated server sees no file of yours except those that it was given."
    + _SAID,
    "isolation.write": (
        "An isolated server changes only what it is given to change; anything else that it sees it"
        " may only read. If nothing was stopped, the server made something that your programs run"
        " later: look at it before you use that folder." + _SAID
    ),
    "isolation.port": (
        "The ports of this machine (`127.0.0.1`, `::1`, `localhost`) are services of yours, as"
        " databases, and many ask for no login. An isolated server reaches those that it is given"
        " by number. This one it was refused."
    ),
}

TITLES = {
    "protocol": "Message that breaks JSON-RPC or MCP, or costs too much",
    "protocol.peer-gone": "The other side ended before it answered",
    "protocol.forged-mark": "Answer of a server that looks like PipeGuard's",
    "trust": "Definition of a server that a person decides about",
    "trust.drifted": "Definition that changed",
    "trust.held": "Definition that nobody has approved yet",
    "flows": "Result that leaves through another tool, or is obeyed",
    "flows.secret-out": "Secret of a result on its way out",
    "flows.private-out": "Private text of a result on its way out",
    "flows.untrusted-acts": "Call that does what an untrusted text says",
    "flows.ordered": "Call that a result asked for",
    "policy": "Call that your policy does not allow",
    "policy.ask": "Call about which you are asked",
    "entrance": "Request to PipeGuard's own address",
    "egress": "Connection of an isolated server",
    "isolation": "Something of this machine that an isolated server did not get",
    "search": "Description written for the search",
    "audit": "Note of the audit about itself",
    "secrets.foreign-placeholder": "Placeholder from another server or an earlier session",
    "secrets.known": "Secret of the server's own in what it says",
    "secrets.put-back": "Secret that went back to its server",
}
FAMILIES: dict[str, str] = {
    "protocol": (
        "A message that breaks JSON-RPC or MCP, or that two programs could read differently: what"
        " was judged is then not what the other side understands. What is merely unusual passes"
        " with a note."
    ),
    "protocol.frame-too-large": "Each message is judged whole, so your policy limits its size.",
    "protocol.too-many-pending": (
        "PipeGuard remembers each request until its answer comes, so your policy limits their"
        " number."
    ),
    "protocol.flood": (
        "Each notification is judged, so your policy limits how many may come in a second. Beyond"
        " that, notes of progress and log messages are dropped."
    ),
    "protocol.view-limit": (
        "More is encoded in the message than PipeGuard decodes, so it did not read all of it."
    ),
    "protocol.read-limit": (
        "A classifier would have to read more of the message than PipeGuard lets it, so it did not"
        " read all."
    ),
    "protocol.scan-limit": "Judging the message would take longer than PipeGuard allows.",
    "protocol.peer-gone": (
        "The other side ended, or closed the connection, before it answered. Nothing was wrong with"
        " the message. A call that reached it may have taken effect."
    ),
    "protocol.forged-mark": (
        "A server's answer had what only PipeGuard writes: its mark in `_meta` or `error.data`, its"
        " error codes, or the line in place of a passage that it cut, made up or from an earlier"
        " answer. The mark was removed or the line replaced; the rest passed."
    ),
    "trust": "A definition of a server is used once it is trusted: at first sight, or by a person.",
    "trust.drifted": (
        "The server offers another definition than the trusted one. Until a person decides, lists"
        " show the trusted one, and no call passes."
    ),
    "trust.held": (
        "Nobody has approved this definition. Until a person decides, no list shows it, and no call"
        " passes."
    ),
    "flows": (
        "What one tool returned leaves through another, or is obeyed. Results are remembered for"
        " half an hour, only in memory."
    ),
    "flows.secret-out": (
        "A secret would leave: whole, encoded, reversed, or in pieces over several calls. A result"
        " or a call named it a secret, it works only once, a tool that reads secrets returned it,"
        " or its pieces make a key."
    ),
    "flows.private-out": (
        "Private text that one tool returned leaves through another: passages, or three of its"
        " addresses, telephone numbers or codes. PipeGuard blocks it on the way to a web address or"
        " to everybody, if it is marked confidential or was encoded first, if a text asked for it,"
        " or if a stranger would get records of several people; anything else is a warning."
    ),
    "flows.untrusted-acts": (
        "A text that anybody may have written, as a web page or a mail, is now run, stored or done:"
        " the call repeats it to a tool that runs code, changes a setting or acts. PipeGuard blocks"
        " it if the text told the model to do it, or becomes a setting; else it is a warning."
    ),
    "flows.ordered": (
        "A sentence of a result asked its reader to do what this call does, with a value that the"
        " client had not named. Whoever wrote the sentence may be using the model in your name."
    ),
    "policy.ask": (
        "A call of a tool about which your policy has you asked each time (`tools.ask`), whatever"
        " is in the call. It waits, and is blocked if nobody allows it."
    ),
    "policy": "A tool that your own policy blocks, or that a gateway does not offer.",
    "entrance": (
        "A request to the address of `wrap` or `serve` that was refused: the wrong name, web page,"
        " token or session, a path that the token is not for, headers that contradict the body, or"
        " more than a limit allows. None of it was forwarded, and nothing is recorded but the"
        " address that it came from (`pipeguard audit show EVENT`). For each such rule the audit"
        " has a row at once, and then one a minute with the number of further requests."
    ),
    "egress": "A connection that an isolated server asked for and did not get.",
    "isolation": "A file, folder or port of your machine that an isolated server did not get.",
    **WALLS,
    "search": (
        "A tool of `pipeguard serve` whose description is written for the search: a keyword or"
        " another server's name over and over, or very many keywords. It ranks no higher for that,"
        " but an honest tool has no use for it."
    ),
    "audit": (
        "A note of the audit about itself: something could not be recorded, or was removed for its"
        " age, as your policy says."
    ),
    "secrets.foreign-placeholder": (
        "A placeholder in a call whose secret belongs to another server, another client, an"
        " earlier run, or nobody. PipeGuard puts a secret back only for the server that it came"
        " from, while that server runs."
    ),
    "secrets.known": (
        "A secret that PipeGuard sent to the server, or read from the keyring for it, in what the"
        " server says. It is taken out, in every encoding that is known."
    ),
    "secrets.put-back": (
        "A secret of this server that went back to it in place of its placeholder. Nothing was"
        " stopped."
    ),
}
# The rules of each family; `WALLS` has the names of its own.
_NAMES = {
    "protocol": (
        "batch batch-ids batch-initialize batch-mixed batch-size before-initialized "
        "byte-order-mark duplicate-key duplicate-name flood forged-mark frame-too-large "
        "id-in-use inherited-key internal invalid-id invalid-json invalid-method "
        "invalid-progress-token jsonrpc-version key-look-alike lone-surrogate malformed-answer "
        "meta-not-an-object method-look-alike nameless no-method not-a-list not-an-object "
        "not-redacted params-not-an-object peer-gone read-limit request-and-response "
        "request-without-id scan-limit too-deep too-early too-many-keys too-many-pending "
        "too-many-values unasked-answer undeclared-capability undecodable-answer unknown-answer "
        "unknown-progress unknown-request view-limit"
    ),
    "trust": (
        "allowed approved created dismissed drifted exchanged forgotten full held not-offered "
        "proposed refused rejected revoked undone withdrawn"
    ),
    "flows": "ordered private-out secret-out untrusted-acts",
    "policy": "ask tool",
    "search": "keyword-stuffing server-name-stuffing",
    "audit": "damaged gap pruned question",
    "secrets": "foreign-placeholder known put-back",
    "entrance": (
        "ending foreign-session header-mismatch host large-body large-head long-target "
        "malformed many-bytes many-connections many-sessions no-message no-session no-stream "
        "no-token nowhere odd-header origin scope silent slow-body untaken wrong-token"
    ),
}
CODE_RULES = (
    *WALLS,
    *(f"{family}.{name}" for family, names in _NAMES.items() for name in names.split()),
)
