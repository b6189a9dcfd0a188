"""The table of readings: the ways in which the rules are run over a whole text.

The table in detect.text.decoders decodes encoded stretches of the text, for the readings `text`,
`folded` and `squeezed`.
"""

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import accumulate, chain

from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model.cascade import BRIEF_BYTES, Order, ReadOrder, Selection
from pipeguard.detect.rules.rule import Rule, View
from pipeguard.detect.scanning.first_look import FEW_VALUES, LITERALS, SPACED_OUT, seam_ranges
from pipeguard.detect.scanning.origin import Locate, Origin
from pipeguard.detect.scanning.rating import Rating, locate_match, note_drop, rate_order
from pipeguard.detect.scanning.scan import Scan, Signs
from pipeguard.detect.scanning.scan_budget import MAX_CUTS
from pipeguard.detect.text import decoders, document, split_literals, windowing
from pipeguard.detect.text.encoding import Decoded, Sign
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import Path
from pipeguard.firewall.protocol.places import Surface
from pipeguard.firewall.session.placeholders import MAX_NOTICE_BYTES, NOTICE, NOTICE_SIGN
from pipeguard.records import NamedTuple
from pipeguard.unicode.folding import Range, Spaced, fold_and_back, keep, merge, squeeze

# --- orders -----------------------------------------------------------------------------
# Orders to the model, which classifiers find in the readings of one value.


def read_orders(scan: Scan) -> None:
    """Let each rule with a classifier read the stretches that could be an order to the model."""
    if not scan.to_classify or scan.tally.is_exhausted:
        return  # before a rule or a model is loaded
    if len(scan.source.text.data) < BRIEF_BYTES and scan.source.asks_the_user(scan.surface):
        scan.reader.leniency = 0.0  # it asks a person to do something
    opened = [each for each, _ in scan.to_classify]
    for rule in scan.lookup.rules.with_classifier:
        if scan.surface not in rule.surfaces:
            continue
        rate = partial(_rate_order, scan, rule)
        for number, order in scan.reader.orders(opened, scan.lookup.classifier(rule), rate):
            _report(scan, rule, order, *scan.to_classify[number])
        _note_unread(scan, rule)


def _rate_order(scan: Scan, rule: Rule, order: ReadOrder) -> Rating:
    """Rate the likeliest sentences of a passage, and note those that are no order."""
    rating = rate_order(order)
    if rating.confidence is None:
        selection, origin = scan.to_classify[order.reading]
        note_drop(origin, rule, rating, selection.data, order.span)
    return rating


def _note_unread(scan: Scan, rule: Rule) -> None:
    """Note the passages beyond the budget, until it is clear that they cannot be cut out."""
    for number, start, end in scan.reader.unread:
        noted = scan.unread_passages
        if noted and (not noted[-1].cuts or sum(len(each.cuts) for each in noted) > MAX_CUTS):
            break
        data, origin = scan.to_classify[number][0].data, scan.to_classify[number][1]
        # Confidence does not matter: nothing has read it.
        passage = locate_match(origin, rule, Rating(Confidence.LOW), data, (start, end))
        if passage is not None:
            cuts = scan.extents.of(origin, (start, end), is_order=False)
            noted.append(passage._replace(cuts=cuts))
    scan.reader.unread.clear()


def _report(scan: Scan, rule: Rule, order: Order, selection: Selection, origin: Origin) -> None:
    """Make a match of an order found in a reading with this origin, and of related text."""
    data, span = selection.data, (order.start, order.end)
    confidence = min(order.confidence, rule.confidence)
    occurrence = Occurrence(span, None, data[slice(*span)])
    words = scan.counting_words(rule, confidence, occurrence, origin)
    if scan.tally.confidence_so_far(rule, words) >= confidence:
        return
    match = locate_match(origin, rule, Rating(confidence, order.steps), data, span)
    if match is None:
        return
    if scan.tally.admits(rule, words, scan.source.place_of(match.path), match.confidence):
        cuts = scan.extents.of(origin, order.reach, is_order=True)
        scan.matches.append(match._replace(cuts=cuts))
        scan.tally.report(len(cuts))


# --- edges ------------------------------------------------------------------------------

EDGE_CHARS = 512  # at the start and at the end of a long value, which are read joined to others


