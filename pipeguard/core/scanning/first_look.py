"""The first look at a short text: one pass over it, which tells that most texts contain nothing.

Where the pass finds signs of encodings alone, what they encode is looked at here too: mostly they
encode nothing, as the long words and the escaped line ends of documentation. A text in which
anything else was found is read in all ways (core.scanning.readings). Confirms no match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pipeguard.core.model.opener import Stretch
from pipeguard.core.protocol.places import Surface
from pipeguard.core.rules.rule import Rule, View
from pipeguard.core.scanning.location import may_apply_in, places_in
from pipeguard.core.scanning.rule_lookup import RuleLookup
from pipeguard.core.scanning.scan_input import ScanInput
from pipeguard.core.text import split_literals
from pipeguard.core.text.budgets import DecodingBudget
from pipeguard.core.text.decoders import ENCODINGS, DecodedParts, decode
from pipeguard.core.text.document import MessageText
from pipeguard.core.text.split_values import reordered_rows, spelled_texts
from pipeguard.core.text.windowing import BLOCK_BYTES, OVERLAP_BYTES, TAIL_BYTES, blocks
from pipeguard.core.unicode import folding

SPACED_OUT = frozenset({"spelled", "run-together"})  # the first is also the sign of an encoding
LITERALS = "literals"
_SIGNS_TO_CLIENT = frozenset(ENCODINGS) | SPACED_OUT
# `windows` means something beside `acts` alone.
_SIGNS_TO_SERVER = _SIGNS_TO_CLIENT | {LITERALS, "windows"}


class FirstLook(NamedTuple):
    """What one pass over a short text found, so that no reading of the same bytes needs another.

    Attributes:
        texts: the text as it is read first (`Scan.data`), and its strings joined.
        hits: indices of the patterns that could match in one of these.
        opened: the stretches of the text that a classifier should read.
    """

    texts: tuple[bytes, bytes]
    hits: list[int]
    opened: list[Stretch]


def first_look(lookup: RuleLookup, text: MessageText) -> FirstLook | None:
    """What could match in a short text and in its strings joined; None for a long text."""
    if len(text.data) > BLOCK_BYTES:
        return None
    data = text.data if text.is_keyed else folding.soften(text.data)
    joined, parts = b"", [data]
    if text.is_several:
        joined = text.joined()  # what is within one string is found there
        if 0 < len(joined) <= OVERLAP_BYTES:  # all of it is around each seam
            parts.append(joined)
        else:
            parts += [joined[slice(*around)] for around in blocks(len(joined), seam_ranges(text))]
    if keys := text.joined_keys():
        parts.append(keys)
    if text.is_keyed:
        parts += [row.data for row in reordered_rows(text)]
    # One pass over all. A hit across the gap costs a full scan, which does not confirm it.
    hits = lookup.plain.look(b"\n\n".join(parts) if len(parts) > 1 else data)
    opened = lookup.opener.stretches(data) if lookup.opener is not None else []
    return FirstLook((data, joined), hits, opened)


def seam_ranges(text: MessageText) -> list[folding.Range]:
    """The ranges of the joined strings in which what is split over several could begin."""
    seams: list[folding.Range] = []
    for seam in text.seams() if text.is_several else ():
        low = max(0, seam - TAIL_BYTES)  # what is long begins long before
        if seams and low - seams[-1][1] <= 2 * OVERLAP_BYTES:
            seams[-1] = (seams[-1][0], seam)
        else:
            seams.append((low, seam))
    return seams


def is_plainly_clean(
    lookup: RuleLookup, text: MessageText, seen: FirstLook, rated: Callable[[list[Rule]], bool]
) -> bool:
    """True for a text that contains no pattern, and no sign that means anything: most texts.

    Args:
        lookup: the rules.
        text: the text.
        seen: the first look at it.
        rated: true if any of some rules is one for this text (`may_match`).
    """
    if seen.opened:
        return False
    signs: list[str] = []
    if seen.hits:
        signs, rules = lookup.named(seen.hits)
        if not _SIGNS[text.is_keyed].issuperset(signs) or (rules and rated(rules)):
            return False
    folded = seen.texts[0]
    if not folded.isascii():
        folded, changed = folding.fold(folded)
        if changed and not _has_nothing(lookup, folded):
            return False
    if not text.is_keyed:
        if text.is_several and any(signs or _says(lookup, row) for row in spelled_texts(text)):
            return False
    elif not _is_clean_without_spaces(lookup, text, seen.texts[1]):
        return False
    return not signs or _means_nothing(lookup, seen.texts[0], folded, signs, keyed=text.is_keyed)


_UNDECODED = {View.TEXT, View.JOINED}  # what is folded has a look of its own
_SIGNS = {False: _SIGNS_TO_CLIENT, True: _SIGNS_TO_SERVER}  # by whether the text is keyed


def may_match(source: ScanInput, surface: Surface, rules: list[Rule]) -> bool:
    """True if any of the rules is one for this value, and for a text that is not decoded."""
    rules = [rule for rule in rules if surface in rule.surfaces and rule.views & _UNDECODED]
    if not rules or not all(rule.places for rule in rules):
        return bool(rules)
    places = places_in(source)
    return any(may_apply_in(rule, places) for rule in rules)


def _says(lookup: RuleLookup, spelled: bytes) -> bool:
    """True if what is spelled out over values could match, or is opened.

    Its words begin and end elsewhere than in the strings joined, where it is a part of a word.
    """
    hits = lookup.plain.look(spelled)
    signs, rules = lookup.named(hits) if hits else ([], [])
    return bool(rules) or not SPACED_OUT.isdisjoint(signs) or _is_opened(lookup, spelled)


def _is_clean_without_spaces(lookup: RuleLookup, text: MessageText, joined: bytes) -> bool:
    joined, _ = folding.fold(joined or text.joined())
    squeezed = folding.squeeze(joined, words=False)
    is_new = text.is_several or len(squeezed) != len(joined)
    return not (is_new and lookup.squeezed.look(squeezed))


def _means_nothing(
    lookup: RuleLookup, data: bytes, folded: bytes, signs: list[str], *, keyed: bool
) -> bool:
    """True if what signs stand for contains no pattern, and nothing that is decoded again."""
    budget = DecodingBudget(len(data))  # of its own: if this is in vain, nothing was spent
    stretches = decode(data, {sign: [(0, len(data))] for sign in signs}, budget)
    if budget.is_exceeded:
        return False
    if stretches:
        decoded = DecodedParts(stretches, data).data
        if not (decoded.isascii() and _has_nothing(lookup, decoded)):
            return False
    squeezed = []
    if keyed and LITERALS in signs:
        literals = split_literals.joined_literals(data, 0, len(data))
        squeezed = [folding.squeeze(joined.data, words=False) for joined in literals]
    elif not keyed and not SPACED_OUT.isdisjoint(signs):
        squeezed = [folding.squeeze(folded, words=True)]
    return not any(map(lookup.squeezed.look, squeezed))


def _has_nothing(lookup: RuleLookup, data: bytes) -> bool:
    return not lookup.plain.look(data) and not _is_opened(lookup, data)


def _is_opened(lookup: RuleLookup, data: bytes) -> bool:
    return lookup.opener is not None and bool(lookup.opener.stretches(data))
