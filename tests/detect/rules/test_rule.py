"""Every rule of every pack: its samples hold through the whole scanner."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.rules.expressions import branches, slowness
from pipeguard.detect.matching.confirm import Finder, Occurrence
from pipeguard.detect.rules.rule import Rule, View, as_record, from_record, load_pack
from pipeguard.detect.scanning.engine import Engine, compile_engine
from pipeguard.detect.scanning.scan import Scan
from pipeguard.errors import RuleError
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import PLACES, Surface, known_places
from pipeguard.rulebook import samples
from pipeguard.rulebook.packs import PackFile, load_rules, model, sources
from pipeguard.rulebook.proof import frame_value, prove_all, sample_place
from pipeguard.rulebook.samples import SEEDS, texts
from tests.detect.cases import read_cases
from tests.each import each
from tests.fuzz.rulebook import ALL as RULES
from tests.fuzz.rulebook import engines
from tests.rulebook.words import pack_of

CASES = read_cases(__file__)


@pytest.mark.parametrize("seeds", [1, pytest.param(len(SEEDS), marks=pytest.mark.exhaustive)])
def test_the_samples_of_rules_hold(seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SEEDS", range(seeds))
    assert list(prove_all(RULES.values(), engines())) == []


@pytest.mark.slow
def test_a_sample_needs_each_branch_of_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    read = dict[str, set[bytes]]()
    confirm = Scan._confirm

    def record(
        scan: Scan, rule: Rule, data: bytes, low: int, high: int, view: View
    ) -> Iterator[Occurrence]:
        read.setdefault(rule.id, set()).add(data[low:high])
        return confirm(scan, rule, data, low, high, view)

    monkeypatch.setattr(Scan, "_confirm", record)
    monkeypatch.setattr(samples, "SEEDS", range(1))
    unneeded = dict[str, list[str]]()
    for rule in RULES.values():
        read.clear()
        assert list(prove_all([rule._replace(passes=())], engines())) == []
        for branch in branches(rule.pattern):
            finder = Finder(branch, ignore_case=rule.ignore_case)
            if not any(any(finder.finditer(data, 0, len(data))) for data in read[rule.id]):
                unneeded.setdefault(rule.pack, []).append(f"{rule.id}: {branch}")
    allowed = dict(CASES["a_sample_needs_each_branch_of_a_rule"])
    assert all(len(listed) <= allowed[pack] for pack, listed in unneeded.items()), unneeded


@each("rule", RULES)
def test_a_rules_expressions_are_not_slow(rule: Rule) -> None:
    assert list(slowness(rule)) == []


@each("rule", RULES)
def test_a_rule_tells_a_person_what_it_is_for(rule: Rule) -> None:
    assert rule.why.endswith(".")
    assert rule.fix.endswith(".")
    assert rule.title == rule.title.strip()
    assert not rule.title.endswith(".")
    assert len(rule.title) <= 100


@each("rule", RULES)
def test_a_rule_survives_the_cache(rule: Rule) -> None:
    assert from_record(as_record(rule)) == rule


@each("pack", {Path(pack.path).stem: pack for pack in sources()})
def test_the_expressions_of_a_shipped_pack_can_be_run(pack: PackFile) -> None:
    """Compiled only here, not when it is loaded."""
    text = pack.content.decode()
    assert load_pack(text, pack.path) == load_rules([pack])


def test_a_recipe_gives_a_text_for_each_seed() -> None:
    made = [text for rule in RULES.values() for one in rule.matches for text in texts(one)]
    assert len(made) > sum(len(rule.matches) for rule in RULES.values())


@pytest.mark.slow
def test_every_place_of_the_table_is_known() -> None:
    rows = [rows for part in PLACES.values() for rows in part.values()]
    assert {name for each in rows for name in each.values()} < {*known_places()}


# --- what proves a rule also fails one ---------------------------------------------------------

PLACES_OF_RULE = ["call.arguments", "result.text", "tool.description"]
FIELDS = {"pattern": "xyzzy-[0-9]{3}", "places": PLACES_OF_RULE, "passes": ["say xyzzy"]}


@pytest.fixture(scope="module")
def compiled() -> list[Engine]:
    """The engines of the rule, in which its samples have no part."""
    rules = load_pack(pack_of(**FIELDS), "mine.yaml")
    return [compile_engine(rules, surface, model) for surface in Surface]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "failure"),
    [
        ({}, None),
        ({"matches": ["say xyzzy-12"]}, "must match, but does not"),
        ({"passes": ["say xyzzy-123"]}, "must not match, but does"),
        ({"matches": ["sayxyzzy-123"]}, "confidence: expected high, found medium"),
    ],
)
def test_a_rule_is_proven_by_its_samples(
    compiled: list[Engine], changed: dict[str, object], failure: str | None
) -> None:
    fields = {**FIELDS, "matches": ["say xyzzy-123"], **changed}
    failed = [each.what for each in prove_all(load_pack(pack_of(**fields), "mine.yaml"), compiled)]
    assert failed == ([failure] * len(Surface) if failure else [])


def test_the_first_error_of_each_rule_is_listed_up_to_a_limit() -> None:
    with pytest.raises(RuleError) as raised:
        load_pack("pack: acme\nabout: Tests.\nrules:\n" + "- {id: some}\n" * 25, "acme.yaml")
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("acme.yaml, line 4, column 3: some: `title`, `severity`,")
    assert (len(lines), lines[-1]) == (21, "  … and 5 more")


def test_a_sample_stands_in_the_first_place_that_fits() -> None:
    (rule,) = load_pack(pack_of(places=["prompt.*"]), "mine.yaml")
    assert sample_place(rule, Surface.DEFINITIONS).startswith("prompt.")
    assert sample_place(rule, Surface.TO_CLIENT).startswith("prompt.")


def test_a_frame_has_the_form_of_its_surface() -> None:
    assert frame_value(Surface.TO_SERVER, "x") == {"text": "x"}
    assert frame_value(Surface.TO_CLIENT, "x") == {"content": [{"type": "text", "text": "x"}]}
    assert frame_value(Surface.DEFINITIONS, "x") == {"description": "x"}


def test_the_confidence_of_rules_is_spread() -> None:
    """A rulebook that is always sure was not thought through."""
    assert {rule.confidence for rule in RULES.values()} == set(Confidence)


@pytest.mark.parametrize(
    ("unless", "wrong"),
    [
        ("(a", "`unless` is not a regular expression for RE2: missing [)]"),
        ("(?=a)", "for RE2: invalid perl operator"),
        ("a*", "`unless` matches the empty text"),
    ],
)
def test_an_exception_that_is_none_is_told(unless: str, wrong: str) -> None:
    with pytest.raises(RuleError, match=wrong):
        load_pack(pack_of(unless=unless), "acme.yaml")


@each("text, expected", CASES["what_a_sentence_allows_is_only_noted"])
def test_what_a_sentence_allows_is_only_noted(text: str, expected: str) -> None:
    """An exception in one sentence does not affect the next, either."""
    engine, place = engines().definitions, "tool.add.description"
    value: JsonValue = {"name": "add", "description": text}
    seen = engine.scan(value, lambda _: place, Surface.DEFINITIONS)
    sure = [m.confidence for m in seen.matches if m.rule.id == "poisoning.do-not-tell-user"]
    assert sure == [Confidence[expected]]


def test_of_two_rules_that_see_one_secret_the_one_that_knows_its_format_is_told_first() -> None:
    (token,) = texts({"gen": "AIza{b64u:35}"})[:1]
    said: JsonValue = {"text": f"Dear Ann, the API key is {token} now."}
    seen = engines().to_client.scan(said, lambda _: "result.text", Surface.TO_CLIENT)
    first, *others = (match.rule.id for match in seen.matches)
    assert first == "secrets.google-api-key"
    assert "secrets.secret-assignment" in others
