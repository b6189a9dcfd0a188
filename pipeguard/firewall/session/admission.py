"""Admission of a client's request to the tool, prompt or resource that it names.

Policy and pins decide. Also reports oddities of a message. Judges no text and no definition.
"""

from collections.abc import Iterable

from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    TO_SERVER,
    Action,
    Confidence,
    Direction,
    Finding,
    Findings,
    MessageKind,
    Severity,
    observe_only,
)
from pipeguard.firewall.pins.skills import Manifest, has_file, read_manifest
from pipeguard.firewall.pins.store import is_same
from pipeguard.firewall.policy import ASKED, Trust
from pipeguard.firewall.protocol import codes, places
from pipeguard.firewall.protocol.answers import INHERITED, NOTABLE, InputRequests
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, as_object, serialise
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.spelling import check_spelling, spellings
from pipeguard.firewall.protocol.uris import covers
from pipeguard.firewall.session.guard import Context, Guard
from pipeguard.unicode.display import NAME_CHARS, cut, quote

NO_ROOM = "the server defines more than PipeGuard keeps for one server, and this is beyond it"
NOT_OFFERED = "trust.not-offered"
OUTAGE = "audit.outage"
_NAMELESS = "PipeGuard holds what the request names; its name has a secret, and is not repeated"
TARGET_CHARS = 200  # of a server's and a definition's name in a command

# By method, the members of params that a peer reads.
_PARAMS = {
    method: spellings(pattern.partition("/")[0] for pattern in rows)
    for method, rows in places.PLACES["params"].items()
}


def find_obstacles(guard: Guard, message: Message) -> list[Finding]:
    """The finding that stops a client's request from using the item it names, if there is one.

    Args:
        guard: whose policy and pins apply.
        message: the request.

    Raises:
        Refusal: a member of params differs from a protocol member only in its spelling, or a name
            is not a string.
    """
    method = message.method or ""
    params = message.params
    try:
        check_spelling(params, _PARAMS.get(method, {}), "params")
        references = list_references(method, params)
        if references and (why := guard.shared.why_out()):
            return [Finding(OUTAGE, "envelope", note=f"PipeGuard lets no call pass: {why}.")]
        found = [_check_reference(guard, *each) for each in references]
    except Refusal as refusal:
        refusal.id_token = message.id_token
        raise
    findings = [finding for finding in found if finding is not None]
    return [max(findings, key=lambda finding: finding.action)] if findings else []


def find_obstacle(guard: Guard, kind: str, name: str) -> Finding | None:
    """The finding that stops a definition from being used, or None.

    Args:
        guard: whose pins and policy apply.
        kind: as in Pin; `template` for a template or an address (completion).
        name: as the request has it.
    """
    pin = guard.pin(kind, name)
    if pin is None:
        return _check_unpinned(guard, kind, name)
    if pin.held_definition is None:
        return None
    rule = "trust.held" if pin.approved_definition is None else "trust.drifted"
    # Only in our words: `pipeguard diff` shows the server's.
    why = f"it changed since it was {pin.origin} ({pin.reason})"
    if pin.approved_definition is None:
        why = "it was never approved" + (f" ({pin.reason})" if pin.reason else "")
    end = "It cannot be used until the user has reviewed it and accepted it."
    if guard.pins.is_rejected(kind, name):
        rule = "trust.left-out"
        end = "The user rejected it. It cannot be used while the server offers it like that."
    note = f"PipeGuard holds the {kind} {cut(name, NAME_CHARS)!r}: {why}. {end}"
    return _hold(guard, name, rule, note, show_command(guard.name, name))


def find_asked(context: Context, tool: str) -> list[Finding]:
    """The finding for a call about which the policy asks the user each time."""
    if not context.guard.policy.asks_user(tool):
        return []
    found = context.finding(ASKED, "call.name", (Severity.MEDIUM, Confidence.HIGH))
    note = found.note or "the policy has the user asked about each call of this tool"
    return [found._replace(pointer="/params/name", note=note)]


def show_command(server: str, name: str) -> str:
    """The command that shows a definition to a person, whatever its server called it."""
    target = f"{server}/{name}"
    is_shown = name and len(target) <= TARGET_CHARS
    return f"pipeguard diff {quote(target if is_shown else server)}"


