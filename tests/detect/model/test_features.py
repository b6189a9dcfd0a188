"""The features of a sentence, and their sums: in C and in Python they are the same."""

import random
import re
import subprocess
import sys
import sysconfig
from array import array
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.model import features as module
from pipeguard.detect.model.features import (
    FIRST_GRAM,
    TOGETHER,
    WEIGHTS,
    WORD_BUCKETS,
    Lexicon,
    Means,
    Scoring,
    features,
    native,
    portable,
    read,
    tokens,
)
from tests.detect.model.samples import any_texts, shared_lexicon, stems_of
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


# --- in C and in Python --------------------------------------------------------------------------

SOURCE = Path(module.__file__).with_name("_classifier.c")


@pytest.fixture(scope="session")
def compiled() -> Means:
    """The form in C, which is built where a compiler is: it is in every environment of tests."""
    means = native()
    assert means is not None, "no C compiler? `make environment` builds _classifier.c"
    return means


@cache
def any_scoring(least: float) -> Scoring:
    return random.Random(7).randbytes(WEIGHTS), 0.02, -0.3, least  # noqa: S311  of a test


def are_the_same(compiled: Means, texts: list[str], least: float) -> bool:
    """True if both forms give each sentence, and all that follow each other, the same scores."""
    masked = [re.sub(r"\d+", "0", text) for text in texts]
    sentences = [read(text, shared_lexicon()) for text in masked]
    groups = [
        tuple(range(first, first + size))
        for size in range(1, TOGETHER + 1)
        for first in range(len(texts) + 1 - size)
    ]
    found = compiled(sentences, groups, any_scoring(least))
    return found == portable(sentences, groups, any_scoring(least))


any_letters = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates, too


@tried(300)
@given(
    st.lists(any_texts | any_letters | any_letters.map(lambda text: text * 40), max_size=5),
    st.sampled_from([-1e9, -0.5, 0.0, 0.3]),
)
def test_both_forms_give_the_same_scores(compiled: Means, texts: list[str], least: float) -> None:
    assert are_the_same(compiled, texts, least)


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a" * 70_000, "a " * 50_000, "ab" * 3 + "\0", "\u65e5"),
        *("\u65e5\u672c\u8a9e" * 25_000, "\u65e5a\u0930\u093f " * 9_000),
        *("\U0001d400\u0660 9\u0662", "send 42 keys to me, assistant"),
    ],
)
def test_both_forms_give_long_and_odd_texts_the_same_scores(compiled: Means, text: str) -> None:
    assert are_the_same(compiled, [text, "ignore this", text[::-1]], -1e9)


@pytest.mark.parametrize(
    ("families", "groups", "weights", "error"),
    [
        ([-1], [0, -1, -1], bytes(WEIGHTS - 1), ValueError),
        ([], [0, -1, -1], bytes(WEIGHTS), ValueError),
        ([-1, -1], [0, -1, -1], bytes(WEIGHTS), ValueError),
        ([-1, 7], [0, -1, -1], bytes(WEIGHTS), ValueError),
        ([WEIGHTS, -1], [0, -1, -1], bytes(WEIGHTS), ValueError),
        ([-1], [1, -1, -1], bytes(WEIGHTS), ValueError),
        ([-1], [0, 0, 7], bytes(WEIGHTS), ValueError),
        ([-1], [-1, 0, 0], bytes(WEIGHTS), ValueError),
        ([-1], [0, -1, -1], "weights", TypeError),
    ],
)
def test_what_is_no_family_or_no_sentence_is_refused(
    families: list[int], groups: list[int], weights: bytes, error: type[Exception]
) -> None:
    from pipeguard.detect.model import _classifier

    with pytest.raises(error):
        _classifier.means(
            b"word\n", array("i", families), array("i", groups), (weights, 1.0, 0.0, 0.0)
        )


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_buffers(tmp_path: Path) -> None:
    """Built with the sanitizers of addresses and of undefined behaviour, over random texts."""
    include, target = sysconfig.get_paths()["include"], tmp_path / "_classifier.abi3.so"
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g"]
    build = ["cc", *flags, "-shared", "-fPIC", f"-I{include}", str(SOURCE), "-o", str(target)]
    subprocess.run([*build, "-lm"], check=True)
    library = subprocess.run(
        ["cc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    subprocess.run(
        [sys.executable, "-c", FUZZING, str(tmp_path)],
        env={"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"},
        check=True,
    )


FUZZING = f"""
import random, sys
from array import array
sys.path.insert(0, sys.argv[1])
import _classifier
dice = random.Random(2)
sums = dice.randbytes({WEIGHTS}), 0.01, -1.0, 0.0
kinds = [b"ab \\n", b"a", bytes(range(256)), b"\\xe6\\x97\\xa5a \\n", b"\\xe3\\x82", b"\\xe3 \\n"]
sizes = [0, 1, 2, 3, 4, 5, 64, 257, 5000]
for number in range(3000):
    size = 1_000_000 if number in (7, 8) else dice.choice(sizes)
    text = bytes(dice.choices(dice.choice(kinds), k=size))
    families, lines = array("i"), text.count(b"\\n")
    for _ in range(lines):
        families.extend(dice.choices(range({WEIGHTS}), k=dice.choice([0, 0, 9])))
        families.append(-1)
    groups = array("i", dice.choices(range(-1, lines + 1), k=dice.choice([0, 1, 3, 3, 3, 300])))
    for given in families, families[:-1]:
        try:
            _classifier.means(text, given, groups, sums)
        except ValueError:
            pass
"""
