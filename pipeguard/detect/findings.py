"""Findings in a message or in a part of one: matches of rules, leaks, and foreign placeholders.

Each match becomes a finding with the action of the policy. Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeguard.detect.clean_texts import NAMELESS, TextName, name_message, name_value
from pipeguard.detect.commands.argument_roles import ArgumentRole, role
from pipeguard.detect.flows import leak_search, secret_egress, text_values, tool_labels
from pipeguard.detect.flows.leak import SECRET_OUT, Leak
from pipeguard.detect.flows.vault import RESTORED
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.restoring import FOREIGN_NOTE, echoes
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Finding,
    Severity,
    have_private,
    make_block,
)
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonValue, walk_texts
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.places import ARGUMENTS, Surface, get_value
from pipeguard.firewall.session import placeholders, replies
from pipeguard.firewall.session.guard import EXEMPT, Context

if TYPE_CHECKING:
    from pipeguard.detect.scanning.first_look import Look

SECRETS = "secrets."
MOST_STRINGS = 256  # of a call in which a key may begin or go on
AHEAD_BYTES = 2**15  # of a definition that is looked at ahead; a longer one is read in parts
_MISPLACED_NOTE = (
    "a key that this server returned would be written into another folder, in clear; a file for"
    " keys, such as .env, may have it"
)


# --- a value --------------------------------------------------------------------------------


def read_value(
    knowledge: Knowledge, context: Context, surface: Surface, value: JsonValue
) -> list[Finding]:
    """Run the rules of one surface over a value.

    Args:
        knowledge: of the server.
        context: where the value is.
        surface: the surface that it is judged as.
        value: a whole message, or a part of one.

    Raises:
        Refusal: it could not be judged.
    """
    is_lasting = surface is Surface.DEFINITIONS
    name = name_value(context, surface, value) if is_lasting else NAMELESS
    return _read_named(knowledge, context, surface, value=value, name=name)


def read_part(
    knowledge: Knowledge, context: Context, surface: Surface, value: JsonValue
) -> list[Finding]:
    """Run the rules of one surface over a part of a message, with those next to it.

    Raises:
        Refusal: it could not be judged.
    """
    group = context.group
    if group is not None and group.looks is None:
        group.looks = _look_ahead(knowledge, context, surface, group.values)
    if group is None or id(value) not in group.looks:
        return read_value(knowledge, context, surface, value)
    name, looks = group.looks[id(value)]
    return _read_named(knowledge, context, surface, value=value, name=name, looks=looks)


def _look_ahead(
    knowledge: Knowledge, context: Context, surface: Surface, values: Iterable[JsonValue]
) -> dict[int, tuple[TextName, list[Look]]]:
    """Look at some definitions before one is judged, which takes less processor time.

    An engine finds its tables in the processor's cache as it moves from text to text; they are
    gone when a definition is judged.

    Returns:
        The name of each definition, and the looks at one that is not known, by its identity.
    """
    named = {}
    new = []
    for value in values:
        name = name_value(context, surface, value)
        looks: list[Look] = []
        named[id(value)] = name, looks
        is_known = knowledge.clean_texts.has(name.name, context.call, lasts=True)
        if 0 < name.size_bytes <= AHEAD_BYTES and not is_known:
            new.append((value, looks))
    if new:
        for engine in knowledge.scanners[surface]:
            for value, looks in new:
                looks.append(engine.look(value, surface, looks[-1] if looks else None))
    return named


def _read_named(
    knowledge: Knowledge,
    context: Context,
    surface: Surface,
    *,
    value: JsonValue,
    name: TextName,
    looks: Sequence[Look] = (),
) -> list[Finding]:
    """Run the rules over a value unless it was clean lately, with the looks at it, if any."""
    if knowledge.clean_texts.has(name.name, context.call, lasts=name.lasts):
        if context.budgets is not None:
            context.budgets.grow(name.size_bytes)
        return []
    from pipeguard.detect.scanning.scan_budget import NOTHING_FOUND  # no first answer needs it

    results = []
    look = None
    try:
        for number, engine in enumerate(knowledge.scanners[surface]):
            look = looks[number] if looks else engine.look(value, surface, look)
            result = engine.read(look, context.place, context.budgets, context.call)
            if result != NOTHING_FOUND:
                results.append(result)
    except UnicodeEncodeError:
        why = "a string contains a lone surrogate, which is half a character"
        raise Refusal("protocol.lone-surrogate", why, codes.INVALID_REQUEST) from None
    if results:
        from pipeguard.detect.matched import list_findings  # most runs find nothing

        return list_findings(knowledge, context, surface, value, results)
    knowledge.clean_texts.add(name.name, context.call, lasts=name.lasts)
    return []


# --- a message ------------------------------------------------------------------------------


def read_message(
    knowledge: Knowledge, context: Context, surface: Surface, message: Message, value: JsonValue
) -> list[Finding]:
    """Find threats in a message.

    Args:
        knowledge: of the server.
        context: where the message is.
        surface: of the texts to its receiver.
        message: the message.
        value: of the message, without definitions.

    Raises:
        Refusal: it could not be judged.
    """
    name = name_message(context, surface, message, value)
    findings = _read_named(knowledge, context, surface, value=value, name=name)
    frame, vault = message.frame, knowledge.vault
    if surface is Surface.TO_SERVER:
        if text_values.names_obeyed_file(frame) or b"\\u00" in frame:
            findings += _written_orders(knowledge, context, message.value)
        if placeholders.may_hold_placeholder(frame):
            # No placeholder spans a line end.
            if vault.restore("\n".join(walk_texts(message.value))).unknown_count:
                findings.append(make_block(replies.FOREIGN_PLACEHOLDER, FOREIGN_NOTE))
            findings += _misplaced_keys(knowledge, context, message.value)
        return findings
    if placeholders.may_hold_name(frame):
        from pipeguard.detect.cuts import forged_lines  # most runs see no such line

        forged = forged_lines(context, value, vault.sign)
        if have_private(findings):
            forged = [finding._replace(excerpt="") for finding in forged]
        findings += forged
    sent = vault.sent_secrets()
    if sent and not context.guard.policy.observes:
        findings += echoes(sent, frame, context, value)
    return findings


def _written_orders(knowledge: Knowledge, context: Context, value: JsonValue) -> list[Finding]:
    """Orders in what is written to a file that models obey, as if it had come back."""
    texts = [
        text
        for pair in text_values.list_named_strings(get_value(value, ARGUMENTS))
        for text in pair
    ]
    paths = "\n".join(text for text in texts if " " not in text.split("/")[-1])
    if not text_values.names_obeyed_file(paths.encode("utf-8", "replace")):
        return []
    return [
        each
        for each in read_value(knowledge, context, Surface.TO_CLIENT, value)
        if each.rule.startswith("injection.")
        and "/old" not in each.pointer.lower()  # is taken out
        and role(context.tool, tuple(each.pointer.split("/"))) is not ArgumentRole.SEARCHED
    ]


def _misplaced_keys(knowledge: Knowledge, context: Context, value: JsonValue) -> list[Finding]:
    """Keys of the server that a call would write to a folder other than their source."""
    from pipeguard.detect.counting import restored_file  # most runs put nothing back

    restored = restored_file(knowledge, context, value)
    if restored == value:
        return []
    return [
        finding._replace(start=0, end=0, note=_MISPLACED_NOTE)
        for finding in read_value(knowledge, context, Surface.TO_SERVER, restored)
        if finding.rule.startswith(SECRETS) and finding.action is Action.BLOCK
    ]


# --- what leaves ----------------------------------------------------------------------------


def find_leaks(knowledge: Knowledge, context: Context, message: Message) -> list[Finding]:
    """Find results of other tools and secrets that would leave with a request.

    Args:
        knowledge: of the server.
        context: where the request is, with the tool that it calls.
        message: the request.
    """
    tool = knowledge.tools.label(context.guard, context.tool or "")
    findings = _secret_leaks(knowledge, context, message, tool)
    if context.tool is None:
        return findings
    arguments = get_value(message.value, ARGUMENTS)
    strings = text_values.list_named_strings(arguments)
    flows = knowledge.flows
    leaks = leak_search.find_leaks(flows, tool, arguments, context.now, context.event)
    if tool.acts & leak_search.BEYOND_PAGES and text_values.is_posted(message.frame):
        leaks += leak_search.find_posted(flows, tool, arguments)
    leaks += _cut_keys(knowledge, context, strings[:MOST_STRINGS])
    if not leaks:
        return findings
    from pipeguard.detect.matched import list_leaks  # most runs find none

    return findings + list_leaks(knowledge, context, message, leaks)


def _secret_leaks(
    knowledge: Knowledge, context: Context, message: Message, tool: tool_labels.Tool
) -> list[Finding]:
    """A secret of the server's that would leave with a request that gets secrets back."""
    vault = knowledge.vault
    part = RESTORED.get(message.method or "")
    if part is None or vault.is_empty:
        return []
    given: JsonValue = {part: message.params.get(part)}
    confidence = secret_egress.rate_egress(vault, tool.labels, given, knowledge.flows.has_returned)
    secret_egress.forget_addresses()
    if confidence is None:
        return []
    place = context.place(("params", part))
    from pipeguard.detect.content_marks import ContentMarks  # most runs find none

    content = ContentMarks(context.guard.contents_key, given).of_part(SECRET_OUT, ())
    note = "a secret that was taken out of what this server said would leave with this request"
    level = leak_search.rate_severity(tool), confidence
    return [context.finding(SECRET_OUT, place, level, content=content, note=note)]


def _cut_keys(
    knowledge: Knowledge, context: Context, strings: Sequence[tuple[str, str]]
) -> list[Leak]:
    """The key that earlier calls began, if this call has the rest of it."""
    for begin, joined in knowledge.flows.join_key(context.event, [text for _, text in strings]):
        secrets = _sure_secrets(knowledge, context, joined)
        rules = {each.rule for each in secrets if each.action is Action.BLOCK}
        if rules and not _sure_secrets(knowledge, context, begin):
            note = f"the pieces of recent calls make a key ({min(rules)})"
            return [Leak(SECRET_OUT, Severity.CRITICAL, Confidence.HIGH, context.tool or "", note)]
    return []


def _sure_secrets(knowledge: Knowledge, context: Context, text: str) -> list[Finding]:
    """The secrets that are blocked for their form, or that an exception lets pass."""
    call: JsonValue = {"params": {"name": context.tool or "", "arguments": {"text": text}}}
    found = read_value(knowledge, context, Surface.TO_SERVER, call)
    stopped = (each for each in found if each.action is Action.BLOCK or each.note == EXEMPT)
    return [each for each in stopped if each.rule.startswith(SECRETS)]
