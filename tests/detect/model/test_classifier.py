"""The classifier: any text is read, the same way each time, in bounded work, or nothing passes."""

import json
import math
from collections.abc import Callable
from functools import cache, partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given

from pipeguard import Action, Direction, Engines, Frame, Policy, Session, Verdict, make_guard
from pipeguard.detect.model.classifier import (
    MAGIC,
    Classifier,
    Ranking,
    Rescoring,
    unpack_classifier,
)
from pipeguard.detect.model.features import MAX_FAMILIES, WEIGHTS, StemTable, list_stems
from pipeguard.detect.model.opener import Opener
from pipeguard.detect.model.sentences import MAX_UNITS, units
from pipeguard.detect.rules.rule import Rule, load_pack
from pipeguard.detect.scanning.engine import Engine, Models, _network, classifier, compile_engine
from pipeguard.detect.scanning.rule_groups import EngineRules
from pipeguard.errors import EngineError, RuleError
from pipeguard.firewall.protocol.places import Surface
from pipeguard.rulebook.packs import model
from pipeguard.state.recorder import Recorder
from tests.detect.model.samples import (
    FILLER,
    RULE_OF,
    any_texts,
    both,
    document,
    engine_of,
    matches,
    read_classifier,
    samples,
    shipped,
)
from tests.each import each
from tests.fuzz.budget import tried
from tests.state.conftest import Heard
from training.packing import pack_classifier

# --- any text is read --------------------------------------------------------------------------


@both
@tried(100)
@given(text=any_texts)
def test_any_text_has_finite_scores_and_spans_inside_of_it(name: str, text: str) -> None:
    spans = []
    for score, start, end, _ in shipped(name).pieces(text):
        assert math.isfinite(score)
        assert 0 <= start < end <= len(text)
        assert any(letter.isalnum() for letter in text[start:end])
        spans.append((start, end))
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    best = shipped(name).best(text)
    assert (best.start, best.end) in spans if spans else best.score == -math.inf


def exhaustive(name: str) -> Classifier:
    """Load a classifier that skips nothing, however unlikely it is."""
    classifier = read_classifier(name)
    classifier.likely = -math.inf
    return classifier


def test_sentences_are_read_together_up_to_three() -> None:
    read = exhaustive("injection").pieces("A b. C d. E f. G h.")
    pieces = [(start, end) for _, start, end, _ in read]
    assert pieces[:3] == [(0, 4), (0, 9), (0, 14)]
    assert len(pieces) == 3 + 3 + 2 + 1
    assert max(sum(a <= start and end <= b for start, end, _ in units("A b. C d. E f. G h."))
               for a, b in pieces) == MAX_UNITS  # fmt: skip


@both
def test_what_is_left_out_could_not_have_been_likely(name: str) -> None:
    quick, thorough = shipped(name), exhaustive(name)
    left = found = 0
    for one, other in pairwise(samples(name)):
        text = f"The shop opens at nine. It is on the second floor. {one}. {other}. Thank you all."
        read = list(quick.pieces(text))
        every = list(thorough.pieces(text))
        assert [piece for piece in every if piece.score >= quick.likely and piece not in read] == []
        left += len(every) - len(read)
        found += sum(piece.score >= quick.likely for piece in read)
    assert left > 0
    assert found > 0


@pytest.mark.parametrize(
    "text", ["", " ", "\n" * 50, "...", "\u0301" * 99, "\U0001f600" * 9, "-" * 999]
)
def test_what_has_no_words_says_nothing(text: str) -> None:
    assert list(shipped("injection").pieces(text)) == []
    assert shipped("injection").best(text).score == -math.inf


@pytest.mark.parametrize("text", ["a" * 100_000, "日" * 50_000, '"' * 50_000 + "x", "a: " * 20_000])
def test_a_text_made_to_be_slow_is_read_too(text: str) -> None:
    assert all(math.isfinite(piece.score) for piece in shipped("injection").pieces(text))


# --- the same each time ------------------------------------------------------------------------


@both
@tried(60)
@given(text=any_texts)
def test_the_same_text_has_the_same_scores(name: str, text: str) -> None:
    again = reread(name)
    assert shipped(name).best(text) == again.best(text)
    assert [*shipped(name).pieces(text)] == [*again.pieces(text)]


reread = cache(read_classifier)


# --- the file ----------------------------------------------------------------------------------


@both
def test_a_shipped_model_is_the_file_that_its_rule_names(name: str) -> None:
    rule = RULE_OF[name]
    assert rule.model == f"{name}.model"
    assert sha256(model(rule.model)).hexdigest() == rule.sha256
    assert rule.pattern == ""


