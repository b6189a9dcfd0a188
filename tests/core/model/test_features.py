"""What counts in a sentence, as the numbers of weights."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.model import features as module
from pipeguard.core.model.features import BUCKETS, GRAMS, WEIGHTS, features, tokens
from pipeguard.core.model.lexicon import Lexicon
from tests.core.model.samples import any_texts, shared_lexicon, stems_of
from tests.fuzz.budget import tried


@tried(40)
@given(st.lists(any_texts, min_size=2, max_size=5))
def test_what_was_read_before_makes_no_difference(read: list[str]) -> None:
    module._hashes.cache_clear()
    fresh = Lexicon(*stems_of("injection"))
    first = [features(text, fresh) for text in read]
    for lexicon in (fresh, shared_lexicon()):
        again = [features(text, lexicon) for text in reversed(read)]
        assert again[::-1] == first


@tried(60)
@given(any_texts)
def test_every_feature_has_a_weight(text: str) -> None:
    words, families, grams = features(text, shared_lexicon())
    assert all(0 <= number < BUCKETS for number in words)
    assert all(BUCKETS <= number < GRAMS for number in families)
    assert all(GRAMS <= number < WEIGHTS for number in grams)


def test_the_address_of_a_schemas_language_is_no_address_to_send_to() -> None:
    said = "Trigger a Request from the Server for LLM Sampling"
    beside = f"{said} http://json-schema.org/draft-07/schema#"
    assert features(beside, shared_lexicon()) == features(said, shared_lexicon())
    assert features(f"{said} http://collector.test/x", shared_lexicon()) != features(
        said, shared_lexicon()
    )


def test_order_counts_and_numbers_do_not() -> None:
    lexicon = shared_lexicon()
    assert features("send 5 keys", lexicon) == features("send 7 keys", lexicon)
    assert features("keys send", lexicon) != features("send keys", lexicon)


def test_of_ideographs_each_two_together_are_a_token() -> None:
    assert tokens(["42", "do", "\u65e5\u672c\u8a9e"]) == ["0", "do", "\u65e5\u672c", "\u672c\u8a9e"]


def test_what_counts_in_two_texts_together_is_what_counts_in_either() -> None:
    one, other = (features(text, shared_lexicon()) for text in ("ignore this", "send that"))
    both = one | other
    assert both.words == one.words | other.words
    assert both.families == one.families | other.families
    assert both.grams == one.grams | other.grams
