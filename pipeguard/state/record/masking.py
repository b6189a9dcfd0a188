"""Takes private texts out of what is recorded, and puts surrogates in their place.

Within a record a value keeps its surrogate, also encoded, and so does each part of it.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from json import dumps
from typing import TYPE_CHECKING

from pipeguard.detect.detector import Detection
from pipeguard.detect.flows import secret_values, text_values
from pipeguard.detect.flows.vault import Vault
from pipeguard.errors import Refusal
from pipeguard.firewall.finding import TO_SERVER, Direction, tells_private
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, as_object, serialise, walk_texts
from pipeguard.firewall.protocol.places import Surface, name_place
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.session.placeholders import PLACEHOLDER, may_hold_placeholder
from pipeguard.firewall.session.rewrite import CUT_SIGN, LINE, sign_line
from pipeguard.secrets_in_use import IN_USE
from pipeguard.state.record.random_runs import LEAST_RUN, find_random_runs
from pipeguard.state.record.surrogate_memory import SurrogateMemory
from pipeguard.state.record.surrogates import BLOB, draw_alike, draw_by_class
from pipeguard.state.record.writings import ROWS, Edit, Row, apply_edits

if TYPE_CHECKING:
    from pipeguard.detect.rules.rule import Rule
    from pipeguard.detect.scanning.scan_budget import Match
    from pipeguard.firewall.session.guard import Guard

DEPTH = 3  # of writings within each other
MOST_CLEAN = 20_000  # words that are known to be no secret: 2 MiB
GOES_ON = 16  # frames in which a begun key may go on
_OPAQUE = lazy_regex(r'"requestState"\s*:\s*"([^"\\]*)"')  # which a Session compares
_NUMBER = lazy_regex(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SHORT_ESCAPE = lazy_regex(r"\\[^u\\]")


class Masker:
    """Replaces what is private in the frames of one record. For one thread.

    Args:
        key: random bytes with which a replay signs placeholders; the record has them.
    """

    def __init__(self, key: bytes) -> None:
        self.vault = Vault(key)
        self.memory = SurrogateMemory()
        self.begun: deque[str] = deque([""], maxlen=GOES_ON)  # a key, or nothing, for each frame
        self._clean: set[str] = set()

    def mask_frame(
        self, guard: Guard, direction: Direction, frame: bytes, *, is_read: bool
    ) -> bytes | None:
        """The frame with surrogates, byte for byte the same elsewhere; None if it is withheld.

        Args:
            guard: of the server; lends the engines and the detector.
            direction: which way the frame travels.
            frame: as it came; UTF-8, perhaps no JSON.
            is_read: True if the frame was judged and the rules found nothing private in it.
        """
        source = frame.decode("utf-8", "surrogateescape")
        if is_read and not any(self.begun) and self._is_clean(frame, source):
            return frame
        masked = self._mask(guard, direction, source, is_read=is_read)
        if masked == source:
            return frame
        return None if masked is None else masked.encode("utf-8", "surrogateescape")

    def own_surrogates(self) -> list[str]:
        """The surrogates of PipeGuard's own secrets, in each form."""
        return [self.memory.make(form, partial(draw_by_class, form)) for form in IN_USE.forms]

    def _is_clean(self, frame: bytes, source: str) -> bool:
        """True if nothing in a frame looks random, or was signed by PipeGuard."""
        return not (
            next(self.find_suspects(source), None)
            or may_hold_placeholder(frame)
            or CUT_SIGN.encode() in frame
            or IN_USE.find_secrets(source)
        )

    def find_suspects(self, text: str) -> Iterator[str]:
        """Find the words of a text, each once, that look random or are a part of a known value."""
        words = {*text_values.find_tokens(text, LEAST_RUN, has_parts=False)}
        for word in words - self._clean:
            if _NUMBER.fullmatch(word):
                continue
            is_known = any(self.memory.find_parts(word))
            if is_known or any(find_random_runs(word)) or secret_values.find_begun_key([word]):
                yield word
                continue
            if len(self._clean) >= MOST_CLEAN:
                self._clean.clear()
            self._clean.add(word)

    def _mask(
        self, guard: Guard, direction: Direction, source: str, *, is_read: bool
    ) -> str | None:
        """Mask a text; None if it reads differently then, or as private as before."""
        with guard.source.spare() as detection:
            assert isinstance(detection, Detection)  # noqa: S101  there is no other
            reader = _Reader(detection, direction)
            before = [] if is_read else reader.read(source)
            for by_rule in (True, False):
                masking = _Masking(self, reader)
                masking.note_secrets(before, by_rule=by_rule)
                edits = masking.find_edits(source)
                self.begun.append(masking.begun)
                masked = apply_edits(source, edits)
                if is_read:
                    is_alike = reader.find(masked) <= reader.find(source)
                else:
                    is_alike = _read_alike(before, reader.read(masked) if edits else before)
                if is_alike:
                    return masked
                masking.forget()
        return None


