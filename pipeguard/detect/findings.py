"""Findings in a message: matches of rules, leaks between tools, and foreign placeholders.

Each match becomes a finding with the action of the policy. Knows no conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

from pipeguard.detect.commands.argument_roles import ArgumentRole, role
from pipeguard.detect.flows import leak_search, secret_egress, text_values
from pipeguard.detect.flows.leak import SECRET_OUT, Leak
from pipeguard.detect.flows.tool_labels import Label
from pipeguard.detect.flows.vault import RESTORED
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.restoring import FOREIGN_NOTE, echoes, has_foreign_placeholder
from pipeguard.detect.text.layouts import MIN_NUMBER_DIGITS
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import (
    Action,
    Confidence,
    Direction,
    Finding,
    MessageKind,
    Severity,
    make_block,
    tells_private,
)
from pipeguard.firewall.policy import Mode
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.json_values import JsonObject, JsonValue, Number, serialise
from pipeguard.firewall.protocol.message import ENVELOPE, Message
from pipeguard.firewall.protocol.places import ARGUMENTS, LISTS, OPENINGS, Surface, get_value
from pipeguard.firewall.session import replies
from pipeguard.firewall.session.guard import EXEMPT, Context, ReadPart
from pipeguard.firewall.session.placeholders import may_hold_name, may_hold_placeholder
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from pipeguard.detect.scanning.first_look import Look
    from pipeguard.detect.scanning.scan_budget import ScanResult

_SECRETS = "secrets."
# Messages of client and server before any call, with the same words in most runs.
HANDSHAKE = frozenset({*OPENINGS, *LISTS, "notifications/initialized", "ping"})
NAMED_BYTES = 2**16  # of a frame that may come again; its name costs 1 us/KB, and reading it 20
SHORT_BYTES = 1024  # of one that the first look remembers without hashing it
AHEAD_BYTES = 2**15  # of a definition that is looked at ahead; a longer one is read in parts
# As SDKs write the id: first or last, with or without spaces.
_AROUND_ID = (b'{"jsonrpc":"2.0","id":', b',"id":'), (b'{"jsonrpc": "2.0", "id": ', b', "id": ')
_ANSWER = b"to-client\0result\0tools/call\0"
_PROGRESS = b'"progressToken":'  # the key of a number that usually equals the id
MOST_STRINGS = 256  # of a call in which a key may begin or go on
_MISPLACED_NOTE = (
    "a key that this server returned would be written into another folder, in clear; a file for"
    " keys, such as .env, may have it"
)


class _Name(NamedTuple):
    """The hash of a value and of its place; empty if it has none.

    Attributes:
        digest: the hash.
        size_bytes: of the value.
        lasts: True if the value is part of most runs.
        looks: the engines' earlier looks at the value, if any.
        frame: the name of the short answer to a tool call that the value is; else empty.
    """

    digest: bytes = b""
    size_bytes: int = 0
    lasts: bool = False
    looks: Sequence[Look] = ()
    frame: bytes = b""


def _name(context: Context, surface: Surface, message: Message) -> _Name:
    """The hash of a message without its id and progress token, which no rule reads.

    All messages of one name have the same strings in the same places.
    """
    frame, token = message.frame, message.id_token
    is_plain = _has_number(message) and message.value.keys() <= ENVELOPE
    if len(frame) > NAMED_BYTES or token is None or not is_plain:
        return _Name()
    if not (rest := _without_id(frame, token)):
        return _Name()
    if rest.count(_PROGRESS) == 1:  # no string has it, whose quotes are escaped
        meta = get_value(message.value, ("params", "_meta"))
        progress = meta.get("progressToken") if isinstance(meta, dict) and len(meta) == 1 else None
        if isinstance(progress, Number) and len(progress) < MIN_NUMBER_DIGITS:
            rest = rest.replace(_PROGRESS + progress.encode(), _PROGRESS)
    place = f"{surface._value_}\0{context.part}\0{context.method}\0".encode()
    is_short = len(frame) <= SHORT_BYTES and place == _ANSWER
    return _Name(_hash(place + rest), len(frame), frame=rest if is_short else b"")


def name_frame(frame: bytes, id_token: str) -> bytes:
    """A short frame without its id, or the hash of a longer one; empty if a rule reads the id."""
    is_number = len(id_token) < MIN_NUMBER_DIGITS and id_token.isdecimal()
    rest = _without_id(frame, id_token) if is_number else b""
    return _hash(_ANSWER + rest) if rest and len(frame) > SHORT_BYTES else rest


def _hash(text: bytes) -> bytes:
    return blake2b(text, digest_size=32).digest()


def _without_id(frame: bytes, id_token: str) -> bytes:
    """A frame without its id, in either of the usual places; empty if it is in another."""
    written = id_token.encode()
    for first, last in _AROUND_ID:
        if frame.startswith(first + written + b","):
            return frame[len(first) + len(written) :]
        if frame.endswith(last + written + b"}"):
            return frame[: -len(written) - 1]
    return b""


def _has_number(message: Message) -> bool:
    """True if no rule reads the id: not a string, nor in a list that may be text (text.layouts)."""
    token = message.id_token
    return token is not None and len(token) < MIN_NUMBER_DIGITS and token.isdecimal()


def _name_value(context: Context, surface: Surface, value: JsonValue) -> _Name:
    names: list[JsonValue] = [step for step in context.prefix if isinstance(step, str)]
    try:
        text = serialise([surface.value, context.part, context.method, names, value])
    except UnicodeEncodeError:
        return _Name()
    return _Name(_hash(text), len(text), lasts=True)


def _without(value: JsonObject, member: str, kind: type) -> JsonObject:
    """An answer without the member that firewall.session.definitions judges."""
    result = value.get("result")
    if not isinstance(result, dict) or not isinstance(result.get(member), kind):
        return value
    return {**value, "result": {key: item for key, item in result.items() if key != member}}


class Findings(Knowledge):
    """The findings in messages of a server and its client, given the server's memory."""

    def read_message(
        self, context: Context, direction: Direction, message: Message
    ) -> list[Finding]:
        """The findings in a message, without those in definitions (firewall.session.definitions).

        Args:
            context: where the message is.
            direction: which way it travels.
            message: the message.

        Raises:
            Refusal: it could not be judged.
        """
        vault = self.vault
        value: JsonValue = message.value
        if direction is Direction.TO_SERVER:
            findings = self._scan_message(context, Surface.TO_SERVER, message, value)
            if text_values.names_obeyed_file(message.frame) or b"\\u00" in message.frame:
                findings += self._written_orders(context, value)
            if may_hold_placeholder(message.frame):
                if has_foreign_placeholder(vault, value):
                    findings.append(make_block(replies.FOREIGN_PLACEHOLDER, FOREIGN_NOTE))
                findings += self._misplaced_keys(context, value)
            return findings
        if message.kind is MessageKind.RESULT and context.method in LISTS:
            value = _without(message.value, LISTS[context.method][0], list)
        elif message.kind is MessageKind.RESULT and context.method in OPENINGS:
            value = _without(message.value, "instructions", str)
        findings = self._scan_message(context, Surface.TO_CLIENT, message, value)
        if may_hold_name(message.frame):
            from pipeguard.detect.cuts import forged_lines  # most runs see no such line

            forged = forged_lines(context, value, self.sign)
            if any(tells_private(finding.rule) for finding in findings):
                forged = [finding._replace(excerpt="") for finding in forged]
            findings += forged
        sent = vault.sent_secrets() if vault is not None else {}
        if sent and context.guard.policy.mode is not Mode.OBSERVE:
            findings += echoes(sent, message.frame, context, value)
        return findings

    def _written_orders(self, context: Context, value: JsonValue) -> list[Finding]:
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
            for each in self.read(context, Surface.TO_CLIENT, value)
            if each.rule.startswith("injection.")
            and "/old" not in each.pointer.lower()  # is taken out
            and role(context.tool, tuple(each.pointer.split("/"))) is not ArgumentRole.SEARCHED
        ]

    def _scan_message(
        self, context: Context, surface: Surface, message: Message, value: JsonValue
    ) -> list[Finding]:
        """Run the rules of one surface over a message, unless it was clean lately with any id.

        For the handshake, `value` is the message without definitions.
        """
        if context.method not in HANDSHAKE:
            name = _name(context, surface, message)
        elif _has_number(message) and isinstance(value, dict):
            without_id = {key: item for key, item in value.items() if key != "id"}
            name = _name_value(context, surface, without_id)
        else:
            name = _name_value(context, surface, value)
        return self._scan_named(context, surface, value, name)

    def read(self, context: Context, surface: Surface, value: JsonValue) -> list[Finding]:
        """Run the rules of one surface over a value.

        Args:
            context: where the value is.
            surface: the surface that it is judged as.
            value: a whole message, or a part of one.

        Raises:
            Refusal: it could not be judged.
        """
        name = _name_value(context, surface, value) if surface is Surface.DEFINITIONS else _Name()
        return self._scan_named(context, surface, value, name)

    def look_ahead(self, context: Context, values: Iterable[JsonValue]) -> ReadPart:
        """Look at some definitions before one is judged, which takes less processor time.

        An engine finds its tables in the processor's cache as it moves from text to text; they are
        gone when a definition is judged.

        Args:
            context: where one of them is; in the same list as all.
            values: the definitions.

        Returns:
            A function that judges a definition as `read` does, starting from the look at it.
        """
        surface = Surface.DEFINITIONS
        named = {id(value): (value, _name_value(context, surface, value)) for value in values}
        new = [
            (value, name)
            for value, name in named.values()
            if 0 < name.size_bytes <= AHEAD_BYTES and not self._is_clean(context, name)
        ]
        looks: list[list[Look]] = [[] for _ in new]
        for engine in self.scanners[surface] if new else ():
            for (value, _), seen in zip(new, looks, strict=True):
                seen.append(engine.look(value, surface, seen[-1] if seen else None))
        for (value, name), seen in zip(new, looks, strict=True):
            named[id(value)] = value, name._replace(looks=seen)

        def read(context: Context, value: JsonValue) -> list[Finding]:
            known = named.get(id(value))  # which keeps the value, so no other has its id
            if known is None:
                return self.read(context, surface, value)
            return self._scan_named(context, surface, value, known[1])

        return read

    def _is_clean(self, context: Context, name: _Name) -> bool:
        return self.clean_texts.has(name.digest, context.call, lasts=name.lasts)

    def _scan_named(
        self, context: Context, surface: Surface, value: JsonValue, name: _Name
    ) -> list[Finding]:
        """Run the rules over a value unless it has a name that was clean lately."""
        if name.digest and self._is_clean(context, name):
            if context.budgets is not None:
                context.budgets.grow(name.size_bytes)
            return []
        results = self._run_rules(context, surface, value, name.looks)
        if results:
            from pipeguard.detect.matched import list_findings  # most runs find nothing

            return list_findings(self, context, surface, value, results)
        if name.digest:
            self.clean_texts.add(name.digest, context.call, lasts=name.lasts)
        if name.frame:
            self.clean_frames.add(name.frame, context.call, lasts=False)
        return []

    def _run_rules(
        self, context: Context, surface: Surface, value: JsonValue, looks: Sequence[Look]
    ) -> list[ScanResult]:
        """The results of the engines of one surface that found anything in a value."""
        from pipeguard.detect.scanning.scan_budget import NOTHING_FOUND  # no first answer needs it

        results: list[ScanResult] = []
        look: Look | None = None
        try:
            for number, engine in enumerate(self.scanners[surface]):
                look = looks[number] if looks else engine.look(value, surface, look)
                result = engine.read(look, context.place, context.budgets, context.call)
                if result is not NOTHING_FOUND and result != NOTHING_FOUND:
                    results.append(result)
        except UnicodeEncodeError:
            why = "a string contains a lone surrogate, which is half a character"
            raise Refusal("protocol.lone-surrogate", why, codes.INVALID_REQUEST) from None
        return results

    def find_leaks(self, context: Context, message: Message) -> list[Finding]:
        """The leaks through a request: results of other tools, and secrets of the server's.

        Args:
            context: where the request is, with the tool that it calls.
            message: the request.
        """
        findings = self._secret_leaks(context, message)
        if context.tool is None:
            return findings
        tool = self.tool(context.guard, context.tool)
        arguments = get_value(message.value, ARGUMENTS)
        strings = text_values.list_named_strings(arguments)
        leaks = leak_search.find_leaks(self.flows, tool, arguments, context.now, context.event)
        leaks += self._cut_keys(context, strings[:MOST_STRINGS])
        if not leaks:
            return findings
        from pipeguard.detect.matched import list_leaks  # most runs find none

        return findings + list_leaks(self, context, message, leaks)

    def extract_values(self, message: Message) -> frozenset[str]:
        """The short values among a call's arguments: ids, names, addresses."""
        return text_values.list_short_values(get_value(message.value, ARGUMENTS))

    def _secret_leaks(self, context: Context, message: Message) -> list[Finding]:
        """A secret of the server's that would leave with a request that gets secrets back."""
        vault, flows = self.vault, self.flows
        if vault is None or vault.is_empty:
            return []
        part, params = RESTORED.get(message.method or ""), message.value.get("params")
        if part is None or not isinstance(params, dict):
            return []
        tool = None if context.tool is None else self.tool(context.guard, context.tool)
        labels = Label.NONE if tool is None else tool.labels
        given: JsonValue = {part: params.get(part)}
        confidence = secret_egress.rate_egress(vault, labels, given, flows.has_returned)
        secret_egress.forget_addresses()
        if confidence is None:
            return []
        place = context.place(("params", part))
        from pipeguard.detect.content_marks import ContentMarks  # most runs find none

        content = ContentMarks(context.guard.contents_key, given).of_part(SECRET_OUT, ())
        note = "a secret that was taken out of what this server said would leave with this request"
        level = Severity.CRITICAL, confidence
        return [context.finding(SECRET_OUT, place, level, content=content, note=note)]

    def _cut_keys(self, context: Context, strings: Sequence[tuple[str, str]]) -> list[Leak]:
        """The key that earlier calls began, if this call has the rest of it."""
        for begin, joined in self.flows.join_key(context.event, [text for _, text in strings]):
            secrets = self._sure_secrets(context, joined)
            rules = {each.rule for each in secrets if each.action is Action.BLOCK}
            if rules and not self._sure_secrets(context, begin):
                note = f"the pieces of recent calls make a key ({min(rules)})"
                tool = context.tool or ""
                return [Leak(SECRET_OUT, Severity.CRITICAL, Confidence.HIGH, tool, note)]
        return []

    def _sure_secrets(self, context: Context, text: str) -> list[Finding]:
        """The secrets that are blocked for their form, or that an exception lets pass."""
        call: JsonValue = {"params": {"name": context.tool or "", "arguments": {"text": text}}}
        found = self.read(context, Surface.TO_SERVER, call)
        stopped = (each for each in found if each.action is Action.BLOCK or each.note == EXEMPT)
        return [each for each in stopped if each.rule.startswith(_SECRETS)]

    def _misplaced_keys(self, context: Context, value: JsonValue) -> list[Finding]:
        """Keys of the server that a call would write to a folder other than their source."""
        from pipeguard.detect.counting import restored_file  # most runs put nothing back

        restored = restored_file(self, context, value)
        if restored is None or restored == value:
            return []
        return [
            finding._replace(start=0, end=0, note=_MISPLACED_NOTE)
            for finding in self.read(context, Surface.TO_SERVER, restored)
            if finding.rule.startswith(_SECRETS) and finding.action is Action.BLOCK
        ]