def without_name(guard: Guard, finding: Finding) -> Finding:
    """A finding about a request, without the name that it uses, which has a secret."""
    if finding.rule == "policy.tool":
        return finding._replace(note="the policy does not allow this tool to be called", tool=None)
    if not finding.rule.startswith("trust."):
        return finding
    if finding.rule == NOT_OFFERED and finding.severity < Severity.HIGH:
        return finding._replace(tool=None)  # the note does not name it
    excerpt = show_command(guard.name, "") if finding.excerpt else ""
    return finding._replace(note=_NAMELESS, excerpt=excerpt, tool=None)


def _check_reference(guard: Guard, kind: str, name: JsonValue) -> Finding | None:
    """The finding that stops one definition from being used, or None.

    Raises:
        Refusal: its name is not a string. Some servers convert it to one.
    """
    if name is None:  # servers refuse that, or choose by themselves
        return find_obstacle(guard, kind, "") if guard.policy.trust is Trust.REVIEW else None
    if type(name) is not str:
        why = f"the name of a {kind} in the request is not a string"
        raise Refusal("protocol.nameless", why, codes.INVALID_REQUEST)
    if kind == "tool" and (origin := guard.policy.find_refusal(name)):
        note = f"{origin} does not allow the tool {cut(name, NAME_CHARS)!r} to be called"
        return _hold(guard, name, "policy.tool", note)
    if kind == "resource" and not is_listed(guard, name):
        around = guard.pins.names.skills_around(name)
        held = filter(None, (find_obstacle(guard, "skill", each) for each in around))
        why = "a skill in whose folder it is does not list it"
        return next(held, None) or _not_offered(guard, kind, name, why)
    return find_obstacle(guard, kind, name)


def is_listed(guard: Guard, uri: str) -> bool:
    """True if a file or a folder is in no skill, or if the trusted skills around it list it."""
    manifests = find_manifests(guard, uri)
    if not manifests:
        return not guard.pins.names.skills_around(uri)
    return all(has_file(manifest, uri) for manifest in manifests)


def find_manifests(guard: Guard, uri: str) -> list[Manifest | None]:
    """The manifests of the trusted skills in whose folders a file or a folder is.

    A skill lists what nested skills have, too. A dynamic one has none of their files.
    """
    manifests = []
    around = guard.pins.names.skills_around(uri)
    for name in around:
        pin = guard.pin("skill", name)
        if pin is None or pin.approved_definition is None or pin.held_definition is not None:
            continue
        manifest = read_manifest(pin.approved_definition)
        if manifest is not None or name == around[-1]:
            manifests.append(manifest)
    return manifests


def _check_unpinned(guard: Guard, kind: str, name: str) -> Finding | None:
    """The finding that stops the use of a name without a known definition, or None."""
    if kind in guard.pins.full:
        return _hold(guard, name, "trust.full", f"PipeGuard holds the {kind}: {NO_ROOM}")
    first = guard.pins.names.first(kind, name)
    if first is not None and first != name:
        if is_same(kind, name):
            return find_obstacle(guard, kind, first)
        why = f"it can be mistaken for {cut(first, NAME_CHARS)!r}. Use that spelling"
        return _not_offered(guard, kind, name, why)
    if kind == "template":
        return find_obstacle(guard, "resource", name)
    if guard.policy.trust is Trust.REVIEW:
        why = "under review, only an offered definition can be approved"
        if kind == "resource":
            why = "no approved template covers it"
        is_covered = kind == "resource" and _is_covered(guard, name)
        return None if is_covered else _not_offered(guard, kind, name, why)
    # An unlisted resource may be one of a template, or of a link. Who observes pins not all.
    others = () if guard.policy.observes else guard.pins.names.kinds
    is_unlisted = kind != "resource" and kind in others
    note = f"no list that the server sent has this {kind}: nothing judged or pinned it"
    warning = _hold(guard, name, NOT_OFFERED, note)._replace(
        severity=Severity.MEDIUM, action=Action.WARN
    )
    return warning if is_unlisted else None


def _is_covered(guard: Guard, uri: str) -> bool:
    """True if an approved template or skill has an address, or a tool as its page."""
    page = serialise({"resourceUri": uri}).decode()[1:-1]
    if find_manifests(guard, uri) or any(
        page in (pin.approved_definition or "")
        for pin in guard.pins.all().values()
        if pin.kind == "tool" and pin.held_definition is None
    ):
        return True
    for template in [*guard.pins.names.templates]:
        pin = guard.pin("template", template)
        if pin is not None and pin.held_definition is None and covers(template, uri):
            return True
    return False