class _Reader:
    """Reads texts with the rules of one direction that find secrets, in one thread."""

    def __init__(self, detection: Detection, direction: Direction) -> None:
        self.knowledge = detection.knowledge
        surface = Surface.TO_SERVER if direction is TO_SERVER else Surface.TO_CLIENT
        self._surfaces = [surface, Surface.DEFINITIONS]

    def read(self, source: str) -> list[Match]:
        """The matches of rules in a frame; in one that is no JSON, in its text."""
        value = _parse(source)
        whole = as_object(value)
        part = next((each for each in ("params", "result", "error") if each in whole), "params")
        place = partial(name_place, part, str(whole.get("method")))
        return [
            match
            for surface in self._surfaces
            if surface is not Surface.DEFINITIONS or '"inputSchema"' in source
            for engine in self.knowledge.scanners[surface][:1]
            for match in engine.scan(value, place, surface).matches
        ]

    def find(self, text: str) -> set[str]:
        """The rules that find a secret in a text."""
        engines = self.knowledge.scanners[Surface.TO_SERVER][:1]
        return {rule for engine in engines for *_, rule in engine.find_secrets(text)}


def _is_secret(match: Match) -> bool:
    return tells_private(match.rule.id) and bool(match.secret) and not match.is_sample


def _is_around(match: Match, others: Iterable[Match]) -> bool:
    """True if a secret is another one in another writing."""
    return match.exact and any(
        _is_secret(other)
        and not other.exact
        and other.path == match.path
        and other.start < match.end
        and match.start < other.end
        for other in others
    )


def _read_alike(before: Iterable[Match], after: Iterable[Match]) -> bool:
    """True if the same rules match as often, and none the same secret, or one in several texts."""
    was, now = (Counter((m.rule.id, m.confidence) for m in some) for some in (before, after))
    secrets = {match.secret for match in before if _is_secret(match)}
    is_divided = any(len(match.paths) > 1 for match in before if _is_secret(match))
    return (
        not is_divided
        and was == now
        and secrets.isdisjoint(m.secret for m in after if _is_secret(m))
    )