@both
def test_a_shipped_model_has_the_form_that_its_page_tells(name: str) -> None:
    found = document(name)
    assert pack_classifier(found) == model(f"{name}.model")
    assert set(found) - {"second", "ranker"} == {
        *("about", "bias", "families", "likely", "opener", "scale", "stems", "sure", "weights")
    }
    assert 0 < len(found["families"]) <= MAX_FAMILIES
    stems = list_stems(found["stems"])
    assert all(stems)
    assert max(map(max, stems.values())) < len(found["families"])
    assert found["likely"] <= found["sure"]
    assert found["scale"] > 0
    assert sha256(model(found["opener"]["file"])).hexdigest() == found["opener"]["sha256"]


def written(**changes: object) -> bytes:
    """Make a valid model except for some members; None leaves one out."""
    without = {"second": None, "ranker": None}
    whole: dict[str, object] = {**document("injection"), **without, **changes}
    return pack_classifier({key: value for key, value in whole.items() if value is not None})


RESCORING = Rescoring("mine.network", "0" * 64, "mine", 1.0, 1.0, 1)._asdict()
RANKING = Ranking("mine.ranker", "0" * 64, -2.0, -1.0, 1.0)._asdict()

WRONG: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": MAGIC + b"weights",
    "cut short": written()[:-1000],
    "tables of other names": written().replace(b'"tables"', b'"others"'),
    "too few weights": written(weights=bytes(WEIGHTS - 1)),
    "fewer families than stems": written(stems=StemTable(b"a\0b\0", bytes(8))),
    "too many families": written(families=["x"] * (MAX_FAMILIES + 1)),
    "an opener without a hash": written(opener={"file": "injection.opener"}),
    "a network without a hash": written(
        second={key: value for key, value in RESCORING.items() if key != "sha256"}
    ),
    "a network with more than is known": written(second=RESCORING | {"more": 1}),
    "a ranker without a share": written(
        ranker={key: value for key, value in RANKING.items() if key != "share"}
    ),
    **{
        f"no {key}": written(**{key: None})
        for key in ("families", "opener", "scale", "bias", "likely", "sure")
    },
}
WRONG_NUMBERS = {"wrong scale": written(scale="big"), "wrong likely": written(likely="no")}

PACK = """\
pack: mine
about: For a test.
rules:
- id: classifier
  title: An order to the model
  severity: high
  confidence: high
  surfaces: [to-client]
  views: [text, folded, decoded]
  model: mine.model
  sha256: {sha256}
  why: It is for a test.
  fix: Nothing.
  matches: [x]
  passes: [y]
"""


def rule_for(content: bytes) -> Rule:
    (rule,) = load_pack(PACK.format(sha256=sha256(content).hexdigest()), "mine.yaml")
    return rule


@cache
def compiled() -> dict[Surface, Engine]:
    def models(name: str) -> bytes | memoryview:
        return good if name == "mine.model" else model(name)

    good = written()
    return {each: compile_engine([rule_for(good)], each, models) for each in Surface}


def reading(rule: Rule, models: Callable[[str], bytes]) -> Engines:
    """Engines with the opener of a good model; the file is read for a text that it opens."""
    surfaces = Surface.TO_SERVER, Surface.TO_CLIENT, Surface.DEFINITIONS
    return Engines(*(engine_with(rule, models, surface) for surface in surfaces))


def engine_with(rule: Rule, models: Models, surface: Surface) -> Engine:
    """The engine of a rule, with the databases and the opener of a good model's."""
    good = compiled()[surface]
    sets = good.plain, good.squeezed, good.acts, good.opener
    return Engine(EngineRules(lambda: [rule], surface), sets, models)


def answered(rules: Engines, text: str) -> Verdict:
    """Judge a tool's result with a text."""
    session = Session(make_guard("demo", rules, Policy(), {}), "RUN")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read"}}
    assert session.take(Frame(Direction.TO_SERVER, json.dumps(call).encode(), 0.0)).forward
    result = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}
    return session.take(Frame(Direction.TO_CLIENT, json.dumps(result).encode(), 1.0))


ORDER = samples("injection")[0]


def is_refused(verdict: Verdict) -> bool:
    """True if none of it was forwarded, and its event says that it was not judged."""
    rules = [finding.rule for finding in verdict.findings]
    told = verdict.forward or b""
    return (
        verdict.action is Action.BLOCK and rules == ["protocol.internal"] and b"boats" not in told
    )


