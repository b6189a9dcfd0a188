"""Secrets in the texts of a call, hidden from the person who decides on it.

All that may have to be hidden is collected first, each part with its reason; then each character of
it becomes a dot.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from itertools import chain

from pipeguard.detect.flows import leak, outgoing_call, overlap, readings, secret_values
from pipeguard.detect.knowledge import Knowledge
from pipeguard.firewall.finding import Finding
from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.places import Surface
from pipeguard.unicode.folding import Range, merge

MASKED_CHARS = 2**18  # of a message's texts that are read; the others become dots
PIECE_CHARS = 6  # of a secret that identify it
ACCOUNT = "personal.iban"  # the rule whose findings are shown
APART = '"' + "\n" * 48  # between texts: none is an exception for a secret in another
# A token that may be a secret.
_TOKEN = lazy_regex(r"[A-Za-z0-9+_=-]{20,}")
# A mail address, the host of a web address, an account (ISO 13616), a number.
_ADDRESS = r"[\w.+-]{1,64}@[\w.-]{1,255}|https?://[\w.:-]{1,255}"
_ACCOUNT = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"
_HOST = lazy_regex(r"(?:https?://(?:[^\s/?#\\]*@)?|@)(?:[\w-]+\.)*([\w-]+\.[\w-]+)(?![\w.-]*@)")
_LABELS = lazy_regex(r"(?=(?:[a-z.-]*\d){0,2}[a-z.-]*\Z)[a-z0-9.-]{1,32}")  # that are no secret
TELLING = lazy_regex(rf"{_ADDRESS}|{_ACCOUNT}|\b\d[\d -]{{4,33}}\d\b")
# A whole value: these, a web address with its path, a wallet, a host, a path.
FORM = lazy_regex(
    rf"\s*(?:{_ADDRESS}|{_ACCOUNT}|[+]?\d[\d .,/-]*|\w{{1,20}}://\S+|0x[0-9a-fA-F]{{40}}"
    r"|(?:[\w-]{1,63}\.)+[A-Za-z]\w{1,30}(?::\d+)?|(?:~|\.{1,2}|[A-Za-z]:)?[/\\][^\n]*)\s*"
)


class Reason(Enum):
    """The reason to hide a part of a text."""

    NONE = auto()  # for an account, and for text
    SECRET = auto()
    PERSON = auto()  # the number of one; shown if it says to whom something goes
    RANDOM = auto()  # a token that looks like a secret


class SecretCover:
    """Hides secrets from the person who decides.

    Args:
        knowledge: of the server.
        findings: in the message, or the leaks in it.
        located: secrets that the findings are about.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        findings: Sequence[Finding | leak.Leak] = (),
        located: Sequence[str] = (),
    ) -> None:
        self._knowledge = knowledge
        self._located = located
        self._left = MASKED_CHARS
        self._takes_secret = any(found.rule == leak.SECRET_OUT for found in findings)
        self._returned = knowledge.flows.returned_secrets(all_kinds=self._takes_secret)

    def mask(self, texts: Mapping[str, bool]) -> dict[str, str]:
        """Texts, and each with a dot for each character of a secret; of all beyond the budget.

        Args:
            texts: to be read, all at once; each with True if it says to whom, where or how much:
                numbers of persons are shown there.
        """
        read = APART.join(texts)[: self._left]
        self._left -= len(read)
        hidden = self._find_hidden(read)
        whole = _dot(read, [*chain.from_iterable(hidden.values())])
        telling = _dot(read, hidden[Reason.SECRET])
        masked = {}
        start = 0
        for text, is_telling in texts.items():
            end = start + len(text)
            dotted = telling if is_telling else whole
            masked[text] = dotted[start:end] if end <= len(read) else "…" * len(text)
            start = end + len(APART)
        return masked

    def _find_hidden(self, text: str) -> dict[Reason, list[Range]]:
        """Find all that may have to be hidden in a text."""
        hidden: dict[Reason, list[Range]] = {reason: [] for reason in Reason}
        for engine in self._knowledge.scanners[Surface.TO_SERVER]:
            for start, end, rule in engine.find_secrets(text, ACCOUNT):
                hidden[find_reason(rule)].append((start, end))
        secrets = {
            *self._located,
            *secret_values.find_named_secrets(text),
            *self._knowledge.known_secrets.find_secrets(text),
            *self._knowledge.vault.find_secrets(text),
        }
        if self._returned:
            size = outgoing_call.CODE_CHARS
            ends = {text[at : at + size] for at in range(len(text))}
            secrets.update(each for each in self._returned if each[-size:] in ends)
        for secret in secrets:
            hidden[Reason.SECRET] += [m.span() for m in re.finditer(re.escape(secret), text)]
        for token in _TOKEN.finditer(_dot(text, hidden[Reason.SECRET] + hidden[Reason.PERSON])):
            if secret_values.is_random(token[0]) and not TELLING.fullmatch(token[0]):
                hidden[Reason.RANDOM].append(token.span())
        return hidden

    def find_pieces(self, texts: Sequence[str]) -> set[str]:
        """The masked texts that may have a part of a secret from a result, perhaps encoded."""
        if not self._takes_secret:
            return set()
        parts = {part for secret in self._returned for part in secret.split("/")}
        bare = "\n".join(overlap.squeeze(part) for part in parts if not FORM.fullmatch(part))
        found = {}
        for text in texts:
            read = map(overlap.squeeze, readings.list_readings(text.encode()))
            found[text] = overlap.rows("\n".join(read), PIECE_CHARS)
        every = [*set[str]().union(*found.values())]
        held = overlap.find_held(every, [bare], overlap.SearchBudget(outgoing_call.ANY_BYTES))
        pieces = {every[at] for at in held.get(0, ())}
        return {text for text, rows in found.items() if not pieces.isdisjoint(rows)}


def find_reason(rule: str) -> Reason:
    """The reason to hide the finding of a rule."""
    if rule.startswith("secrets."):
        return Reason.SECRET
    if rule.startswith("personal.") and rule != ACCOUNT:
        return Reason.PERSON
    return Reason.NONE


def _dot(text: str, hidden: list[Range]) -> str:
    """A text with a dot in place of each hidden character."""
    parts = []
    at = 0
    for start, end in merge(hidden):
        parts += [text[at:start], "…" * (end - start)]
        at = end
    return "".join([*parts, text[at:]])


def hide_text(text: str) -> str:
    """Dots for all of a text but the end of its first host, unless that may be a secret's part."""
    host = _HOST.search(text)
    return "………" + (host[1] if host and _LABELS.fullmatch(host[1]) else "")