class _Masking:
    """One frame while it is masked.

    Attributes:
        begun: the key that begins at the end of a text of the frame; or empty.
    """

    def __init__(self, masker: Masker, reader: _Reader) -> None:
        self._masker, self._memory = masker, masker.memory
        self._reader = reader
        self._secrets: dict[str, str] = {}  # that rules find, with their surrogates
        self.begun = ""

    def note_secrets(self, matches: Sequence[Match], *, by_rule: bool) -> None:
        """Decide the surrogates of what rules find, the shortest first."""
        rules: dict[str, list[Rule]] = {}
        for match in filter(_is_secret, matches):
            if not _is_around(match, matches):
                rules.setdefault(match.secret.decode("utf-8", "replace"), []).append(match.rule)
        for secret in sorted(rules, key=len):
            draw = partial(draw_alike, secret, rules[secret] if by_rule else [])
            self._secrets[secret] = self._memory.make(secret, draw)
        self._secrets = dict(sorted(self._secrets.items(), key=lambda pair: -len(pair[0])))

    def forget(self) -> None:
        """Forget the surrogates of this frame's secrets."""
        for secret in self._secrets:
            self._memory.drop(secret)

    def _make(self, secret: str) -> str:
        return self._memory.make(secret, partial(draw_by_class, secret))

    def find_edits(self, source: str) -> list[Edit]:
        """Find all that is to be replaced in a frame."""
        edits = _Edits(_SHORT_ESCAPE.sub("  ", source))  # as long, and no letter
        for secret, made in self._secrets.items():
            edits.replace(dumps(secret)[1:-1], dumps(made)[1:-1], source)
        for value in _OPAQUE.findall(source):
            if not any(secret in value for secret in self._secrets):
                edits.replace(value, value)
        self._find_cut_keys(edits, [*walk_texts(_parse(source))])
        return self._mask_text(edits, DEPTH)

    def _mask_text(self, edits: _Edits, depth: int) -> list[Edit]:
        """Find all that is to be replaced in a text."""
        text = edits.text
        edits.add(self._sign_again(text))
        for secret, made in self._secrets.items():
            edits.replace(secret, made)
        for form in IN_USE.find_secrets(text):
            edits.replace(form, self._make(form))
        for row in ROWS if depth else ():
            for written in row.expression.finditer(text) if row.mark in text else ():
                edits.add(self._mask_row(row, written, depth - 1))
        for blob in BLOB.findall(text):
            edits.replace(blob, self._make(blob))
        for word in self._masker.find_suspects(BLOB.sub(" ", text)):
            for start, end in find_random_runs(word):
                edits.replace(word[start:end], self._make(word[start:end]))
            for start, end, new in self._memory.find_parts(word):
                edits.replace(word[start:end], new)
        return edits.all

    def _mask_row(self, row: Row, written: re.Match[str], depth: int) -> Iterator[Edit]:
        """Mask what is written in another way; a text without secrets stays."""
        with suppress(ValueError):
            text = row.read(written[0])
            masked = apply_edits(text, self._mask_text(_Edits(text), depth))
            yield *written.span(), written[0] if masked == text else row.write(masked, written[0])

    def _find_cut_keys(self, edits: _Edits, strings: list[str]) -> None:
        """Replace the beginning of a key that this frame cuts, and the end of an earlier one."""
        self.begun = secret_values.find_begun_key(strings)
        if self.begun:
            edits.replace(self.begun, self._make(self.begun))
        for begun in filter(None, self._masker.begun):
            for word in secret_values.list_last_values(strings):
                if self._reader.find(begun + word) - self._reader.find(begun):
                    edits.replace(word, self._make(begun + word)[len(begun) :])

    def _sign_again(self, text: str) -> Iterator[Edit]:
        """Sign placeholders and lines of this run as a replay will."""
        knowledge, again = self._reader.knowledge, self._masker.vault
        for match in PLACEHOLDER.finditer(text):
            secret = knowledge.vault.restore(match[0])
            if secret.restored_count:
                head = match[0][1:-1].rpartition(":")[0]
                yield *match.span(), f"[{head}:{again.tag(head, self._mask_words(secret.text))}]"
        for line in LINE.finditer(text) if CUT_SIGN in text else ():
            words = str(knowledge.flows.passages.put_back(line[0]))
            if words != line[0]:
                yield *line.span(), sign_line(line, self._mask_words(words), again.sign)

    def _mask_words(self, words: str) -> str:
        """Words that another frame had, as they are in the record."""
        made = self._memory.get(words)
        return made or apply_edits(words, self._mask_text(_Edits(words), DEPTH))


def _parse(source: str) -> JsonValue:
    """The value of a frame; of one that is no JSON, its text."""
    try:
        value = parse_json(source.encode("utf-8", "surrogateescape"))
        serialise(value).decode()
    except (Refusal, UnicodeError):
        return {"params": {"text": source.encode("utf-8", "replace").decode()}}
    return value


class _Edits:
    """The edits of a text: of those that overlap, the first."""

    def __init__(self, text: str) -> None:
        self.text, self._taken = text, bytearray(len(text))
        self.all: list[Edit] = []

    def add(self, edits: Iterable[Edit]) -> None:
        """Add edits that overlap no earlier ones."""
        for start, end, new in edits:
            if self._taken.find(1, start, end) < 0:
                self._taken[start:end] = b"\1" * (end - start)
                self.all.append((start, end, new))

    def replace(self, words: str, new: str, written: str = "") -> None:
        """Replace words wherever they are; `written` is the text with other letters in places."""
        at = (written or self.text).find(words)
        while at >= 0:
            self.add([(at, at + len(words), new)])
            at = (written or self.text).find(words, at + len(words))
