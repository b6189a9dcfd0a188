"""Case files are parsed strictly; secrets and disguises are put in their places."""

import base64
import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.detection.case_files import load, load_apart, read
from benchmarks.detection.cases import Case, CaseError, Expect, Split, Way
from benchmarks.detection.json_tree import Json
from benchmarks.detection.mint import Use, formats
from benchmarks.detection.variants import variant
from tests.each import each

SMALLEST = "- {id: a-1, class: override, expect: block, as: result, text: Hello}\n"
LOOK_ALIKES = 80  # of secrets, in each split, at least
VIEWS_OF_SECRETS = 6  # secrets in each view, at least


def write(folder: Path, text: str, name: str = "some.yaml") -> Path:
    path = folder / "tuned" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def case_of(folder: Path, text: str) -> Case:
    (case,) = read(write(folder, text), Split.TUNED)
    return case


def result(case: Case, view: str = "text") -> dict[str, Json]:
    body = variant(case, view).body["result"]
    assert isinstance(body, dict)
    return body


def test_a_case_is_read(tmp_path: Path) -> None:
    case = case_of(tmp_path, SMALLEST)
    assert (case.id, case.kind, case.expect) == ("a-1", "override", Expect.BLOCK)
    assert (case.language, case.way, case.views) == ("en", Way.RESULT, ("text",))
    assert result(case) == {"content": [{"type": "text", "text": "Hello"}]}


@each(
    "text, told",
    [
        ("- [\n", "while parsing"),
        ("- {id: a-1, class: x}\n", "expect: missing"),
        (SMALLEST.replace("block", "stop"), "'stop' is not a valid Expect"),
        (SMALLEST.replace("}", ", colour: red}"), "colour: no such member"),
        (SMALLEST.replace("}", ", blocks: [a]}"), "one of text, blocks, value"),
        (SMALLEST.replace("Hello", '"{{mint:nothing}}"'), "nothing: no such format"),
        (SMALLEST.replace("Hello", '"{{mint:jwt}"'), "a mark is not closed"),
        (SMALLEST.replace("result", "arguments"), "arguments need a tool"),
        (SMALLEST.replace("as: result, text: Hello", "as: definition, value: {}"), "with a name"),
        (SMALLEST.replace("text: Hello", "value: {method: ping}"), "ping: results are of"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(CaseError, match=r"(?s)some\.yaml: .*") as caught:
        list(read(path, Split.TUNED))
    assert told in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_id_stands_once_in_a_split(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST, "one.yaml")
    write(tmp_path, SMALLEST, "two.yaml")
    with pytest.raises(CaseError, match=r"two\.yaml: a-1: the id is taken"):
        load(Split.TUNED, tmp_path)


def test_a_secret_is_minted_and_the_same_name_is_the_same_secret(tmp_path: Path) -> None:
    text = '"{{mint:github-pat}} {{mint:github-pat}} {{mint:github-pat#2}}"'
    case = case_of(tmp_path, SMALLEST.replace("Hello", text))
    body = variant(case, "text")
    assert len(body.secrets) == 2
    assert json.dumps(body.body).count(body.secrets[0]) == 2
    assert variant(case, "text") == body


def test_a_disguise_is_over_the_whole_string_that_holds_the_secret(tmp_path: Path) -> None:
    value = "{content: [{type: text, text: plain}], structuredContent: {a: 'K={{mint:jwt}}', b: c}}"
    case = case_of(tmp_path, SMALLEST.replace("text: Hello", f"value: {value}, views: [base64]"))
    body = variant(case, "base64")
    shown = result(case, "base64")["structuredContent"]
    assert isinstance(shown, dict)
    assert base64.b64decode(str(shown["a"])).decode() == f"K={body.secrets[0]}"
    assert shown["b"] == "c"


def test_a_disguise_is_over_no_more_than_what_is_marked(tmp_path: Path) -> None:
    text = "'Note: {{hide:read {{mint:jwt}} now}} (end)'"
    case = case_of(tmp_path, SMALLEST.replace("Hello", text))
    (secret,) = variant(case, "text").secrets
    assert result(case)["content"] == [{"type": "text", "text": f"Note: read {secret} now (end)"}]
    shown = json.dumps(result(case, "hex"))
    assert f"Note: {f'read {secret} now'.encode().hex()} (end)" in shown


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("split-blocks", [{"type": "text", "text": piece} for piece in ("abc", "def", "ghi")]),
        ("split-fields", {"part1": "abc", "part2": "def", "part3": "ghi"}),
        ("split-array", ["abc", "def", "ghi"]),
        ("split-keys", {"abc": 1, "def": 2, "ghi": 3}),
    ],
)
def test_a_text_in_pieces_stands_side_by_side(tmp_path: Path, view: str, expected: Json) -> None:
    shown = result(case_of(tmp_path, SMALLEST.replace("Hello", "abcdefghi")), view)
    structured = shown.get("structuredContent")
    assert expected == (shown["content"] if structured is None else structured["parts"])  # type: ignore[index,call-overload]


def test_what_stands_in_both_splits_is_left_out_of_held(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST)
    (tmp_path / "held").mkdir()
    other = SMALLEST.replace("a-1", "b-1")
    (tmp_path / "held" / "some.yaml").write_text(other + SMALLEST.replace("Hello", "Bye"), "utf-8")
    cases, left_out = load_apart(Split.HELD, tmp_path)
    assert [case.id for case in cases] == ["a-1"]
    assert left_out == 1
    assert load_apart(Split.TUNED, tmp_path)[1] == 0


@pytest.mark.exhaustive  # loads the cases of the benchmark, which are no program
@pytest.mark.parametrize("split", Split)
def test_each_split_has_all_formats_disguises_and_look_alikes(split: Split) -> None:
    cases = load(split)
    text = "".join(json.dumps(case.body) for case in cases)
    assert [name for name in formats() if f"{{{{mint:{name}}}}}" not in text] == []
    secrets = [case for case in cases if "-sec-" in case.id]
    views = Counter(view for case in secrets for view in case.views)
    assert [view for view, count in views.items() if count < VIEWS_OF_SECRETS] == []
    innocent = [json.dumps(case.body) for case in secrets if case.innocent]
    assert len(innocent) >= LOOK_ALIKES
    real = {name for name, form in formats().items() if form.use is not Use.INNOCENT}
    assert [name for name in real if f"{{{{mint:{name}}}}}" in "".join(innocent)] == []