@each("content", WRONG)
def test_a_file_that_is_no_model_is_an_error(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        Classifier(unpack_classifier(content))


@pytest.mark.parametrize("kind", ["nothing", "no scale"])
def test_rules_do_not_compile_with_a_file_that_is_no_model(kind: str) -> None:
    with pytest.raises(EngineError, match=r"mine\.classifier: mine\.model"):
        compile_engine([rule_for(WRONG[kind])], Surface.TO_CLIENT, lambda _: WRONG[kind])


@pytest.mark.slow
@each("content", WRONG | WRONG_NUMBERS)
def test_nothing_passes_that_a_broken_model_should_have_read(content: bytes) -> None:
    assert is_refused(answered(reading(rule_for(content), lambda _: content), ORDER))


@pytest.mark.slow
def test_a_good_model_blocks_the_order_itself() -> None:
    content = written()
    verdict = answered(reading(rule_for(content), lambda _: content), ORDER)
    assert verdict.action is Action.BLOCK
    assert [finding.rule for finding in verdict.findings] == ["mine.classifier"]


# --- the ranker ----------------------------------------------------------------------------------


class Levelled(Opener):
    """A ranker that scores a text by its length in hundreds of bytes."""

    def __init__(self, _: Ranking) -> None:
        super().__init__(bytes)

    def score(self, data: bytes) -> float:
        return len(data) / 100


def test_a_stretch_below_the_least_score_of_the_ranker_is_not_worth_reading() -> None:
    content = written(ranker=RANKING | {"least": 1.0})
    ranked = Classifier(unpack_classifier(content), ranker=Levelled)
    assert [ranked.rank(b"x" * length) for length in (99, 100, 250)] == [None, 1.0, 2.5]
    assert Classifier(unpack_classifier(written())).rank(b"") == 0.0


def test_what_the_ranker_takes_for_calm_loses_a_share_of_the_difference() -> None:
    content = written(
        second=document("injection")["second"], ranker=RANKING | {"calm": 0.5, "share": 2.0}
    )
    network = partial(_network, RULE_OF["injection"], model)
    read = Classifier(unpack_classifier(content), network, Levelled)
    texts = ["x " * 50, "x " * 20, "The library opens at nine."]
    added = [0.0, -0.2, 2 * (len(texts[2]) / 100 - 0.5)]
    scores = zip(read.network_scores(texts), added, strict=True)
    assert read.rescore(texts) == pytest.approx([sum(each) for each in scores])


def test_nothing_passes_that_a_ranker_of_another_hash_should_have_read() -> None:
    content = written(ranker=RANKING)
    assert is_refused(answered(reading(rule_for(content), lambda _: content), ORDER))


@both
def test_the_shipped_ranker_is_the_file_that_its_classifier_names(name: str) -> None:
    found = document(name)["ranker"]
    assert isinstance(found, dict)
    assert sha256(model(found["file"])).hexdigest() == found["sha256"]
    ranked = classifier(RULE_OF[name], model)
    assert [ranked.rank(text.encode()) is not None for text in samples(name)] == [
        True for _ in samples(name)
    ]
    assert ranked.rank(FILLER.encode()) is None


# --- nothing passes without it -------------------------------------------------------------------


def test_a_text_that_is_not_opened_needs_no_model() -> None:
    def none(name: str) -> bytes:
        raise AssertionError(name)

    verdict = answered(reading(rule_for(written()), none), "7 4 9")
    assert verdict.action is Action.ALLOW


def changed(content: bytes) -> bytes:
    return content.replace(b'"bias"', b'"bias" ', 1)


@pytest.mark.parametrize(
    "models", [lambda _: changed(written()), lambda _: b""], ids=["another", "empty"]
)
def test_another_file_than_the_rule_names_is_not_believed(
    models: Callable[[str], bytes],
) -> None:
    rule = rule_for(written())
    with pytest.raises(EngineError, match=r"mine\.model is not the file that the rule names"):
        compile_engine([rule], Surface.TO_CLIENT, models)
    engine = engine_with(rule, models, Surface.TO_CLIENT)
    with pytest.raises(EngineError, match=r"mine\.model is not the file that the rule names"):
        engine.classifier(rule)


def test_a_model_that_was_changed_blocks_and_a_line_says_so(tmp_path: Path) -> None:
    log = Heard()
    verdict = answered(reading(rule_for(written()), lambda _: changed(written())), ORDER)
    assert is_refused(verdict)
    recorder = Recorder(tmp_path / "pipeguard.db", "demo", "RUN", log=log)
    recorder.record(verdict)
    recorder.close()
    (line,) = [line for line in log.lines if line[1] == "block protocol.internal"]
    assert line[0] == "warning"
    assert "EngineError" in str(line[2]["note"])


def test_a_model_that_is_missing_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuleError, match=r"mine\.model is missing from the rules"):
        model("mine.model")
    assert is_refused(answered(reading(rule_for(written()), model), ORDER))


def test_threads_share_what_was_read() -> None:
    engine = engine_of("injection")
    other = engine.clone()
    rule = RULE_OF["injection"]
    assert engine.classifier(rule) is other.classifier(rule)
    assert matches("injection", ORDER, other)
