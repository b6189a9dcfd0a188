"""The verdicts of classifiers on the readings of one value."""

import json
from collections.abc import Callable
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.scanning.scan_budget import MAX_CUTS, ScanResult
from pipeguard.firewall.finding import Confidence
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.places import Surface
from tests.detect.model.samples import RULE_OF, samples
from tests.fuzz.budget import tried
from tests.fuzz.rulebook import engines

RULE = RULE_OF["injection"].id
ORDER = max(samples("injection"), key=len)


def scanned(text: str, place: str = "result.text") -> ScanResult:
    value: JsonValue = {"content": [{"type": "text", "text": text}]}
    return engines().to_client.scan(value, lambda _: place, Surface.TO_CLIENT)


def orders_in(result: ScanResult) -> list[tuple[str, Confidence]]:
    return [(match.view, match.confidence) for match in result.matches if match.rule.id == RULE]


def test_no_more_passages_are_noted_as_unread_than_are_cut_out() -> None:
    rows = (blake2b(b"%d" % number).digest()[: 2 + number % 8] for number in range(40_000))
    words = ("".join(chr(0x430 + byte % 32) for byte in row) for row in rows)
    assert 0 < len(scanned(" ".join(words)).unread_passages) <= MAX_CUTS + 1


def test_an_order_is_found_with_its_place() -> None:
    before = "The shop opens at nine.\n" * 40
    result = scanned(f"{before}{ORDER}\n{before}")
    (match,) = (match for match in result.matches if match.rule.id == RULE)
    assert match.path == ("content", 0, "text")
    assert len(before) - 1 <= match.start < match.end <= len(before) + len(ORDER) + 1


@pytest.mark.parametrize("wrapped", [{"id": 3, "body": ORDER}, [ORDER], [{"a": "é", "b": ORDER}]])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_order_is_as_sure_in_a_value_of_json(wrapped: JsonValue, indent: int | None) -> None:
    text = json.dumps(wrapped, indent=indent, ensure_ascii=False)
    assert orders_in(scanned(text))[0] == ("text", Confidence.HIGH)


# Lines as files and mails have them: where one ends, only the line end says so.
_LINES = st.lists(
    st.sampled_from(
        [
            "Harbour library",
            '[ ] plural forms of "hour"',
            "- boats at the pier: 12",
            "",
            "Opening hours",
            "C:\\new\\reports",
            "regards, the desk",
        ]
    ),
    max_size=12,
)
_SHAPES: dict[str, Callable[[str], JsonValue]] = {
    "one": lambda text: {"body": text},
    "list": lambda text: [{"id": "3", "from": "desk", "body": text}],
    "nested": lambda text: {"data": {"items": [{"id": "m-3", "content": [{"text": text}]}]}},
    "twice": lambda text: {"result": json.dumps({"body": text})},
    "string": lambda text: text,
}


@tried(30)
@given(
    before=_LINES,
    after=_LINES,
    order=st.sampled_from(sorted(samples("injection"), key=len)[-12:]),
    shape=st.sampled_from(sorted(_SHAPES)),
    indent=st.sampled_from([None, 2]),
)
def test_an_order_is_as_sure_in_the_same_text_as_json(
    before: list[str], after: list[str], order: str, shape: str, indent: int | None
) -> None:
    text = "\n".join([*before, order, *after])
    if shape == "string" and "\n" not in text:
        return  # a quoted sentence
    plain = [confidence for _, confidence in orders_in(scanned(text))]
    if Confidence.HIGH not in plain:
        return
    string = json.dumps(_SHAPES[shape](text), indent=indent, ensure_ascii=False)
    result = scanned(string)
    assert Confidence.HIGH in [confidence for _, confidence in orders_in(result)]
    cuts = [cut for match in result.matches for cut in match.cuts]
    gone = {at for cut in cuts for at in range(cut.start, cut.end)}
    json.loads("".join(letter for at, letter in enumerate(string) if at not in gone))


def test_one_order_in_several_readings_is_told_once() -> None:
    assert len(orders_in(scanned(ORDER))) == 1


def test_what_goes_to_a_server_is_read_by_none() -> None:
    value: JsonValue = {"text": ORDER}
    result = engines().to_server.scan(value, lambda _: "call.arguments", Surface.TO_SERVER)
    assert orders_in(result) == []
