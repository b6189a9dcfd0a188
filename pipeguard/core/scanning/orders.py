"""What classifiers say of the readings of one value: sentences that are an order to the model."""

from __future__ import annotations

from pipeguard.core.finding import lower
from pipeguard.core.model.cascade import BRIEF_BYTES, Order
from pipeguard.core.rules.rule import Rule
from pipeguard.core.scanning.origin import Origin
from pipeguard.core.scanning.scan import Scan

ADDRESS_BYTES = 80  # of what is percent-encoded: no order is so short


def read_orders(scan: Scan) -> None:
    """Have each rule that has a classifier read what could be an order to the model."""
    if not scan.opened or scan.tally.exhausted:
        return  # before a rule or a model is loaded
    if len(scan.source.text.data) < BRIEF_BYTES and scan.source.asks_the_user(scan.surface):
        scan.reader.drop_leniency()
    opened = [each for each, _ in scan.opened]
    for rule in scan.lookup.residents.classifying:
        if scan.surface not in rule.surfaces:
            continue
        for number, order in scan.reader.orders(opened, scan.lookup.classifier(rule)):
            _judge(scan, rule, opened[number].data, order, scan.opened[number][1])
        for number, start, end in scan.reader.unread:
            data, origin = opened[number].data, scan.opened[number][1]
            passage = origin.located(rule, rule.confidence, data, start, end)
            scan.unread += [passage] if passage is not None else []
        scan.reader.unread.clear()


def _judge(scan: Scan, rule: Rule, data: bytes, order: Order, origin: Origin) -> None:
    start, end = order.start, order.end
    confidence = min(order.confidence, rule.confidence)
    if scan.tally.known(rule, data[start:end]) >= confidence:
        return
    if (found := origin.located(rule, confidence, data, start, end)) is not None:
        if found.view == "percent" and end - start < ADDRESS_BYTES:
            found = found._replace(confidence=lower(confidence))
        place = scan.source.place_of(found.path)
        if scan.tally.tell(rule, data[start:end], place, found.confidence):
            if order.is_reported:
                scan.told.add(len(scan.matches))
            scan.matches.append(found)
