"""Harvesting depends only on paths, and noise only on its name."""

import gzip
import json
from pathlib import Path

import pytest

from benchmarks.detection import harvest
from benchmarks.detection.cases import Expect, Split, Way
from tests.each import each

TEXT = "A line of prose, and another one after it.\n" * 1000


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small tree, on a machine that has nothing else."""
    for number in range(8):
        (tmp_path / f"part{number}").mkdir()
        (tmp_path / f"part{number}" / "README.md").write_text(f"{number}\n{TEXT}", "utf-8")
        (tmp_path / f"part{number}" / "code.py").write_text("x = 1\n", "utf-8")
    (tmp_path / "tool.1.gz").write_bytes(gzip.compress(b"a manual\n"))
    (tmp_path / "picture.md").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "empty.txt").write_text("\n", "utf-8")
    monkeypatch.setattr(harvest, "roots", list)
    monkeypatch.setattr(harvest, "offered", lambda _: iter(()))
    return tmp_path


def test_texts_are_innocent_small_and_the_same_each_time(tree: Path) -> None:
    cases = harvest.harvest(20, [tree])
    assert cases == harvest.harvest(20, [tree])
    texts = [case for case in cases if not case.kind.startswith("harvest-noise")]
    assert {case.kind for case in texts} == {"harvest-readme", "harvest-python"}
    assert {case.split for case in texts} == set(Split)
    assert all(case.expect is Expect.QUIET for case in cases)
    assert max(len(json.dumps(case.body)) for case in texts) < 1.2 * harvest.LARGEST_BYTES
    few = harvest.harvest(3, [tree])
    assert sum(not case.kind.startswith("harvest-noise") for case in few) == 3


def test_what_is_no_text_is_left_out(tree: Path) -> None:
    assert harvest.text_of(tree / "picture.md") is None
    assert harvest.text_of(tree / "empty.txt") is None
    assert harvest.text_of(tree / "tool.1.gz") == "a manual\n"


def test_a_tree_is_played_whole_in_frames_of_10_to_64_kb(tree: Path) -> None:
    pieces = [text for _, text in harvest.tree(tree)]
    files = [*tree.rglob("*.py"), *tree.glob("*/README.md")]
    written = sum(path.stat().st_size for path in files)
    assert sum(map(len, pieces)) >= written
    assert max(map(len, pieces)) <= harvest.CHUNK_BYTES[1]


@each("kind", harvest.NOISES)
def test_noise_is_the_same_for_a_name_and_of_its_size(kind: str) -> None:
    case, again, other = (
        harvest.noise_case(kind, Split.HELD, number, Way.RESULT) for number in (1, 1, 2)
    )
    assert case == again
    assert case.body != other.body
    assert 0.6 * harvest.NOISE_BYTES < len(json.dumps(case.body)) < 1.4 * harvest.NOISE_BYTES
