"""Score, grade and baseline: the arithmetic of docs/assess.md."""

import json
from pathlib import Path

import pytest

from pipeguard.assess import baseline
from pipeguard.assess.assessing import GRADES, WEIGHTS, assess, grade
from pipeguard.assess.values import PostureFinding
from pipeguard.errors import InputError
from pipeguard.firewall.finding import Severity
from tests.assess.places import machine

PAGE = (Path(__file__).parents[2] / "docs/assess.md").read_text(encoding="utf-8")
C, H, M, L, I = sorted(Severity, reverse=True)  # noqa: E741  as their names begin


def findings(*groups: tuple[Severity, ...]) -> list[PostureFinding]:
    return [
        PostureFinding(f"check-{number}", severity, "")
        for number, group in enumerate(groups)
        for severity in group
    ]


@pytest.mark.parametrize(
    ("groups", "score", "letter"),
    [
        ([], 100, "A"),
        ([(I,) * 50], 100, "A"),
        ([(L,)], 98, "A"),
        ([(M,)], 92, "A"),
        ([(M, M, M), (H,)], 68, "C"),  # the example of the page
        ([(H,)], 80, "C"),  # a B by its score
        ([(C,)], 60, "D"),  # a C by its score
        ([(M,) * 100], 84, "B"),
        ([(H, L)], 75, "C"),
        ([(C,), (C,), (C,)], 0, "F"),
    ],
)
def test_score_and_grade(groups: list[tuple[Severity, ...]], score: int, letter: str) -> None:
    found = grade(findings(*groups))
    assert (found.score, found.letter) == (score, letter)


def test_the_page_says_the_same_weights_and_grades() -> None:
    facts = [
        f"{weight} for {severity.name.lower()}" for severity, weight in WEIGHTS.items() if weight
    ]
    facts += [f"{letter} {'needs ' * (letter == 'A')}{least}" for letter, least in GRADES if least]
    page = " ".join(PAGE.split())
    assert [fact for fact in facts if fact not in page] == []


def test_more_findings_never_raise_the_score() -> None:
    found: list[PostureFinding] = []
    last = 100
    for severity in (I, L, L, M, M, H, C, C):
        found.append(PostureFinding("a", severity, ""))
        score = grade(found).score
        assert score <= last
        last = score


def test_a_baseline_knows_what_moved_and_not_what_is_new(tmp_path: Path) -> None:
    one = {"command": "npx", "args": ["a"]}
    before = assess(machine(tmp_path, {"one": one}))
    path = tmp_path / "baseline.json"
    baseline.write(path, before)
    known = baseline.read(path)
    moved = assess(machine(tmp_path, {"zero": {"command": "b"}, "one": one}), known)
    assert {f.server for f in moved.findings if moved.is_known(f)} == {"one"}
    assert {f.server for f in moved.findings if not moved.is_known(f)} == {"zero"}
    assert moved.fails(Severity.MEDIUM)
    assert not assess(machine(tmp_path, {"one": one}), known).fails(Severity.INFO)


def test_a_fingerprint_is_the_same_in_another_folder(tmp_path: Path) -> None:
    each = [assess(machine(tmp_path / name, {"one": {"command": "b"}})) for name in "ab"]
    first, second = ([one.fingerprint(f) for f in one.findings] for one in each)
    assert first == second


@pytest.mark.parametrize("text", ["", "{", "[]", '{"findings": 1}', "[" * 100_000])
def test_what_is_no_baseline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(InputError):
        baseline.read(path)


def test_a_report_in_json_is_a_baseline(tmp_path: Path) -> None:
    from pipeguard.assess.assessing import report

    found = assess(machine(tmp_path, {"one": {"command": "b"}}))
    path = tmp_path / "b.json"
    path.write_text(report("json", found))
    assert json.loads(path.read_text())["findings"]
    assert not assess(found.target, baseline.read(path)).fails(Severity.INFO)