def _join_edges(text: document.MessageText) -> tuple[bytes, Locate]:
    """The values of a result, joined, of long values only the edges; and the way back to them.

    Text that the end of a value splits is whole in this row. A match within one value was already
    found in that value.
    """
    pieces = []
    numbers = []  # by piece, the index of its value
    for number, value in enumerate(text.values):
        is_short = len(value) <= 2 * EDGE_CHARS
        parts = [value] if is_short else [value[:EDGE_CHARS], "\n" + value[-EDGE_CHARS:]]
        pieces += [part.encode() for part in parts]
        numbers += [number] * len(parts)
    ends = list(accumulate(map(len, pieces)))

    def locate(start: int, end: int) -> tuple[list[Path], bool]:
        first, last = (min(bisect_right(ends, at), len(ends) - 1) for at in (start, end - 1))
        crossed = dict.fromkeys(numbers[first : last + 1])
        paths = [text.segment_path(number) for number in crossed if text.values[number].strip()]
        return paths or [()], len(paths) > 1

    return b"".join(pieces), locate


# --- readings ---------------------------------------------------------------------------

JOINED_BYTES = 2**16  # of values that are read whole
AROUND_NOTICE = 512  # bytes before and after a notice that are read without it


class TextReading(NamedTuple):
    """A way to read a text.

    Attributes:
        read: runs the rules over the reading, unless an earlier reading is the same.
        to_server: True if it applies to texts for a server.
        to_client: True if it applies to texts for a client, and to definitions.
        signs: patterns by name, which Hyperscan finds in the same pass as the rules; `read` gets
            their ranges from `Scan.signs`.
    """

    read: Callable[[Scan], None]
    to_server: bool = True
    to_client: bool = True
    signs: dict[str, Sign] = {}  # noqa: RUF012  read only


def _read_text(scan: Scan) -> None:
    """Read the text as it is, and its encoded stretches."""
    scan.signs = scan.run_rules(scan.data, View.TEXT, Origin(scan.source, "text"))
    scan.decode(scan.data, scan.signs, Origin(scan.source, ""))


def _read_folded(scan: Scan) -> None:
    """Read look-alikes and compatibility forms as plain letters, without invisible characters."""
    if scan.changed:
        origin = Origin(scan.source, "folded", whole=True, unfolding=scan.unfolding)
        scan.folded_signs = scan.run_rules(scan.folded, View.FOLDED, origin, scan.changed)
        scan.decode(scan.folded, scan.folded_signs, origin)


def _read_keys(scan: Scan) -> None:
    """Read all keys joined: a secret may be split over them."""
    if keys := scan.source.text.joined_keys():
        origin = Origin(scan.source, "joined", locate=scan.source.text.locate_keys)
        scan.run_rules(keys, View.JOINED, origin, signs_matter=False)


def _read_acts(scan: Scan) -> None:
    """Read the effects of a call's arguments."""
    if scan.surface is not Surface.TO_SERVER or not scan.ranges("acts"):
        return
    from pipeguard.detect.commands.effects import find_effects  # here: it costs a start 11 ms

    effects, scan.has_undecoded = find_effects(
        scan.source.uses, windows=bool(scan.ranges("windows"))
    )
    acts = [Decoded(each.data, "acts", each.start, each.end) for each in effects]
    made = [Decoded(e.composed, "shell", e.start, e.end) for e in effects if e.composed]
    for stretches, view in ((acts, View.ACTS), (made, View.DECODED)):
        if stretches:
            parts = decoders.DecodedParts(stretches, scan.source.text.data)
            origin = Origin(scan.source, "", outer=Origin(scan.source, ""), parts=parts)
            scan.run_rules(parts.data, view, origin, signs_matter=False)


def _read_joined(scan: Scan) -> None:
    """Read strings joined: a secret, or a sentence, may be split over them."""
    text = scan.source.text
    if not text.is_several:
        return
    if text.is_keyed or (text.count <= FEW_VALUES and len(text.data) <= JOINED_BYTES):
        joined = text.join_values()
        origin = Origin(scan.source, "joined", locate=text.locate_joined)
        # In one block, which may have been looked at before.
        whole = len(joined) <= windowing.BLOCK_BYTES
        # Matches within one string are found in it.
        ranges = None if whole else seam_ranges(text)
    else:  # only the edges of many or long values
        joined, locate = _join_edges(text)
        ranges = None
        origin = Origin(scan.source, "joined", locate=locate, may_fit_by_chance=True)
    scan.run_rules(joined, View.JOINED, origin, ranges, signs_matter=False)


def _read_squeezed(scan: Scan) -> None:
    """Read the strings without spaces and quotes, and their encoded stretches."""
    text = scan.source.text
    folded, changed, unfolding = fold_and_back(text.join_values())
    back = unfolding if changed else None
    origin = Origin(scan.source, "squeezed", locate=text.locate_joined, unfolding=back)
    _run_squeezed(scan, folded, origin, always=text.is_several)


def _read_literals(scan: Scan) -> None:
    """Read the string literals of a program as the program would join them."""
    source = scan.source
    for low, high in scan.signs.get(LITERALS, ()):
        for kept, are_many in split_literals.joined_literals(source.text.data, low, high):
            data, unfolding = keep(source.text.data, kept)
            outer = Origin(source, "literals", unfolding=unfolding)
            origin = Origin(source, "", outer=outer, may_fit_by_chance=are_many)
            _run_squeezed(scan, data, origin, always=True)


