"""The tests of the core mirror it: a file is named for the module that it holds."""

from pathlib import Path

TESTS = Path(__file__).parent
CORE = TESTS.parents[1] / "pipeguard" / "core"
# Files that hold what no single module does, each with what that is.
BEYOND = {
    "conversations": "whole sessions, written down",
    "disguises": "secrets, spelt in many ways",
    "exchanges": "sessions over HTTP, several requests at once",
    "naming_of_files": "this",
    "packs_quiet": "what the shipped rules leave alone",
    "quiet": "ordinary calls, and those that do harm",
    "session_properties": "whole sessions, scrambled",
}


def named() -> set[str]:
    return {file.stem.removeprefix("test_") for file in TESTS.glob("test_*.py")}


def test_a_test_is_named_for_a_module_or_says_what_it_is() -> None:
    modules = {file.stem for file in CORE.glob("*.py")}
    assert named() - modules - BEYOND.keys() == set()


def test_no_exception_outlives_its_file() -> None:
    assert BEYOND.keys() <= named() | {"conversations"}
