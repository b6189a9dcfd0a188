"""The texts of a stopped call without secrets, for the person who decides on it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import chain
from typing import TypeVar

from pipeguard.detect.checks.credential_names import is_credential_name
from pipeguard.detect.flows import overlap, secret_values
from pipeguard.detect.flows.leak import SECRET_OUT, Leak
from pipeguard.detect.flows.outgoing_call import CODE_CHARS
from pipeguard.detect.flows.readings import readings
from pipeguard.detect.knowledge import Knowledge
from pipeguard.detect.scanning.surroundings import hide_long_tokens, show_visibly
from pipeguard.detect.words import arguments as lists
from pipeguard.firewall.finding import Finding, tells_private
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, Number, serialise
from pipeguard.firewall.protocol.places import MASKED_STEP, Surface, pointer
from pipeguard.unicode.name_words import name_words

SECRET_CHARS = 2**13  # around a shown part, so that a secret is found whole
# Of all texts of a call that are read, each as if it were longer; the rest is dotted.
MASKED_CHARS, READING_CHARS = 2**18, 256
APART = '"' + "\n" * 48  # between texts: none is an exception for a secret in another
ARGUMENTS_BYTES = 2**14  # of a call's arguments that a person is shown, in JSON
READ_CHARS = 2**16  # of a text that are searched
MOST_TEXTS = 16  # of a call that are looked up
PART_CHARS = 16  # of a value that repeats a text, at least
PIECE_CHARS = 6  # of a secret that identify it
BEGIN_CHARS, SIGNS_CHARS = 4, 6  # of a text that may have a secret; of JSON around a member
NAME_CHARS = 40  # of an argument's name
WHOLE_CHARS = 2048  # of a longer value only its length is shown
# By its name, to whom, where or which command; how much; one of these by its form; and the rest.
TARGET, AMOUNT, LIKELY, OTHER = range(4)
_DOTS = lazy_regex("…{2,}")
# A token that may be a secret.
RANDOM = lazy_regex(r"[A-Za-z0-9+_=-]{20,}")
# A mail address, the host of a web address, an account (ISO 13616), a number.
_ADDRESS = r"[\w.+-]{1,64}@[\w.-]{1,255}|https?://[\w.:-]{1,255}"
_ACCOUNT = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
_HOST = lazy_regex(r"(?:https?://(?:[^\s/?#\\]*@)?|@)(?:[\w-]+\.)*([\w-]+\.[\w-]+)(?![\w.-]*@)")
_LABELS = lazy_regex(r"(?=(?:[a-z.-]*\d){0,2}[a-z.-]*\Z)[a-z0-9.-]{1,32}")  # that are no secret
_TELLING = lazy_regex(rf"{_ADDRESS}|{_ACCOUNT}|\b\d[\d -]{{4,33}}\d\b")
# A whole value: these, a web address with its path, a wallet, a host, a path.
_FORM = lazy_regex(
    rf"\s*(?:{_ADDRESS}|{_ACCOUNT}|[+]?\d[\d .,/-]*|\w{{1,20}}://\S+|0x[0-9a-fA-F]{{40}}"
    r"|(?:[\w-]{1,63}\.)+[A-Za-z]\w{1,30}(?::\d+)?|(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\n]*)\s*"
)

_Drawn = TypeVar("_Drawn")


class Cover:
    """Hides secrets from the person who decides.

    Args:
        knowledge: of the server.
        findings: in the message, or the leaks in it.

    Attributes:
        room: for characters; once it is used up, no more values are shown.
        takes_secret: True if a secret from a result would leave.
    """

    def __init__(self, knowledge: Knowledge, findings: Sequence[Finding | Leak] = ()) -> None:
        self.knowledge, self.room, self._ranks = knowledge, 0, dict[int, tuple[int, JsonValue]]()
        self.takes_secret = any(found.rule == SECRET_OUT for found in findings)
        self._is_private = any(tells_private(found.rule) for found in findings)
        returned = knowledge.flows.returned_secrets(all_kinds=self.takes_secret)
        self._returned = [*dict.fromkeys(returned)]
        self._left = MASKED_CHARS if len("".join(self._returned)) <= 4 * READ_CHARS else 0
        self._masked: dict[tuple[str, bool], str] = {}
        self._listed: list[tuple[str, bool]] | None = None

    def draw(self, draw: Callable[[], _Drawn]) -> _Drawn:
        """Draw with masked texts, which are all read at once: first they are only listed."""
        self._listed = listed = list[tuple[str, bool]]()
        draw()
        self._listed = None
        for kind in (True, False):  # what is telling first
            if texts := dict.fromkeys(text for text, telling in listed if telling is kind):
                self._read([*texts], kind)
        return draw()

    def mask(self, text: str, *, is_telling: bool = False) -> str:
        """A text with a dot in place of each character of a secret; beyond the budget, of all.

        Args:
            text: to be read.
            is_telling: True if it says to whom, where or how much: numbers of persons are shown.
        """
        if self._listed is not None and (text, is_telling) not in self._masked:
            self._listed.append((text, is_telling))
            return ""
        if (text, is_telling) not in self._masked:
            self._read([text], is_telling)
        return self._masked[text, is_telling]

    def _read(self, texts: Sequence[str], is_telling: bool) -> None:  # noqa: FBT001  internal
        masked, at = self._dot(self._spend(APART.join(texts)), is_telling), 0
        for text in texts:
            end = at + len(text)
            is_read = end <= len(masked)
            self._masked[text, is_telling] = masked[at:end] if is_read else "…" * len(text)
            at = end + len(APART)

    def _spend(self, text: str) -> str:
        """As much of a text as may still be read."""
        read = text[: self._left]
        self._left = max(0, self._left - len(text) - READING_CHARS)
        return read

    def _dot(self, text: str, is_telling: bool) -> str:  # noqa: FBT001  internal
        knowledge, masked = self.knowledge, text
        for engine in knowledge.scanners[Surface.TO_SERVER]:
            masked = engine.dot_secrets(masked, lambda rule: hides(rule, is_telling=is_telling))
        secrets = secret_values.named_secrets(masked)
        ends = {masked[at : at + CODE_CHARS] for at in range(len(masked))}
        secrets += chain.from_iterable(self._by_end[end] for end in ends & self._by_end.keys())
        secrets += knowledge.known_secrets.find_secrets(masked)
        if knowledge.vault is not None:
            secrets += knowledge.vault.find_secrets(masked)
        for secret in sorted(secrets, key=len, reverse=True):
            masked = masked.replace(secret, "…" * len(secret))
        return masked if len(masked) == len(text) else "…" * len(text)

    def cut(self, masked: str, limit_chars: int, values: Sequence[str] = ()) -> str:
        """The start of a masked text without long tokens, but with values and all targets."""
        is_short = self.takes_secret and len(masked) < PART_CHARS
        if self._listed is None and (is_short or self.find_pieces({"": masked})):
            return hide_text(masked)
        known = [re.escape(value) for value in values if value in masked][:MOST_TEXTS]
        pattern, shown, at = re.compile("|".join((*known, _TELLING.pattern))), "", 0
        text, hide = _DOTS.sub("…", masked[: 4 * limit_chars]), hide_long_tokens
        for found in pattern.finditer(text):
            shown, at = f"{shown}{hide(text[at : found.start()])}{found[0]}", found.end()
        return show_visibly(shown + hide(text[at:]), limit_chars)

    def show_name(self, name: str, at: int) -> str:
        """The name of a member with its invisible characters; with its number if it is altered."""
        is_hidden = self._is_private and MASKED_STEP in pointer((name,))
        masked = MASKED_STEP if is_hidden else self.mask(name[:WHOLE_CHARS])
        shown = show_visibly(hide_long_tokens(masked), NAME_CHARS)
        return name if shown == name and "…" not in name else f"{shown} {at}"

    def show(self, value: JsonValue, names: tuple[str, ...], limit: int) -> JsonValue:
        """A value without secrets.

        Args:
            value: of a call.
            names: that lead to it.
            limit: of its members, and of the characters of each text; eight times that if it says
                to whom or where.
        """
        if isinstance(value, dict):
            members = sorted(value.items(), key=lambda each: self.rank((*names, each[0]), each[1]))
            return {
                self.show_name(name, at): self.show(member, (*names, name), limit)
                for at, (name, member) in enumerate(members[:limit])
                if self.room > 0
            }
        if isinstance(value, list):
            return [self.show(member, names, limit) for member in value[:limit] if self.room > 0]
        text = value if isinstance(value, str) else serialise(value).decode()
        power = text.lower().partition("e")[2] if type(value) is Number else ""
        text = f"{Decimal(text):f}" if 0 < len(power) < BEGIN_CHARS else text
        shown = text if len(text) < BEGIN_CHARS else self._show_text(text, names, limit)
        shown = "…" * len(shown) if any(map(is_credential_name, names)) else shown
        self.room -= max(len(shown), BEGIN_CHARS) + len(names[-1]) + SIGNS_CHARS
        return value if shown == value or not isinstance(value, str) else shown

    def _show_text(self, text: str, names: tuple[str, ...], limit: int) -> str:
        """The start of a text, and all addresses and accounts in its rest, without secrets."""
        is_telling = self.rank(names, text) != OTHER
        chars = min(ARGUMENTS_BYTES, 8 * limit) if is_telling else limit
        before, read = f'"{names[-1][:NAME_CHARS]}":"', text[: ARGUMENTS_BYTES + SECRET_CHARS]
        masked = self.mask(before + read, is_telling=is_telling)[len(before) :]
        shown = (masked if is_telling else RANDOM.sub(dot_random, masked))[:chars]
        if chars < len(text):
            rest = dict.fromkeys(each[0] for each in _TELLING.finditer(text, chars, READ_CHARS))
            shown = f"{shown}… {self.mask(' '.join(rest)[: chars // 4])}".rstrip()
        return shown

    def rank(self, names: tuple[str, ...], value: JsonValue) -> int:
        """The importance of a value below some names for the person who decides."""
        rank = min((_rank_name(name[:NAME_CHARS]) for name in names), default=OTHER)
        if rank == OTHER and isinstance(value, dict | list):
            if id(value) not in self._ranks:
                members = value.items() if isinstance(value, dict) else enumerate(value)
                ranks = (
                    self.rank((name,) if type(name) is str else (), each) for name, each in members
                )
                self._ranks[id(value)] = min(ranks, default=OTHER), value  # so it keeps its id
            return self._ranks[id(value)][0]
        if rank == OTHER and isinstance(value, str) and len(value) <= WHOLE_CHARS:
            return LIKELY if type(value) is Number or _FORM.fullmatch(value) else OTHER
        return rank

    def find_pieces(self, texts: dict[str, str]) -> set[str]:
        """The names of masked texts that may have a part of a secret from a result, in any form."""
        rows, budget = dict[str, set[str]](), overlap.SearchBudget()
        for name, text in texts.items() if self.takes_secret else ():
            read = map(overlap.squeeze, readings(self._spend(text).encode()))
            rows[name] = overlap.rows("\n".join(read), PIECE_CHARS)
        every = [*set[str]().union(*rows.values())]
        held = overlap.find_held(every, [self._bare], budget).get(0, ()) if every else ()
        pieces = {every[at] for at in held}
        is_over = budget.is_spent or not self._left
        return {name for name, each in rows.items() if is_over or not pieces.isdisjoint(each)}

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        """The secrets from results by their ends, of which a text has few."""
        by_end = defaultdict[str, list[str]](list)
        for secret in self._returned:
            by_end[secret[-CODE_CHARS:]].append(secret)
        return by_end

    @cached_property
    def _bare(self) -> str:
        """The letters and digits of secrets from results."""
        parts = dict.fromkeys(part for secret in self._returned for part in secret.split("/"))
        return "\n".join(overlap.squeeze(part) for part in parts if not _FORM.fullmatch(part))


def hides(rule: str, *, is_telling: bool) -> bool:
    """True if a rule's finding is hidden from the person who decides: not an account."""
    is_person = rule.startswith("personal.") and rule != "personal.iban"
    return rule.startswith("secrets.") or (is_person and not is_telling)


def hide_text(text: str) -> str:
    """Dots for all of a text but the end of its first host, unless that may be a secret's part."""
    host = _HOST.search(text)
    return "………" + (host[1] if host and _LABELS.fullmatch(host[1]) else "")


def dot_random(token: re.Match[str]) -> str:
    """Dots in place of a token that looks like a secret."""
    return "…" * len(token[0]) if secret_values.is_random(token[0]) else token[0]


@lru_cache(maxsize=256)
def _rank_name(name: str) -> int:
    words = name_words("".join(filter(str.isprintable, name)))
    forms = {form for word in words for form in (word, word[:-1])}
    return TARGET if forms & lists.DECIDING else AMOUNT if forms & lists.HOW_MUCH else OTHER
