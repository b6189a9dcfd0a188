"""The tests of the core mirror it: a file is named for the module that it holds."""

from pathlib import Path

TESTS = Path(__file__).parent
CORE = TESTS.parents[1] / "pipeguard" / "core"
# Files that hold what no single module does, or a part of one, each with what that is.
BEYOND = {
    "session/observing": "what every module does where the policy only observes",
    "commands/printed_files": "of call_names",
    "commands/program_code": "of interpret",
    "commands/shell_injection": "of argument_values",
    "commands/shell_words": "of posix_shell",
    "commands/torn_names": "of interpret",
    "conversations": "whole sessions, written down",
    "flows/readings": "of outgoing_call",
    "flows/remembered_results": "of ledger",
    "flows/text_signals": "of tool_results",
    "flows/tool_words": "of tool_labels",
    "disguises": "secrets, spelt in many ways",
    "exchanges": "sessions over HTTP, several requests at once",
    "naming_of_files": "this",
    "packs_quiet": "what the shipped rules leave alone",
    "quiet": "ordinary calls, and those that do harm",
    "session_properties": "whole sessions, scrambled",
    "rules/marked_signs": "of expressions",
    "text/sensitive_keys": "of layouts",
    "words/tables": "every list of words",
}


# Modules without a test file of their own, each with what holds them.
EXEMPT = {
    "checks/outcome": "an enumeration",
    "commands/shell_command": "values without behaviour",
    "flows/leak": "values without behaviour",
    "protocol/codes": "numbers",
    "words/bip39": "a table: words/test_tables.py",
    "words/notation": "how tables are written: words/test_tables.py",
}


def modules() -> set[str]:
    files = (file for file in CORE.rglob("*.py") if file.name != "__init__.py")
    return {str(file.relative_to(CORE).with_suffix("")) for file in files}


def named() -> set[str]:
    return {
        str(file.relative_to(TESTS).with_name(file.name.removeprefix("test_")).with_suffix(""))
        for file in TESTS.rglob("test_*.py")
    }


def test_a_test_is_named_for_a_module_or_says_what_it_is() -> None:
    assert named() - modules() - BEYOND.keys() == set()


def test_a_module_has_a_test_of_its_own() -> None:
    assert modules() - named() - EXEMPT.keys() == set()


def test_no_exception_outlives_its_file() -> None:
    assert BEYOND.keys() <= named()
    assert EXEMPT.keys() <= modules() - named()