def _run_squeezed(scan: Scan, data: bytes, origin: Origin, *, always: bool) -> None:
    squeezed = squeeze(data, words=False)
    if always or len(squeezed) != len(data):
        origin = origin._replace(squeezed_from=Spaced(data))
        signs = scan.run_rules(squeezed, View.SQUEEZED, origin)
        scan.decode(squeezed, signs, origin)


def _read_spaced_out(scan: Scan) -> None:
    """Read separated letters, and words without spaces, as words."""
    ranges = [spaced for name in SPACED_OUT for spaced in scan.ranges(name)]
    for low, high in merge(ranges):
        stretch = scan.folded[low:high]
        origin = Origin(
            scan.source,
            "squeezed",
            whole=scan.unfolding is not None,
            squeezed_from=Spaced(stretch),
            offset=low,
            unfolding=scan.unfolding,
        )
        scan.run_rules(squeeze(stretch, words=True), View.SQUEEZED, origin)


def _read_without_notices(scan: Scan) -> None:
    """Read the text around PipeGuard's notices, and forged ones, as if these were not there."""
    notices, count = _find_notices(scan.data, scan.signs), len(scan.matches)
    if scan.unfolding is not None:  # those with invisible characters
        hidden = _find_notices(scan.folded, scan.folded_signs)
        notices += [scan.unfolding.span(*notice) for notice in hidden]
    if not notices:
        return
    edges = [0, *chain.from_iterable(merge(notices)), len(scan.data)]
    kept = list(zip(edges[::2], edges[1::2], strict=True))
    bare, back = keep(scan.data, kept)
    places = accumulate(high - low for low, high in kept[:-1])
    around = ((max(0, at - AROUND_NOTICE), min(at + AROUND_NOTICE, len(bare))) for at in places)
    ranges = merge(list(around))
    origin = Origin(scan.source, "notice", unfolding=back)
    scan.run_rules(bare, View.TEXT, origin, ranges, signs_matter=False)
    folded, changed, unfolding = fold_and_back(bare)
    if changed:
        ranges = [(unfolding.place(low), unfolding.place(high)) for low, high in ranges]
        origin = Origin(scan.source, "", outer=origin, unfolding=unfolding)
        scan.run_rules(folded, View.FOLDED, origin, ranges, signs_matter=False)
    scan.matches[count:] = (each for each in scan.matches[count:] if not each.rule.is_private)


def _find_notices(data: bytes, signs: Signs) -> list[Range]:
    return [
        notice.span()
        for low, high in signs.get("notice", ())
        for notice in NOTICE.finditer(data, max(0, low - MAX_NOTICE_BYTES), high + MAX_NOTICE_BYTES)
    ]


def _signs_of_acts() -> tuple[str, str]:
    from pipeguard.detect.commands.powershell import ACTS_SIGN, WINDOWS_SIGN

    return ACTS_SIGN, WINDOWS_SIGN


# In the order in which they are read. A new reading is an entry here.
READINGS = {
    "text": TextReading(_read_text),
    "folded": TextReading(_read_folded),
    "keys": TextReading(_read_keys),
    "acts": TextReading(
        _read_acts,
        to_client=False,
        signs={"acts": lambda: _signs_of_acts()[0], "windows": lambda: _signs_of_acts()[1]},
    ),
    "joined": TextReading(_read_joined, to_client=False),
    "squeezed": TextReading(_read_squeezed, to_client=False),
    "literals": TextReading(_read_literals, to_client=False, signs={LITERALS: split_literals.SIGN}),
    "spaced-out": TextReading(
        _read_spaced_out, to_server=False, signs={"run-together": "[A-Za-z]{20}"}
    ),
    "notices": TextReading(_read_without_notices, to_server=False, signs={"notice": NOTICE_SIGN}),
    "joined-values": TextReading(_read_joined, to_server=False),
    "orders": TextReading(read_orders),
}


def _signs(*, to_server_only: bool) -> dict[str, Sign]:
    signs = {
        name: e.sign for name, e in decoders.ENCODINGS.items() if e.to_server_only == to_server_only
    }
    for reading in READINGS.values():
        if reading.to_client != to_server_only:
            signs |= reading.signs
    return signs


# Patterns of signs by name: for all texts, only for texts to a server, and for squeezed ones.
SIGNS = _signs(to_server_only=False)
SIGNS_TO_SERVER = _signs(to_server_only=True)
SQUEEZED_SIGNS = {
    name: e.squeezed_sign for name, e in decoders.ENCODINGS.items() if e.squeezed_sign
}
