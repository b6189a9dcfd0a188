"""Overlap of two texts: C and Python agree, and the C form leaks no buffer."""

from pathlib import Path
from types import ModuleType
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.flows import overlap
from tests.detect.model.samples import run_sanitized
from tests.fuzz.budget import tried

SOURCE = Path(overlap.__file__).parent.with_name("model") / "_overlap.c"
# Letters that repeat themselves, so that much is shared, in one byte and in several.
ROWS = st.text("ab", max_size=40) | st.text("aé中𝒳", max_size=40) | st.text(max_size=40)
SHARING = st.lists(ROWS, min_size=1, max_size=4).flatmap(
    lambda rows: st.tuples(*[st.lists(st.sampled_from(rows), max_size=9).map("".join)] * 3)
)
LONG = "kX82mQz71LpT04vBnR3w"


def test_most_of_a_value_in_pieces_is_enough() -> None:
    bare = overlap.squeeze(LONG)
    assert overlap.in_pieces(bare, f"x{bare[:9]} and then {bare[9:]}")
    assert not overlap.in_pieces(bare, bare[:9])
    assert not overlap.in_pieces(bare[:12], bare)


def test_what_two_texts_share_is_counted_in_passages() -> None:
    source = overlap.letters("The well runs dry in August, and nobody may hear of it.")
    budget = overlap.SearchBudget()
    assert overlap.find_shared("wellrunsdryinaugust", source, "", budget) == (19, 19)
    said = f"x{source[4:20]}y{source[24:40]}z"
    assert overlap.find_shared(said, source, "", budget) == (32, 16)
    assert overlap.find_shared(said, source, source[:22], budget) == (16, 16)
    assert overlap.find_shared(source[4:12], source, "", budget) == (0, 0)


@given(st.text(max_size=20) | st.text("aXé½™…—’́̀ᅡ각", max_size=9))
def test_letters_are_the_same_without_accents_and_look_alikes(text: str) -> None:
    bare = overlap.letters(text)
    assert bare == "".join(filter(str.isalnum, bare)) == overlap.letters(normalize("NFD", text))
    assert overlap.letters(f"Ｐ{text}аy-р\u0301ál Ⓑıł") == f"p{bare}aypalbil"
    assert overlap.letters(f"{text}ВСЕМ Σας") == overlap.letters(f"{text}всем ΣΑΣ")


