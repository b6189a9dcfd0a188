"""Rules over texts and their views, in one pass each. Knows no messages' meaning, no policy.

One Hyperscan database holds all patterns of a surface: a pass over a block of text says which
rules could match in it, in time linear in the text for any input. Only there, and only from
the hit on, the rule's own expression is run. The same pass finds the cues of encodings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from operator import itemgetter
from typing import NamedTuple

from pipeguard.core import folding, views
from pipeguard.core.arguments import deeds
from pipeguard.core.checks import Check, placeholder, run
from pipeguard.core.cues import CUES, SQUEEZED_CUES, Cue
from pipeguard.core.decoding import Budget, Decoded
from pipeguard.core.finding import Confidence
from pipeguard.core.message import JsonValue
from pipeguard.core.places import MASKED_STEP, Path, Surface
from pipeguard.core.plan import Plan, make
from pipeguard.core.roles import Role, role
from pipeguard.core.rules import Rule, View, Written
from pipeguard.core.surroundings import is_disguised, is_quoted, masked, touched
from pipeguard.core.text import Text

BLOCK_BYTES = 8192  # scanned at a time: each rule reports at most once for a block
OVERLAP_BYTES = 1024  # longest match before an open tail
TAIL_BYTES = 4096  # of an open tail that is looked at beyond the block
MAX_MATCHES_PER_RULE = 8  # in one message; more would say nothing new
# What `re` may be given for one message beside half its length, about 50 ns a byte; what one match
# costs to look at, in the same coin. Beyond it a message is unscannable.
CONFIRM_BYTES = 2**19
CANDIDATE_BYTES = 64
SHORT_BYTES = 1024  # of decoded text: orders are encoded to hide, documents to be carried
JOINED_BYTES = 2**16  # of results whose strings are also read with nothing between
MAX_LOOKS = 32  # at the same words in other surroundings, which may make them surer
IDLE_BYTES = 4096  # of a string: no match is most of it
LEVELS = 2  # of encodings inside each other

PlaceOf = Callable[[Path], str]


class Match(NamedTuple):
    """What a rule found.

    Attributes:
        rule: the rule.
        confidence: after its checks.
        view: the chain of readings, as `text` or `base64>folded`.
        path: of the string that it stands in, from the scanned value down.
        start: its span in that string, in code points.
        end: after its last character.
        exact: True where the span is the match itself and not the stretch that it hides in.
        paths: all strings that it is spread over, where it is more than one.
        excerpt: masked.
    """

    rule: Rule
    confidence: Confidence
    view: str
    path: Path
    start: int
    end: int
    exact: bool
    paths: tuple[Path, ...]
    excerpt: str


class Seen(NamedTuple):
    """What was seen in one value.

    Attributes:
        matches: what the rules found.
        undecoded: True where more was encoded in it than is decoded for one message.
        unfinished: True where the text is made so that judging it would take too long.
    """

    matches: list[Match]
    undecoded: bool
    unfinished: bool


_NEVER = r"\xff{9}"  # no byte of UTF-8
NOTHING = Seen([], undecoded=False, unfinished=False)


def home(rule: Rule) -> Surface:
    """The one engine that a rule is compiled into, of the surfaces that it is run over."""
    if Surface.TO_SERVER in rule.surfaces:
        return Surface.TO_SERVER
    return Surface.TO_CLIENT if Surface.TO_CLIENT in rule.surfaces else Surface.DEFINITIONS


def build(rules: Iterable[Rule], surface: Surface) -> tuple[bytes, bytes, bytes]:
    """Compile the rules whose home a surface is for this machine's processor.

    Returns:
        What `Engine` loads: for texts as they are, for squeezed ones, and for what arguments do.

    Raises:
        EngineError: the engine is absent, or it does not take a pattern.
    """
    chosen = [rule for rule in rules if home(rule) is surface]
    acts = CUES[Cue.ACTS] if surface is Surface.TO_SERVER else _NEVER
    cues = [(acts if cue is Cue.ACTS else CUES[cue], False) for cue in Cue]
    plain = [(rule.pattern, rule.ignore_case) for rule in chosen if _is_plain(rule)]
    acting = [(rule.pattern, rule.ignore_case) for rule in chosen if View.ACTS in rule.views]
    squeezed = list(filter(itemgetter(0), map(_squeezed, chosen)))
    return make(cues + plain), make(squeezed), make(acting)


class Engine:
    """The rules of one home, ready to run. One thread at a time may use it.

    Attributes:
        surface: whose home it is.
        rules: in the order of their patterns.
        surfaces: all that any of its rules is run over.
        keyed: True where texts are read as `key: value`, as they go to a server.
    """

    def __init__(
        self, rules: Iterable[Rule], surface: Surface, plain: bytes, squeezed: bytes, acts: bytes
    ) -> None:
        """Load what `build` made of the same rules.

        Raises:
            EngineError: the databases are not for these rules or this processor.
        """
        self.surface = surface
        self.rules = tuple(rule for rule in rules if home(rule) is surface)
        self.surfaces = frozenset(s for rule in self.rules for s in rule.surfaces)
        self.keyed = surface is Surface.TO_SERVER
        self._looked_for = tuple(filter(_is_plain, self.rules))
        self._squeezable = tuple(rule for rule in self.rules if _squeezed(rule)[0])
        self._plain = Plan(plain)
        self._squeezed = Plan(squeezed)
        self._acting = tuple(rule for rule in self.rules if View.ACTS in rule.views)
        self._acts = Plan(acts)
        self._compiled: dict[tuple[str, bool], re.Pattern[bytes]] = {}

    def clone(self) -> Engine:
        """The same rules for another thread."""
        other = copy(self)
        other._plain = self._plain.share()
        other._squeezed = self._squeezed.share()
        other._acts = self._acts.share()
        return other

    def scan(self, value: JsonValue, place_of: PlaceOf, surface: Surface) -> Seen:
        """Run the rules for a surface over every string and key of a value.

        Args:
            value: any JSON value.
            place_of: names the place of a path below the value.
            surface: what the value is judged for.

        Raises:
            UnicodeEncodeError: a string holds a lone surrogate.
            EngineError: the engine failed.
        """
        text = Text(value, keyed=self.keyed)
        if self._is_plainly_clean(text):
            return NOTHING
        scan = _Scan(self, text, place_of, surface)
        if self.keyed:
            scan.tool = _tool(value)
        scan.run()
        return Seen(scan.matches, scan.budget.spent or scan.unread, scan.exhausted)

    def _is_plainly_clean(self, text: Text) -> bool:
        """True for a short text in which no pattern and no cue stands: most of all texts."""
        data = text.data
        if len(data) > BLOCK_BYTES or not data.isascii():
            return False
        if not (self.keyed or text.is_several):
            return not self._plain.look(data)
        joined = text.joined()
        # One pass over both: what would match across the gap is looked at again, and is none.
        if self._plain.look(data + b"\n\n" + joined):
            return False
        squeezed = folding.squeeze(joined, words=False) if self.keyed else joined
        return len(squeezed) == len(joined) or not self._squeezed.look(squeezed)

    def mask(self, data: bytes) -> bytes:
        """Replace the secrets in free text, as a line of a log, by the rule's name."""
        text = data.decode("utf-8", "replace").encode()
        scan = _Scan(self, Text("", keyed=self.keyed), lambda _: "log.message", self.surface)
        spans = [span for span in scan.spans(text) if span[2].pack == "secrets"]
        for start, end, rule in sorted(spans, key=itemgetter(0), reverse=True):
            text = text[:start] + b"[masked:" + rule.id.encode() + b"]" + text[end:]
        return text if spans else data

    def expression(self, rule: Rule, *, squeezed: bool) -> re.Pattern[bytes]:
        """The rule's own expression, compiled when it is first needed."""
        key = (rule.id, squeezed)
        found = self._compiled.get(key)
        if found is None:
            source = _squeezed(rule)[0] if squeezed else rule.pattern
            flags = re.ASCII | (re.IGNORECASE if rule.ignore_case else 0)
            found = self._compiled[key] = re.compile(source.encode(), flags)
        return found

    def look_at_acts(self, data: bytes) -> list[Rule]:
        """Which rules could match in the lines that tell what arguments do."""
        return [self._acting[index] for index in self._acts.look(data)]

    def look(self, data: bytes, *, squeezed: bool) -> tuple[list[Cue], list[Rule]]:
        """Which cues stand in a block, and which rules could match in it."""
        if squeezed:
            return [], [self._squeezable[index] for index in self._squeezed.look(data)]
        cues: list[Cue] = []
        hits: list[Rule] = []
        for index in self._plain.look(data):
            if index < len(Cue):
                cues.append(Cue(index))
            else:
                hits.append(self._looked_for[index - len(Cue)])
        return cues, hits


