"""The opener in C and in numpy: both open the same texts, and neither overruns its buffers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.model import opener_sums
from pipeguard.detect.model.opener import Windows, native, portable, with_ascii_marks
from pipeguard.detect.model.opener_weights import (
    GRAM_BITS,
    MOST_STRETCHES,
    SEGMENT_TOKENS,
    TOKEN_BYTES,
    WORD_BITS,
    Weights,
)
from tests.detect.model.openers import TEXTS, any_weights
from tests.detect.model.samples import run_sanitized
from tests.fuzz.budget import tried

SOURCE = Path(opener_sums.__file__).with_name("_opener.c")


@pytest.fixture(scope="session")
def compiled() -> Windows:
    """The C form, built if a compiler exists: every test environment has one."""
    windows = native()
    assert windows is not None, "no C compiler? `make environment` builds _opener.c"
    return windows


@tried(300)
@given(TEXTS, st.sampled_from([-1e9, -2.0, 0.5]))
def test_both_forms_open_the_same(compiled: Windows, text: str, threshold: float) -> None:
    data = with_ascii_marks(text.encode())
    weights = any_weights(threshold)
    assert compiled(data, weights) == portable()(data, weights)


@tried(100)
@given(st.binary(max_size=2000))
def test_both_forms_open_the_same_of_what_is_no_text(compiled: Windows, data: bytes) -> None:
    assert compiled(data, any_weights()) == portable()(data, any_weights())


@pytest.mark.parametrize(
    "text",
    [part * 50_000 for part in ("a", " ", "a ", "a\n", ".", "<", "語")],
    ids=["letters", "spaces", "words", "lines", "stops", "marks", "ideographs"],
)
def test_both_forms_open_the_same_of_long_runs(compiled: Windows, text: str) -> None:
    found = compiled(text.encode(), any_weights())
    assert found == portable()(text.encode(), any_weights())
    assert len(found) <= MOST_STRETCHES


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_buffers(tmp_path: Path) -> None:
    run_sanitized(SOURCE, FUZZING, tmp_path, 3000)


FUZZING = f"""
import _opener
words, grams = dice.randbytes(1 << {WORD_BITS}), dice.randbytes(1 << {GRAM_BITS})
kinds = [b"ab .!\\n", b"a", b"<>#: ", bytes(range(256)), b"Aa0. \\xe3\\x80\\x82"]
for number in range(TRIES):
    text = bytes(dice.choices(dice.choice(kinds), k=dice.choice([0, 1, 2, 3, 4, 63, 64, 65, 5000])))
    _opener.windows(text, (words, grams, 0.01, -1.0, dice.choice([-1e9, 0.0])))
"""


@pytest.mark.parametrize(
    ("text", "weights", "error"),
    [
        ("text", any_weights(), TypeError),
        (b"", any_weights()._replace(words=b"short"), ValueError),
        (b"", any_weights()._replace(grams=b""), ValueError),
        (b"", (b"", b""), TypeError),
    ],
)
def test_what_is_no_text_or_no_table_is_refused(
    compiled: Windows, text: bytes, weights: Weights, error: type[Exception]
) -> None:
    with pytest.raises(error):
        compiled(text, weights)


def test_a_long_token_is_several() -> None:
    weights = any_weights(-1e9)
    data = b"a" * TOKEN_BYTES * SEGMENT_TOKENS * 5
    starts = opener_sums.features(data)
    assert starts is not None
    assert starts.starts.tolist() == [TOKEN_BYTES * SEGMENT_TOKENS * part for part in range(5)]
    assert portable()(data, weights)[0][0] == 0