@pytest.fixture
def python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the C form."""
    monkeypatch.setattr(overlap, "native", lambda: None)


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """The C form, built if a compiler exists: every test environment has one."""
    form = overlap.native()
    assert form is not None, "no C compiler? `make environment` builds _overlap.c"
    return form


@tried(500)
@given(SHARING)
def test_both_forms_find_the_same_passages(
    compiled: ModuleType, texts: tuple[str, str, str]
) -> None:
    sent, source, excluded = texts
    limits = 3, overlap.PASSAGE_CHARS, overlap.ENOUGH_CHARS
    found = compiled.find_shared(sent, source, excluded, limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "native", lambda: None)
        assert found == overlap.find_shared(sent, source, excluded, overlap.SearchBudget())


@tried(300)
@given(SHARING, st.integers(4, 20))
def test_both_forms_find_the_values_that_texts_have(
    compiled: ModuleType, texts: tuple[str, str, str], size: int
) -> None:
    first, *others = texts
    starts = range(len(first) - size + 1)
    values = [*dict.fromkeys(first[at : at + size + at % 3 * size] for at in starts)]
    having = ([at for at, each in enumerate(values) if each in text] for text in others)
    held = {at: numbers for at, numbers in enumerate(having) if numbers}
    if values:
        found = compiled.held(values, others)
        assert {at: sorted(numbers) for at, numbers in found.items()} == held
    assert overlap.find_held(values, others, overlap.SearchBudget()) == held


@tried(200)
@given(SHARING)
def test_who_shares_a_passage_holds_a_probe(texts: tuple[str, str, str]) -> None:
    sent, source, excluded = texts
    shares = overlap.find_shared(sent, source, "", overlap.SearchBudget()).chars > 0
    assert shares == any(probe in source for probe in overlap.list_probes(sent))
    value, said = sent[3:-5], f"{excluded}{sent[3:-5]}"
    if overlap.find_shared(sent, source, said, overlap.SearchBudget()).chars:
        assert any(probe in source for probe in overlap.list_new_probes(sent, value, said))


@tried(500)
@given(st.text() | st.text("a \t\x1c\x85\xa0é’\u2003\u3000"))
def test_both_forms_join_the_same_words(compiled: ModuleType, text: str) -> None:
    data, joined = text.encode("utf-8", "replace"), " ".join(text.split())
    assert compiled.join_words(data) in {None if not text.isascii() else joined, joined}


def test_what_repeats_itself_is_bounded(compiled: ModuleType) -> None:
    limits = 3, overlap.PASSAGE_CHARS, overlap.ENOUGH_CHARS
    source = "0" * 13 + ("y" + "0" * 12) * 20_000
    sent = ("00000000" + "qw" * 5) * 4000
    assert compiled.find_shared(sent, source, "", limits) is None
    assert overlap.find_shared(sent, source, "", overlap.SearchBudget()) == (0, 0)
    nested = ["0" * size for size in range(8, 400)]
    assert compiled.held(nested, ["0" * 9000, "0"]) == {0: None}
    held = overlap.find_held(nested, ["0" * 9000, "0"], overlap.SearchBudget())
    assert held == {0: [*range(392)]}


def test_values_that_begin_and_end_alike_cost_little(compiled: ModuleType) -> None:
    values = [f"https://docs.example/{number}/index.html" for number in range(5000)]
    text = " ".join(f"https://docs.example/x{number}/index.html" for number in range(500))
    assert compiled.held(values, [text, f"{text} {values[7]}"]) == {1: [7]}


@pytest.mark.parametrize("form", ["python", "C"])
def test_the_newest_texts_are_searched_first(request: pytest.FixtureRequest, form: str) -> None:
    if form == "python":
        request.getfixturevalue("python")
    texts = ["a needle", "no needle", "no", "a needle"]
    assert overlap.find_held(["needle"], texts, overlap.SearchBudget(18)) == {3: [0]}
    assert overlap.find_held(["needle"], texts, overlap.SearchBudget(99)) == {
        0: [0],
        1: [0],
        3: [0],
    }
    budget = overlap.SearchBudget(53)
    assert overlap.find_shared("needle" * 9, "needle" * 9, "", budget) == (0, 0)


def test_values_of_any_length_are_found() -> None:
    budget = overlap.SearchBudget()
    assert overlap.find_held(["abc", "x"], ["x", "xabc"], budget) == {0: [1], 1: [0, 1]}
    assert overlap.find_held([], ["x"], budget) == {}


@pytest.mark.parametrize("limits", [(0, 14, 512), (3, 13, 512), (3, 14, 13)])
def test_limits_that_leave_the_tables_are_refused(
    compiled: ModuleType, limits: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match="limits"):
        compiled.find_shared("a", "b", "", limits)
    with pytest.raises(ValueError, match="value"):
        compiled.held(["abc"], ["b"])
    with pytest.raises(ValueError, match="limits"):
        compiled.find_tokens(b"a", (limits[0], limits[0] - 1), True, False)


@pytest.mark.slow
def test_the_c_form_leaves_no_byte_of_its_buffers(tmp_path: Path) -> None:
    """Built with the address and undefined behaviour sanitizers, over random texts."""
    run_sanitized(SOURCE, FUZZING, tmp_path, 3000)


FUZZING = """
import _overlap
def text():
    letters = dice.choice(["a", "ab", "é中a", "𝒳b", "abcdefghij0123456789"])
    return "".join(dice.choices(letters, k=dice.choice([0, 1, 7, 8, 9, 13, 14, 15, 40, 3000])))
for number in range(TRIES):
    sent, source, excluded = text(), text(), text()
    source += sent[dice.randrange(len(sent) + 1):]
    _overlap.find_shared(sent, source, excluded, (dice.choice([1, 3, 40]), 14, 512))
    size = dice.choice([4, 5, 8, 12, 14, 40])
    starts = range(0, len(sent) - size + 1, 7)
    values = [sent[at:at + size + dice.choice([0, 0, 3, 40])] for at in starts]
    _overlap.held(values, [source, excluded, sent[:size]])
    indexes = [b"", *map(_overlap.index_rows, (source.encode(), excluded.encode()))]
    _overlap.find_likely(indexes, [*values, sent[:2]], dice.choice([0, 1]))
    tokens = "".join(dice.choices("aZ19_-@.+/= é", k=dice.choice([0, 1, 11, 12, 13, 3000])))
    limits = dice.choice([(1, 1), (12, 12), (12, 256), (8, 4096)])
    [_overlap.join_words(each.encode()[:at]) for each in (tokens, sent) for at in range(40)]
    _overlap.find_tokens(tokens.encode(), limits, dice.choice([0, 1]), dice.choice([0, 1]))
"""