class _Scan:
    """One value, being scanned."""

    def __init__(self, engine: Engine, text: Text, place_of: PlaceOf, surface: Surface) -> None:
        self.engine = engine
        self.surface = surface
        self.text = text
        self.place_of = place_of
        self.budget = Budget()
        self.matches: list[Match] = []
        self.tool: str | None = None
        self.unread = False
        # What was matched, how sure its best match was, and how often it was looked at.
        self._seen: dict[tuple[str, bytes], tuple[int, int]] = {}
        self._per_rule: dict[str, int] = {}
        self._to_confirm = CONFIRM_BYTES + len(text.data) // 2
        self.exhausted = False

    def run(self) -> None:
        """Read the text in every view that could differ from it."""
        data = self.text.data
        if not self.engine.keyed:
            data = folding.soften(data)
        cued = self._pass(data, View.TEXT, _Origin(self, "text"))
        squeezable = _taken(cued)
        acts = cued.pop(Cue.ACTS, None)
        self._decode(data, cued, _Origin(self, ""), LEVELS)
        folded, changed = folding.fold(data)
        if changed:
            origin = _Origin(self, "folded", whole=True)
            cued = self._pass(folded, View.FOLDED, origin, changed)
            squeezable += _taken(cued)
            acts = cued.pop(Cue.ACTS, None) or acts
            self._decode(folded, cued, origin, LEVELS)
        if acts and self.engine.keyed:
            self._read_acts()
        if self.engine.keyed:
            self._join()
            return
        for low, high in folding.merged(squeezable):
            self._squeeze(folded, low, high, whole=bool(changed))
        if self.text.is_several and len(data) <= JOINED_BYTES:
            # A word that is cut in two by the end of a content block.
            self._pass(self.text.joined(), View.JOINED, _Origin(self, "joined", joined=True))

    def _join(self) -> None:
        """Towards a server: what was torn into several strings, and what stands between spaces."""
        joined = self.text.joined()
        if self.text.is_several:
            self._pass(joined, View.JOINED, _Origin(self, "joined", joined=True))
        squeezed = folding.squeeze(joined, words=False)
        if len(squeezed) != len(joined):
            origin = _Origin(self, "squeezed", joined=True, squeezed_from=joined)
            self._pass(squeezed, View.SQUEEZED, origin)

    def _read_acts(self) -> None:
        """Towards a server: what the arguments would do."""
        found, self.unread = deeds(self.text, self.tool)
        if not found:
            return
        parts = views.Parts(
            [Decoded(deed.data, "acts", deed.start, deed.end) for deed in found],
            self.text.data,
        )
        data = parts.data
        origin = _Origin(self, "", outer=_Origin(self, ""), parts=parts)
        for low, high in _blocks(len(data)):
            for rule in self.engine.look_at_acts(data[low:high]):
                if self.surface in rule.surfaces and not self.exhausted:
                    matches = self._confirmed(rule, data, low, high + TAIL_BYTES, squeezed=False)
                    self._match(rule, data, matches, View.ACTS, origin)

    def spans(self, data: bytes) -> list[tuple[int, int, Rule]]:
        """The matches of a text as it is: start, end, rule."""
        return [
            (*_secret_span(match), rule)
            for low, high in _blocks(len(data))
            for rule in self.engine.look(data[low:high], squeezed=False)[1]
            for match in self._confirmed(rule, data, low, high + TAIL_BYTES, squeezed=False)
            if self._confidence(rule, data, match, View.TEXT) is not None
        ]

    def _pass(
        self,
        data: bytes,
        view: View,
        origin: _Origin,
        ranges: list[folding.Range] | None = None,
    ) -> dict[Cue, list[folding.Range]]:
        """Run the rules over a reading, or over the ranges of it that are new.

        Returns:
            For each cue of an encoding, the ranges in which it was seen.
        """
        cued: dict[Cue, list[folding.Range]] = {}
        squeezed = view is View.SQUEEZED
        for low, high in _blocks(len(data), ranges):
            if self.exhausted:
                break
            cues, hits = self.engine.look(data[low:high], squeezed=squeezed)
            for cue in cues:
                folding.extend(cued.setdefault(cue, []), low, high)
            for rule in hits:
                if view not in rule.views or self.surface not in rule.surfaces:
                    continue
                if self._per_rule.get(rule.id, 0) >= MAX_MATCHES_PER_RULE:
                    continue
                for first, last in origin.busy(rule, low, high):
                    tail = TAIL_BYTES if last == high else 0
                    matches = self._confirmed(rule, data, first, last + tail, squeezed=squeezed)
                    self._match(rule, data, matches, view, origin)
        return cued

    def _decode(
        self, data: bytes, cued: dict[Cue, list[folding.Range]], origin: _Origin, levels: int
    ) -> None:
        if not self.engine.keyed:
            cued.pop(Cue.LABELS, None)  # only what goes out goes out by a host's name
        found = views.decode(data, cued, self.budget) if cued else []
        if not found:
            return
        parts = views.Parts(found, data)
        inner = _Origin(self, "", whole=origin.whole, outer=origin, parts=parts)
        decoded = parts.data
        cued = self._pass(decoded, View.DECODED, inner)
        folded, changed = folding.fold(decoded)
        if changed:
            self._pass(folded, View.DECODED, _Origin(self, "", outer=inner), changed)
        if levels > 1:
            self._decode(decoded, cued, inner, levels - 1)

    def _squeeze(self, data: bytes, low: int, high: int, *, whole: bool) -> None:
        """Towards a client: letters that stand apart, words that stand together."""
        stretch = data[low:high]
        origin = _Origin(self, "squeezed", whole=whole, squeezed_from=stretch, offset=low)
        self._pass(folding.squeeze(stretch, words=True), View.SQUEEZED, origin)

    def _match(
        self,
        rule: Rule,
        data: bytes,
        matches: Iterable[re.Match[bytes]],
        view: View,
        origin: _Origin,
    ) -> None:
        for match in matches:
            self._to_confirm -= CANDIDATE_BYTES
            if self._to_confirm < 0:
                self.exhausted = True
                return
            key = (rule.id, match[0])
            known, looks = self._seen.get(key, (-1, 0))
            if known >= Confidence.HIGH or looks >= MAX_LOOKS:
                continue
            start, end = _secret_span(match)
            confidence = self._confidence(rule, data, match, view)
            if confidence is None:
                self._seen[key] = (Confidence.HIGH, 0)  # it is none wherever it stands
                continue
            self._seen[key] = (known, looks + 1)
            if confidence <= known:
                continue
            if not origin.admits(start, end):
                continue
            found = origin.located(rule, confidence, data, start, end)
            if found is None:
                continue
            self._seen[key] = (confidence, looks + 1)
            self.matches.append(found)
            self._per_rule[rule.id] = self._per_rule.get(rule.id, 0) + 1
            if self._per_rule[rule.id] >= MAX_MATCHES_PER_RULE:
                return

    def _confirmed(
        self, rule: Rule, data: bytes, low: int, high: int, *, squeezed: bool
    ) -> Iterator[re.Match[bytes]]:
        """The rule's own matches in a block: the engine tells that there is one, not which."""
        high = min(len(data), high)
        self._to_confirm -= high - low
        if self._to_confirm < 0:
            self.exhausted = True
            return iter(())
        return self.engine.expression(rule, squeezed=squeezed).finditer(data, low, high)

    def _confidence(
        self, rule: Rule, data: bytes, match: re.Match[bytes], view: View
    ) -> Confidence | None:
        """How sure a match is after its checks; None where it is none."""
        start, end = _secret_span(match)
        secret = data[start:end]
        results = [run(spec, secret) for spec in rule.check]
        if any(run(spec, secret) is not Check.HOLDS for spec in rule.require):
            return None
        if Check.HOLDS in results:
            return Confidence.HIGH
        if rule.placeholders and placeholder(secret):
            return None
        confidence = Confidence.LOW if Check.FAILS in results else rule.confidence
        if view in (View.TEXT, View.FOLDED, View.DECODED) and touched(rule, data, match):
            confidence = _lower(confidence)
        if view is View.SQUEEZED and rule.pack == "secrets":
            confidence = _lower(confidence)
        if rule.quoted and is_quoted(data, match.start(), match.end()):
            confidence = _lower(confidence)
        return confidence


