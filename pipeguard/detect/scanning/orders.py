"""Orders to the model: what classifiers find in the readings of one value."""

from __future__ import annotations

from pipeguard.detect.matching.confirm import Occurrence
from pipeguard.detect.model.cascade import BRIEF_BYTES, Order
from pipeguard.detect.rules.rule import Rule
from pipeguard.detect.scanning.location import located
from pipeguard.detect.scanning.origin import Origin
from pipeguard.detect.scanning.scan import Scan
from pipeguard.detect.scanning.scan_result import StringSpan
from pipeguard.firewall.finding import lower

ADDRESS_BYTES = 80  # percent-encoded: no order is so short


def read_orders(scan: Scan) -> None:
    """Have each rule with a classifier read what could be an order to the model."""
    if not scan.to_classify or scan.tally.is_exhausted:
        return  # before a rule or a model is loaded
    if len(scan.source.text.data) < BRIEF_BYTES and scan.source.asks_the_user(scan.surface):
        scan.reader.drop_leniency()
    opened = [each for each, _ in scan.to_classify]
    for rule in scan.lookup.rules.with_classifier:
        if scan.surface not in rule.surfaces:
            continue
        for number, order in scan.reader.orders(opened, scan.lookup.classifier(rule)):
            origin = scan.to_classify[number][1]
            cuts = scan.extents.of(origin, order.reach, is_order=True)
            _report(scan, rule, opened[number].data, order, (origin, cuts))
        for number, start, end in scan.reader.unread:
            data, origin = opened[number].data, scan.to_classify[number][1]
            passage = located(origin, rule, rule.confidence, data, (start, end))
            if passage is not None:
                cuts = scan.extents.of(origin, (start, end), is_order=False)
                scan.unread_passages.append(passage._replace(cuts=cuts))
        scan.reader.unread.clear()


def _report(
    scan: Scan,
    rule: Rule,
    data: bytes,
    order: Order,
    located_in: tuple[Origin, tuple[StringSpan, ...]],
) -> None:
    """Make a match of an order, found in a reading with this origin; with what goes with it."""
    origin, cuts = located_in
    start, end = order.start, order.end
    confidence = min(order.confidence, rule.confidence)
    occurrence = Occurrence((start, end), None, data[start:end])
    words = scan.words_of(rule, confidence, occurrence, origin)
    if scan.tally.confidence_so_far(rule, words) >= confidence:
        return
    if (match := located(origin, rule, confidence, data, (start, end))) is not None:
        if match.view == "percent" and end - start < ADDRESS_BYTES:
            match = match._replace(confidence=lower(confidence))
        place = scan.source.place_of(match.path)
        if scan.tally.admits(rule, words, place, match.confidence):
            if order.is_reported:
                scan.reported_orders.add(len(scan.matches))
            scan.matches.append(match._replace(cuts=cuts))
            scan.tally.report(len(cuts))
