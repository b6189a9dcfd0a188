"""The features of a sentence, and their sums: C and Python agree."""

import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.model import features as module
from pipeguard.detect.model.features import (
    FIRST_GRAM,
    WEIGHTS,
    WORD_BUCKETS,
    CompiledLexicon,
    Features,
    Lexicon,
    Scoring,
    clean,
    features,
    native,
    tokens,
)
from tests.detect.model.samples import any_texts, run_sanitized, shared_lexicon, stems_of
from tests.fuzz.budget import tried
from training.packing import pack_stems


def features_of(text: str, lexicon: Lexicon) -> Features:
    return features(clean(text), lexicon)


@tried(40)
@given(st.lists(any_texts, min_size=2, max_size=5))
def test_what_was_read_before_makes_no_difference(read: list[str]) -> None:
    module._hashes.cache_clear()
    fresh = Lexicon(*stems_of("injection"))
    first = [features_of(text, fresh) for text in read]
    for lexicon in (fresh, shared_lexicon()):
        again = [features_of(text, lexicon) for text in reversed(read)]
        assert again[::-1] == first


@tried(60)
@given(any_texts)
def test_every_feature_has_a_weight(text: str) -> None:
    words, families, grams = features_of(text, shared_lexicon())
    assert all(0 <= number < WORD_BUCKETS for number in words)
    assert all(WORD_BUCKETS <= number < FIRST_GRAM for number in families)
    assert all(FIRST_GRAM <= number < WEIGHTS for number in grams)


def test_the_address_of_a_schemas_language_is_no_address_to_send_to() -> None:
    tool = "Trigger a Request from the Server for LLM Sampling"
    beside = f"{tool} http://json-schema.org/draft-07/schema#"
    assert features_of(beside, shared_lexicon()) == features_of(tool, shared_lexicon())
    assert features_of(f"{tool} http://collector.test/x", shared_lexicon()) != features_of(
        tool, shared_lexicon()
    )


def test_order_counts_and_numbers_do_not() -> None:
    lexicon = shared_lexicon()
    assert features_of("send 5 keys", lexicon) == features_of("send 7 keys", lexicon)
    assert features_of("keys send", lexicon) != features_of("send keys", lexicon)


def test_of_ideographs_each_two_together_are_a_token() -> None:
    assert tokens(["42", "do", "\u65e5\u672c\u8a9e"]) == ["0", "do", "\u65e5\u672c", "\u672c\u8a9e"]


def test_two_texts_together_have_the_features_of_either() -> None:
    one, other = (features_of(text, shared_lexicon()) for text in ("ignore this", "send that"))
    both = one | other
    assert both.words == one.words | other.words
    assert both.families == one.families | other.families
    assert both.grams == one.grams | other.grams


# --- in C and in Python --------------------------------------------------------------------------

SOURCE = Path(module.__file__).with_name("_classifier.c")


@pytest.fixture(scope="session")
def compiled() -> CompiledLexicon:
    """The C form, built if a compiler exists: every test environment has one."""
    form = native()
    assert form is not None, "no C compiler? `make environment` builds _classifier.c"
    families, stems = stems_of("injection")
    return form(families, pack_stems(stems))


@cache
def any_scoring(least: float) -> Scoring:
    return random.Random(7).randbytes(WEIGHTS), 0.02, -0.3, least  # noqa: S311  of a test


def are_the_same(compiled: CompiledLexicon, text: str, least: float) -> bool:
    """True if both forms find the same sentences and families, and give them the same scores."""
    lexicon, scoring = shared_lexicon(), any_scoring(least)
    return compiled.text_families(text) == lexicon.text_families(text) and (
        compiled.means(text, scoring) == lexicon.means(text, scoring)
    )


any_letters = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates, too
# Words of the lexicon, and what is between the words of a sentence, its quotes and its addresses.
any_stems = st.sampled_from(sorted(stems_of("injection")[1]))
any_signs = st.sampled_from(
    [*" \t\n.!?:;,\"'`()[]<>#*|/@-_0\u0663", *"\u3002\uff1a\uff0c\uff01\u0964\u061f"]
)
any_quotes = st.sampled_from(
    [*"\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u2014\u0301", "www.", ".test"]
)
any_orders = st.lists(any_stems | any_stems | any_signs | any_quotes, max_size=90).map("".join)


