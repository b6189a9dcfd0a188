"""Removing a part disables it, and restores it afterwards; its worth is counted."""

from typing import Any

import pytest

from benchmarks.detection.cases import Case, Expect, Split, Way
from benchmarks.detection.json_tree import Object
from benchmarks.detection.parts import PartError, part_of, parts, watching, without
from benchmarks.detection.play import play
from benchmarks.detection.variants import Variant, variant
from benchmarks.detection.worth import measure
from pipeguard.detect.commands.powershell import DISGUISES
from pipeguard.detect.commands.shell_output import PRINTING_PROGRAMS
from pipeguard.detect.scanning.readings import READINGS
from pipeguard.detect.text.decoders import ENCODINGS
from tests.each import some
from tests.fuzz.rulebook import engines

KEY = "{{mint:aws-access-key-id}}"
BASE64 = "encoding.base64"
TABLES: list[dict[str, Any]] = [READINGS, ENCODINGS, PRINTING_PROGRAMS, DISGUISES]


def sent(text: str, view: str = "text", expect: Expect = Expect.BLOCK) -> Variant:
    body: Object = {"tool": "send", "arguments": {"title": text}}
    return variant(Case("a-1", Split.TUNED, "secret", expect, "en", Way.ARGUMENTS, body), view)


def test_each_part_can_be_taken_out_and_is_back_in_its_place() -> None:
    text = sent(f"use {KEY}")
    tables = [[*table.items()] for table in TABLES]
    for part in some(parts().values()):
        with part.taken_out():
            assert play(text, engines()).caught, part.name
        assert [[*table.items()] for table in TABLES] == tables, part.name


def test_a_part_is_named_in_full_or_by_its_own_name() -> None:
    assert part_of("base64").name == part_of(BASE64).name == BASE64
    with pytest.raises(PartError, match="no such part"):
        part_of("base63")
    with pytest.raises(PartError, match="no such part"), without([BASE64, "base63"]):
        pass
    assert "base64" in ENCODINGS


def test_a_part_that_is_watched_tells_whether_it_did_anything() -> None:
    with watching(parts().values()) as seen:
        play(sent(KEY, "base64"), engines())
    changing = {name for name, (_, is_changing) in seen.items() if is_changing}
    assert BASE64 in changing
    assert not changing & {"encoding.tags", "reading.folded", "flow.secrets"}


def test_worth_is_what_a_part_alone_decides() -> None:
    texts = [sent(KEY, "base64"), sent(KEY), sent(KEY, "base64", Expect.QUIET), sent("a fine day")]
    measured = measure(texts, [part_of(BASE64), part_of("tags")], engines())
    assert [one.caught for one in measured.plays].count(True) == 2
    worth = measured.worths[BASE64]
    assert worth.caught == ["tuned:a-1 (base64)"]
    assert worth.blocks == ["tuned:a-1 (base64)"]
    assert not worth.missed + worth.spared
    tags = measured.worths["encoding.tags"]
    with without(["base64", "long-run"]):
        assert not play(texts[0], engines()).caught
    assert not tags.caught + tags.blocks + tags.missed + tags.spared
