"""What of a text a classifier reads, and how sure it is, seeing what stands around."""

import pytest

from pipeguard.core.finding import Confidence
from pipeguard.core.model.cascade import FEW_WORDS, Opened, Reader
from pipeguard.core.model.classifier import load
from pipeguard.core.model.prefilter import Stretch
from pipeguard.core.text.budgets import Budgets
from pipeguard.rulebook.packs import model
from tests.core.model.samples import NAMES, samples

both = pytest.mark.parametrize("name", NAMES)


def test_of_a_longer_text_more_is_asked() -> None:
    classifier = load(model("injection.model"))
    text = max(samples("injection"), key=len)
    classifier.sure = classifier.surest(text).score - 0.5
    data = text.encode()
    opened = [Opened(data, [Stretch(0, len(data), 500)])]
    short, long = (
        [order.confidence for _, order in Reader(length, Budgets()).orders(opened, classifier)]
        for length in (len(data), 2**18)
    )
    assert short == [Confidence.HIGH]
    assert long == [Confidence.MEDIUM]


@both
def test_of_a_brief_text_less_is_asked(name: str) -> None:
    """Both of a sentence and of several together, down to a score that is below likely."""
    classifier = load(model(f"{name}.model"))
    text = max(samples(name), key=len)
    score = classifier.surest(text, 99.0).score
    classifier.sure = classifier.likely = score + 1.0
    data = text.encode()
    opened = [Opened(data, [Stretch(0, len(data), 500)])]
    found = [
        [order.confidence for _, order in Reader(length, Budgets()).orders(opened, classifier)]
        for length in (1, 64, 512, 8192)
    ]
    assert found == [[Confidence.HIGH], [Confidence.HIGH], [], []]


def test_what_the_budget_does_not_cover_is_told_and_not_read() -> None:
    class Spent(Budgets):
        def read(self, length: int) -> bool:
            return length < 100

    classifier = load(model("injection.model"))
    order = max(samples("injection"), key=len).encode()
    data = order + b"\n" + b"word " * 50
    stretches = [Stretch(0, len(order), 500), Stretch(len(order) + 1, len(data), 400)]
    reader = Reader(len(data), Spent())
    list(reader.orders([Opened(data, stretches)], classifier))
    unread = [(start, end) for _, start, end in reader.unread]
    assert unread == [(s.start, s.end) for s in stretches if s.end - s.start >= 100]


def test_a_pattern_is_doubted_by_sentences_that_are_no_order_by_far() -> None:
    classifier = load(model("injection.model"))
    calm = b"The library opens at nine, and the boats are moored at the northern pier today."
    order = max(samples("injection"), key=len).encode()
    reader = Reader(len(calm), Budgets())
    assert reader.doubts(calm, 4, 11, classifier)
    assert not reader.doubts(order, 0, len(order), classifier)
    few = b" ".join(calm.split()[:FEW_WORDS])
    assert not reader.doubts(few, 4, 11, classifier), "too few words to doubt it for"
