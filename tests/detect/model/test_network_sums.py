"""The network in C and in numpy: both give the same logits, and neither overruns its buffers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.model import network_sums
from pipeguard.detect.model.network import BATCH, Logits, native, portable, tokens
from pipeguard.detect.model.network_sums import Vocabulary
from pipeguard.detect.model.network_weights import MAX_PARTS, NetworkWeights, unpack_network
from pipeguard.rulebook.packs import mapped_model
from tests.detect.model.networks import ALPHABET, any_weights, buffers, full_slots, little_endian
from tests.detect.model.samples import run_sanitized
from tests.fuzz.budget import tried
from tests.fuzz.values import long_texts

FOLDER = Path(network_sums.__file__).parent
PRECISION = 1e-3  # logits; of the shipped network, they differ by 1e-5
# Of networks without meaning, which are sums of hundreds that may cancel; they differ by 1e-3.
# Which texts are tried depends on the modules that earlier tests loaded (Hypothesis' constants).
ROUGH = 1e-2

WORDS = st.text(ALPHABET + "#0", max_size=30) | st.text(max_size=3) | st.just("ab" * 40)
TOKENS = st.lists(WORDS, max_size=100).map(" ".join).map(tokens)
SIZES = st.tuples(st.sampled_from([1, 8, 17]), st.sampled_from([32, 64, 96]), st.integers(1, 4))


@pytest.fixture(scope="session")
def compiled() -> Callable[[NetworkWeights], Logits]:
    """The C form, built if a compiler exists: every test environment has one."""
    form = native()
    assert form is not None, "no C compiler? `make environment` builds _network.c"
    return form


@pytest.fixture(scope="session")
def in_c(compiled: Callable[[NetworkWeights], Logits]) -> Any:
    """Return its function, which takes buffers."""
    from pipeguard.detect.model import _network

    return _network


@tried(200)
@given(SIZES, st.lists(TOKENS, min_size=1, max_size=12))
def test_both_forms_give_the_same_logits(
    compiled: Callable[[NetworkWeights], Logits],
    sizes: tuple[int, int, int],
    texts: list[list[str]],
) -> None:
    weights = any_weights(*sizes)
    for output in range(2):
        expected = portable()(weights)(texts, output)
        assert compiled(weights)(texts, output) == pytest.approx(expected, abs=ROUGH, rel=1e-4)


@tried(60)
@given(st.lists(long_texts, min_size=1, max_size=9))
def test_both_forms_of_the_shipped_network_give_the_same_logits(
    compiled: Callable[[NetworkWeights], Logits], texts: list[str]
) -> None:
    weights = unpack_network(mapped_model("orders.network"))
    read = [tokens(text)[:MAX_PARTS] for text in texts]
    for output in range(2):
        expected = portable()(weights)(read, output)
        assert compiled(weights)(read, output) == pytest.approx(expected, abs=PRECISION)


@tried(200)
@given(st.text(max_size=400))
def test_a_text_has_so_many_parts_and_at_least_one(text: str) -> None:
    words = Vocabulary(["", "", "", "a", "##a", "b", "website"])
    assert 1 <= len(words.numbers(tokens(text))) <= MAX_PARTS


def test_words_are_taken_apart_by_their_longest_known_parts() -> None:
    words = Vocabulary(["", "", "", "send", "##er", "s", "##ender", "website", "email", "\u5bc6"])
    text = "Send sender SENT 12 123 https://a.example/b c@d.example"
    assert words.numbers(tokens(text)) == [3, 3, 4, 5, 1, 2, 2, 7, 8]
    assert words.numbers([]) == [1]


def test_threads_share_a_network(compiled: Callable[[NetworkWeights], Logits]) -> None:
    weights = any_weights(64, 128, 4)
    shared = compiled(weights)
    texts = [[["a", "b", "xé"] * (number + 1)] for number in range(24)]
    expected = [shared(text, 0) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: [shared(text, 0) for _ in range(20)], texts))
    assert found == [[one] * 20 for one in expected]


@pytest.mark.parametrize(
    "changes",
    [
        *({"values": b""}, {"values": b"short"}, {"ends": b""}, {"ends": b"\0" * 4}),
        *({"slots": b""}, {"slots": b"\0" * 12}, {"steps": b""}, {"steps": b"\0" * 24}),
        *({"parts": 0}, {"parts": -1}, {"parts": 2**40}, {"row": 0}, {"row": 2**62}),
        *({"width": 0}, {"width": 31}, {"width": 33}, {"width": -32}, {"width": 2**62}),
        *({"layers": 0}, {"layers": 9}, {"outputs": 0}, {"outputs": -(2**63)}),
    ],
)
def test_what_is_no_network_is_refused(in_c: Any, changes: dict[str, object]) -> None:
    scratch = bytearray(in_c.scratch_bytes(1024, 1024))
    assert len(in_c.logits(b"a", buffers(any_weights()), 0, scratch)) == 1
    with pytest.raises(ValueError, match="weights of another form"):
        in_c.logits(b"a", buffers(any_weights(), **changes), 0, scratch)


def test_what_it_cannot_answer_is_refused(in_c: Any) -> None:
    weights, scratch = buffers(any_weights()), bytearray(in_c.scratch_bytes(16, 32))
    assert len(in_c.logits(b"\n" * (BATCH - 1), weights, 1, scratch)) == BATCH
    for output in (-1, 2, 2**62):
        with pytest.raises(ValueError, match="no such output"):
            in_c.logits(b"a", weights, output, scratch)
    with pytest.raises(ValueError, match="too many texts"):
        in_c.logits(b"\n" * BATCH, weights, 0, scratch)
    with pytest.raises(ValueError, match="too little scratch memory"):
        in_c.logits(b"a", weights, 0, scratch[:-1])
    for row, width in ((0, 32), (16, -1), (2**62, 32)):
        with pytest.raises(ValueError, match="too many channels"):
            in_c.scratch_bytes(row, width)
    with pytest.raises(TypeError, match="bytes-like"):
        in_c.logits("a", weights, 0, scratch)
    with pytest.raises(TypeError, match="read-write"):
        in_c.logits(b"a", weights, 0, bytes(scratch))


@pytest.mark.parametrize("number", [0, 2, 5, 1000, 2**20 - 1])
@pytest.mark.parametrize("start", [3, 40, 2**31, 2**32 - 100])
def test_a_table_that_points_beyond_the_letters_finds_nothing(
    in_c: Any, number: int, start: int
) -> None:
    """Every slot is taken, with all bits of hashes, and every part is one letter, beyond them."""
    weights = any_weights()
    slots = full_slots(number)
    ends = little_endian(*range(start, start + weights.sizes.parts))
    scratch = bytearray(in_c.scratch_bytes(16, 32))
    unknown = in_c.logits(b"x", buffers(weights, slots=bytes(256)), 0, scratch)
    found = in_c.logits(b"x", buffers(weights, slots=slots, ends=ends, letters=b"xxx"), 0, scratch)
    assert found == unknown


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_buffers(tmp_path: Path) -> None:
    run_sanitized(FOLDER / "_network.c", FUZZING, tmp_path, 1500)


FUZZING = """
import _network
from tests.detect.model.networks import any_weights, buffers, full_slots, little_endian
kinds = ["ab ", "abcxé語 ", "a", "a \\n", "\\n", "0 ", "# ", "é", "".join(map(chr, range(1, 900)))]
for number in range(TRIES):
    weights = any_weights(*dice.choice([(1, 32, 1), (16, 32, 2), (17, 96, 4), (8, 64, 8)]))
    sizes = weights.sizes
    scratch = bytearray(_network.scratch_bytes(sizes.row, sizes.width))
    text = "".join(dice.choices(dice.choice(kinds), k=dice.choice([0, 1, 2, 23, 24, 25, 80, 3000])))
    data = text.encode() if number % 3 else dice.randbytes(len(text)).replace(b"\\n", b"")
    noise = {}
    if number % 4 == 1:
        noise = {"slots": dice.randbytes(4 << dice.randrange(1, 12))}
    if number % 4 == 2:
        noise = {"ends": dice.randbytes(len(weights.ends)), "letters": dice.randbytes(9)}
    if number % 4 == 3:
        start = dice.choice([0, 1, 9, 10, 2**31, 2**32 - 200])
        ends = little_endian(*range(start, start + sizes.parts))
        noise = {"slots": full_slots(dice.randrange(90)), "ends": ends, "letters": b"abcx ab#0"}
    if number % 5 == 0:
        noise["steps"] = dice.randbytes(len(weights.steps))
    if data.count(b"\\n") < 64:
        _network.logits(data, buffers(weights, **noise), dice.randrange(2), scratch)
    try:
        _network.logits(data, buffers(weights, values=weights.values[:-1]), 0, scratch)
    except ValueError:
        pass
    else:
        raise SystemExit("not refused")
"""