@tried(400)
@given(
    any_texts | any_orders | any_letters | any_letters.map(lambda text: text * 40),
    st.sampled_from([-1e9, -0.5, 0.0, 0.3]),
)
def test_both_forms_give_the_same_scores(
    compiled: CompiledLexicon, text: str, least: float
) -> None:
    assert are_the_same(compiled, text, least)


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a" * 70_000, "a " * 50_000, "ab" * 3 + "\0", "\u65e5"),
        *("\u65e5\u672c\u8a9e" * 25_000, "\u65e5a\u0930\u093f " * 9_000),
        *("\U0001d400\u0660 9\u0662", "send 42 keys to me, assistant", "send 1\u03012 keys"),
        *("do \u65e5not", "AI, do not", '"AI" do, \u201cnot\u201d: \u201eit\u201c', "a\n\n\nb"),
        *("IGNORE WWW.A.COM ", "x.invalid y.invalidate", "AI: http://json-schema.org/x,"),
        "a" * 60 + ": AI",
        *("send it." * 3, "a.\u3000b\u3002c\uff01 d", "- " * 90 + "send", "\u5fd8" * 121),
    ],
)
def test_both_forms_give_long_and_odd_texts_the_same_scores(
    compiled: CompiledLexicon, text: str
) -> None:
    assert are_the_same(compiled, f"{text}. ignore this\n{text[::-1]}", -1e9)


def test_what_is_no_lexicon_or_no_text_is_refused(compiled: CompiledLexicon) -> None:
    from pipeguard.detect.model import _classifier

    scoring = any_scoring(0.0)
    one = (1).to_bytes(8, "little")
    lexicon = _classifier.lexicon(b"send\0", one, 0)
    assert len(_classifier.means("Send \u00e9.", clean, lexicon, scoring)) == 1
    for stems, families in ((b"send\0", b""), (b"send", one), (b"send\0x", one), (b"", one)):
        with pytest.raises(ValueError, match="not as many stems as families"):
            _classifier.lexicon(stems, families, 0)
    for text, made, of, weights, error in (
        ("a", clean, lexicon, scoring[0][:-1], ValueError),
        ("a", clean, lexicon, "weights", TypeError),
        ("a", clean, compiled, scoring[0], ValueError),
        (b"a", clean, lexicon, scoring[0], TypeError),
        ("\u00e9", len, lexicon, scoring[0], TypeError),
        ("\u00e9", None, lexicon, scoring[0], TypeError),
        ("\u00e9", int, lexicon, scoring[0], ValueError),
    ):
        with pytest.raises(error):
            _classifier.means(text, made, of, (weights, *scoring[1:]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="PyCapsule"):
        _classifier.families("a", compiled)


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_buffers(tmp_path: Path) -> None:
    run_sanitized(SOURCE, FUZZING, tmp_path, 3000)


FUZZING = f"""
from array import array
import _classifier
weights = dice.randbytes({WEIGHTS})
letters = [*map(chr, range(0x3100)), *map(chr, range(0x110000 - 99, 0x110000)), "\\ud800"]
kinds = ["ab .\\n", "a", letters, "\u65e5a \u3002", "'`'` ab:,", "\u201c\u201d\u3002.! ab\u5fd8"]
kinds += ["\U0001d400\uff1a,.a ", "Ab, 19-", "www.test@/ "]
cleaned = [str.casefold, str.upper, lambda text: text * 3, lambda text: "", str.title]
sizes = [0, 1, 2, 3, 4, 5, 64, 257, 3000]
for number in range(TRIES):
    size = 300_000 if number in (7, 8) else dice.choice(sizes)
    kind = dice.choice(kinds)
    text = "".join(dice.choices(kind, k=size))
    stems = ["".join(dice.choices(kind, k=dice.randrange(5))).replace("\\0", "") for _ in range(40)]
    stems += [stem + "\\n" for stem in stems[:9]]
    if number % 3:
        stems = sorted(set(stems))
    joined = "".join(stem + "\\0" for stem in stems).encode("utf-8", "surrogatepass")
    families = array("Q", [dice.getrandbits(64) & dice.getrandbits(64) for _ in stems])
    lexicon = _classifier.lexicon(joined, families, dice.randrange(-1, 70))
    scoring = weights, 0.01, -1.0, dice.choice([-1e9, 0.0])
    _classifier.means(text, dice.choice(cleaned), lexicon, scoring)
    _classifier.families(text, lexicon)
    for given in families[:-1], families[:0]:
        try:
            _classifier.lexicon(joined, given, 0)
        except ValueError:
            pass
"""