class _Origin(NamedTuple):
    """The way back from a reading to the text that it was made of.

    Attributes:
        scan: whose text it is a reading of.
        chain: the view's name, where it is made of the text itself.
        whole: True where a span in it is none in the text: strings are then told as a whole.
        joined: True where it is made of the strings joined.
        squeezed_from: what it was squeezed from.
        offset: where that begins in the text.
        outer: of the reading that it was decoded or folded from.
        parts: what was decoded, where it is made of that.
    """

    scan: _Scan
    chain: str
    whole: bool = False
    joined: bool = False
    squeezed_from: bytes | None = None
    offset: int = 0
    outer: _Origin | None = None
    parts: views.Parts | None = None

    def admits(self, start: int, end: int) -> bool:
        """False where the match is no other than one of the plain text."""
        if self.squeezed_from is not None:
            words = not self.scan.engine.keyed
            first, last = folding.unsqueezed(self.squeezed_from, start, end, words=words)
            return is_disguised(self.squeezed_from[first:last], words=words)
        return not self.joined or self.scan.text.locate_joined(start, end)[1]

    def located(
        self, rule: Rule, confidence: Confidence, data: bytes, start: int, end: int
    ) -> Match | None:
        """Name the string that the match stands in; None where the rule does not ask there."""
        text = self.scan.text
        found = data[start:end]
        while start < end - 1 and data[start] in b" \t\r\n":
            start += 1  # so that the match stands in its own line
        if rule.places and not self.joined and not self._may_stand(rule, start, end):
            return None
        view, low, high, exact = self._trace(start, end)
        paths: list[Path] = []
        if self.joined:
            paths, _ = text.locate_joined(low, high)
            path, exact = paths[0], False
        else:
            path = text.path_at(low)
        if rule.places and not _placed(rule, self.scan.place_of(path)):
            return None
        if rule.written is not Written.KEEP:
            purpose = role(self.scan.tool, path)
            if rule.written is Written.VALUES and purpose in _PROGRAMS:
                return None
            does_nothing = purpose is Role.ASKED or (
                purpose is Role.WRITTEN and not text.is_most(low, len(found))
            )
            if does_nothing and rule.written is Written.LOWER:
                confidence = _lower(confidence)
            elif does_nothing:
                return None
        exact = exact and not self.whole
        first, last = text.span(low, high) if exact else (0, 0)
        if _HIDDEN.search(view):
            confidence = Confidence.HIGH  # nobody hides harmless words
        elif rule.pack != "secrets" and len(data) <= SHORT_BYTES and _ENCODED.search(view):
            confidence = Confidence(min(Confidence.HIGH, confidence + 1))  # nor encodes them
        excerpt = masked(rule, found)
        if rule.pack == "secrets":
            path = _untold(path, found.decode("utf-8", "replace"))
        return Match(rule, confidence, view, path, first, last, exact, tuple(paths), excerpt)

    def _may_stand(self, rule: Rule, start: int, end: int) -> bool:
        """False where the rule does not ask in the string that the stretch stands in for sure."""
        path = self._path(start, end)
        return path is None or _placed(rule, self.scan.place_of(path))

    def busy(self, rule: Rule, low: int, high: int) -> list[folding.Range]:
        """The stretch without what is only written or looked for, where that is much of it."""
        if rule.written is Written.KEEP or self.joined or self.squeezed_from is not None:
            return [(low, high)]
        if self.outer is not None or self.whole:
            path = self._path(low, high) if high - low >= IDLE_BYTES else None
            return [] if path is not None and self._is_idle(rule, path) else [(low, high)]
        busy: list[folding.Range] = []
        for start, end, path in self.scan.text.segments(low, high):
            if not self._is_idle(rule, path):
                folding.extend(busy, max(low, start), min(high, end))
        idle = high - low - sum(end - start for start, end in busy)
        return busy if idle >= IDLE_BYTES else [(low, high)]

    def _is_idle(self, rule: Rule, path: Path) -> bool:
        purpose = role(self.scan.tool, path)
        return purpose in (Role.ASKED, Role.WRITTEN) or (
            rule.written is Written.VALUES and purpose in _PROGRAMS
        )

    def _path(self, start: int, end: int) -> Path | None:
        """The string that a stretch stands in; None where it may be more than one."""
        origin = self
        while origin.outer is not None:
            if origin.parts is not None:
                _, _, start, end = origin.parts.at(start)
            origin = origin.outer
        path = self.scan.text.path_at(start)
        return path if path == self.scan.text.path_at(end - 1) else None

    def _trace(self, start: int, end: int) -> tuple[str, int, int, bool]:
        """The chain of readings down to the text, and the span there, in bytes."""
        if self.squeezed_from is not None:
            words = not self.scan.engine.keyed
            low, high = folding.unsqueezed(self.squeezed_from, start, end, words=words)
            return "squeezed", low + self.offset, high + self.offset, not self.whole
        if self.parts is not None and self.outer is not None:
            view = self.parts.at(start).view
            chain, low, high, _ = self.outer._trace(*self.parts.origin(start, end))
            return f"{chain}>{view}".removeprefix(">"), low, high, False
        if self.outer is not None:  # a folded reading of decoded parts
            chain, low, high, _ = self.outer._trace(start, end)
            return f"{chain}>folded", low, high, False
        return self.chain, start, end, True