def _not_offered(guard: Guard, kind: str, name: str, why: str) -> Finding:
    why = f"the server has not offered it, and {why}"
    note = f"PipeGuard holds the {kind} {cut(name, NAME_CHARS)!r}: {why}."
    return _hold(guard, name, NOT_OFFERED, note)


def _hold(guard: Guard, name: str, rule: str, note: str, excerpt: str = "") -> Finding:
    finding = Finding(rule, "call.name", "/params/name", note=note, excerpt=excerpt, tool=name)
    return observe_only(finding) if guard.policy.observes else finding


# --- references -------------------------------------------------------------------------
# Which of a server's definitions a request uses: tools, prompts, resources.

# A kind of definition, and the value given as its name; None without a name.
Reference = tuple[str, JsonValue]

# By method, the kind that it uses and the member of params that names it (MCP server/*, "Getting",
# "Calling", "Reading", "Subscriptions"). Unsubscribing uses nothing: it is always allowed.
_NAMED = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/directory/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
}
_REFERENCE = {"name": "prompt", "uri": "template"}  # members of completion/complete's `ref`
_REFERENCE_MEMBERS = spellings(("type", *_REFERENCE))
_SUBSCRIPTION_MEMBERS = spellings(("resourceSubscriptions",))


def list_references(method: str, params: JsonObject) -> Iterable[Reference]:
    """The definitions that a request uses, in its order.

    Raises:
        Refusal: a member of a reference differs from a protocol member only in its spelling.
    """
    named = _NAMED.get(method)
    if named is not None:
        kind, key = named
        return ((kind, params.get(key)),)
    if method == "completion/complete":
        return _completion_references(params.get("ref"))
    if method == "subscriptions/listen":
        return _subscription_references(params.get("notifications"))
    return ()


def _completion_references(ref: JsonValue) -> list[Reference]:
    """The prompt or resource of a completion, by its template or its address.

    Some servers go by `type` and some by the member, so every member counts.
    """
    if ref is None:
        return [("prompt", None)]
    if not isinstance(ref, dict):
        return [("prompt", [ref])]
    check_spelling(ref, _REFERENCE_MEMBERS, "ref")
    named: list[Reference] = [(kind, ref[key]) for key, kind in _REFERENCE.items() if key in ref]
    return named or [("prompt", None)]


def _subscription_references(wanted: JsonValue) -> list[Reference]:
    """The resources whose updates a client asks for (MCP 2026-07-28, server/utilities)."""
    wanted = as_object(wanted)
    check_spelling(wanted, _SUBSCRIPTION_MEMBERS, "notifications")
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return []
    return [("resource", uri) for uri in uris] if isinstance(uris, list) else [("resource", [uris])]


# --- odd messages ----------------------------------------------------------------------


def find_oddities(direction: Direction, message: Message, requested: InputRequests) -> Findings:
    """Find oddities of a message that may be forwarded.

    Args:
        direction: which way the message travels.
        message: the message. Most have none of these members, which costs two checks.
        requested: the input that the server has asked for.
    """
    value = message.value
    body = value.get("result") if message.method is None else value.get("params")
    if type(body) is not dict or NOTABLE.isdisjoint(body):
        return () if INHERITED.isdisjoint(value) else (_INHERITED_KEY,)
    odd = []
    if not INHERITED.isdisjoint(body) or not INHERITED.isdisjoint(value):
        odd.append(_INHERITED_KEY)
    asks = message.kind is MessageKind.REQUEST and direction is TO_SERVER
    if asks and not requested.cover(body):
        odd.append(_UNREQUESTED)
    return tuple(odd)


_INHERITED_KEY = Finding(
    "protocol.inherited-key",
    "envelope",
    severity=Severity.MEDIUM,
    action=Action.WARN,
    note="a member has the name of one that JavaScript objects inherit, such as __proto__",
)
_UNREQUESTED = Finding(
    "protocol.unasked-answer",
    "params.other",
    severity=Severity.LOW,
    action=Action.WARN,
    note=(
        "the request answers input requests that no result made, or has a state that no result set"
    ),
)
