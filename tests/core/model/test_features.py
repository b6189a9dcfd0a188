"""The features of a sentence."""

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.core.model import features as module
from pipeguard.core.model.features import FIRST_GRAM, WEIGHTS, WORD_BUCKETS, features, tokens
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
    assert all(0 <= number < WORD_BUCKETS for number in words)
    assert all(WORD_BUCKETS <= number < FIRST_GRAM for number in families)
    assert all(FIRST_GRAM <= number < WEIGHTS for number in grams)


def test_the_address_of_a_schemas_language_is_no_address_to_send_to() -> None:
    tool = "Trigger a Request from the Server for LLM Sampling"
    beside = f"{tool} http://json-schema.org/draft-07/schema#"
    assert features(beside, shared_lexicon()) == features(tool, shared_lexicon())
    assert features(f"{tool} http://collector.test/x", shared_lexicon()) != features(
        tool, shared_lexicon()
    )


def test_order_counts_and_numbers_do_not() -> None:
    lexicon = shared_lexicon()
    assert features("send 5 keys", lexicon) == features("send 7 keys", lexicon)
    assert features("keys send", lexicon) != features("send keys", lexicon)


def test_of_ideographs_each_two_together_are_a_token() -> None:
    assert tokens(["42", "do", "\u65e5\u672c\u8a9e"]) == ["0", "do", "\u65e5\u672c", "\u672c\u8a9e"]


def test_two_texts_together_have_the_features_of_either() -> None:
    one, other = (features(text, shared_lexicon()) for text in ("ignore this", "send that"))
    both = one | other
    assert both.words == one.words | other.words
    assert both.families == one.families | other.families
    assert both.grams == one.grams | other.grams