_PROGRAMS = (Role.COMMAND, Role.CODE, Role.STATEMENT)
_HIDDEN = re.compile("tags|selectors|bits")
_ENCODED = re.compile("base64|hex|base32")
_SPACE_TOKEN = re.compile(
    r"(?:\\s|(?<!\\) |\[(?:[^\]\\]|\\.)*\\s(?:[^\]\\]|\\.)*\])(?:\{[0-9,]*\}|[+*?])?\??"
)


def _is_plain(rule: Rule) -> bool:
    """True where a rule is run over a text with its spaces."""
    return not rule.views <= {View.SQUEEZED, View.ACTS}


def _tool(value: JsonValue) -> str | None:
    """The tool that a message calls."""
    params = value.get("params") if isinstance(value, dict) else None
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else None


def _squeezed(rule: Rule) -> tuple[str, bool]:
    """The rule's pattern for a text without spaces; empty where it is not run over one."""
    if View.SQUEEZED not in rule.views:
        return "", False
    pattern = rule.pattern
    if rule.pack != "secrets":
        pattern = _SPACE_TOKEN.sub(lambda m: m[0] if m[0].startswith("[^") else "", pattern)
        pattern = pattern.replace("\\b", "")
    return pattern, rule.ignore_case


def _blocks(length: int, ranges: list[folding.Range] | None = None) -> Iterator[folding.Range]:
    """Where to look, in pieces that overlap by the longest match."""
    if ranges is None:
        if length <= BLOCK_BYTES + OVERLAP_BYTES:
            yield 0, length
            return
        ranges = [(0, length)]
    for low, high in ranges:
        start, stop = max(0, low - OVERLAP_BYTES), min(length, high + OVERLAP_BYTES)
        for begin in range(start, stop, BLOCK_BYTES):
            yield max(start, begin - OVERLAP_BYTES), min(stop, begin + BLOCK_BYTES)


def _taken(cued: dict[Cue, list[folding.Range]]) -> list[folding.Range]:
    """Take the cues of what may be squeezed out of those of encodings."""
    return [found for cue in SQUEEZED_CUES for found in cued.pop(cue, ())]


def _secret_span(match: re.Match[bytes]) -> tuple[int, int]:
    if "secret" in match.re.groupindex and match.start("secret") >= 0:
        return match.span("secret")
    return match.span()


def _untold(path: Path, secret: str) -> Path:
    """A path without a key that holds the secret itself."""
    return tuple(MASKED_STEP if isinstance(step, str) and secret in step else step for step in path)


def _placed(rule: Rule, place: str) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(place, pattern) for pattern in rule.places)


def _lower(confidence: Confidence) -> Confidence:
    return Confidence(max(0, confidence - 1))
