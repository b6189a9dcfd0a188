"""Names that are mistaken for one another, and which came first."""

import pytest

from pipeguard.firewall.pins.fingerprint import Pin
from pipeguard.firewall.pins.store import Names, as_seen, is_same

SAME = [
    *("convert", "CONVERT", " convert\t", "con vert", "convert\n", "convert\u00a0"),
    *("con\u200bvert", "con\u00advert", "convert\u0000", "convert\u001b", "convert\U000e0041"),
    *("convert\ufe0f", "\u0441onvert", "\uff43onvert", "c\u00f6nvert", "CONVE\u13a1T"),
]


def pin(name: str, kind: str = "tool", approved: str | None = "{}") -> Pin:
    return Pin(kind, name, approved, approved and "0", None if approved else "{}", None, "")


@pytest.mark.parametrize("kind", ["tool", "prompt"])
@pytest.mark.parametrize("name", SAME)
def test_what_looks_the_same_is_seen_as_the_same(kind: str, name: str) -> None:
    assert as_seen(kind, name) == "convert"


def test_a_capital_is_known_by_its_small_letter() -> None:
    assert as_seen("tool", "PLA\u0423") == "play"


@pytest.mark.parametrize(
    "name", ["convert_2", "convert-", "converter", "con_vert", "c2nvert", "\u8f49\u63db", "конверт"]
)
def test_what_differs_visibly_is_another_name(name: str) -> None:
    assert as_seen("tool", name) != "convert"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("file:///Muller", "file:///M\u00fcller"),
        ("file:///a", "file:///A"),
        ("docs://x#one", "docs://x#two"),
        ("file:///{a}", "file:///{A}"),
    ],
)
def test_of_an_address_each_letter_counts(one: str, other: str) -> None:
    for kind in ("resource", "template"):
        assert as_seen(kind, one) != as_seen(kind, other)


def test_another_spelling_is_the_same_only_of_an_address() -> None:
    assert is_same("resource", "file:///%61")
    assert not is_same("resource", "file:///a\u200b")
    assert not is_same("tool", "a")


def test_the_first_is_known_and_what_is_approved_before_what_waits() -> None:
    names = Names([pin("Convert", approved=None), pin("convert")])
    assert names.first("tool", "CONVERT") == "convert"
    assert names.first("prompt", "convert") is None
    names.learn(pin("other"))
    names.learn(pin("Other"))
    assert names.first("tool", "OTHER ") == "other"


def test_the_approved_templates_are_known() -> None:
    names = Names([pin("file:///{a}", "template"), pin("db://{b}", "template", None)])
    names.learn(pin("x://{c}", "template"))
    assert [*names.templates] == ["file:///{a}", "x://{c}"]


@pytest.mark.parametrize("name", ["read_fiIe", "read_fi1e", "reɑd_fiIe", "READ_FlLE", "read_flle"])
def test_a_name_that_a_font_shows_alike_is_taken_for_the_first(name: str) -> None:
    names = Names([pin("read_file"), pin("READ_FILE", approved=None), pin(name, approved=None)])
    assert names.first("tool", name) == "read_file"
    assert Names([pin("read_file")]).first("tool", "read_file") == "read_file"


@pytest.mark.parametrize("name", ["read_files", "read_fill", "read_f2e", "reed_file", "read-file"])
def test_a_name_that_no_font_shows_alike_is_another(name: str) -> None:
    assert Names([pin("read_file"), pin("read_all")]).first("tool", name) is None
