"""Replays of records: what differs from what was recorded."""

from pathlib import Path

from pipeguard.replay.comparison import KINDS, compare
from pipeguard.rulebook.cache import load_engines
from pipeguard.state.record.lines import Fields, read_lines


def find_differences(path: Path) -> list[Fields]:
    """The frames that a replay judges differently."""
    report = compare(load_engines(), [path])
    return [each for kind in KINDS for each in report[kind]]


def read_frames(path: Path) -> list[Fields]:
    """The lines of frames."""
    return [fields for _, fields in read_lines(path) if "from" in fields]


def read_end(path: Path) -> Fields:
    """The last line."""
    return [fields for _, fields in read_lines(path)][-1]
