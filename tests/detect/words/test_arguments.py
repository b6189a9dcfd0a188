"""Each word says of an argument what its table is for."""

from collections.abc import Mapping

from pipeguard.detect.commands.argument_roles import (
    ArgumentRole,
    is_of_database,
    is_shell,
    role,
    writes,
    writes_file,
)
from pipeguard.detect.flows.key_files import is_key_file, is_seen_by_others
from pipeguard.detect.flows.text_values import short_values
from pipeguard.detect.words import arguments
from tests.detect.words.proof import Proof, tables, unproved
from tests.each import each


def serves(role_wanted: ArgumentRole, tool: str, *path: str) -> bool:
    """Whether a tool's argument is for that."""
    return role(tool, path) is role_wanted


PROOFS: Mapping[str, Proof] = {
    "COMMAND": lambda word: serves(ArgumentRole.COMMAND, "tool", word),
    "SCRIPT": lambda word: serves(ArgumentRole.CODE, "page", word),
    "CODE": lambda word: serves(ArgumentRole.CODE, "run", word),
    "FORMULA": lambda word: serves(ArgumentRole.VALUE, "run", word),
    "STATEMENT": lambda word: serves(ArgumentRole.STATEMENT, "tool", word),
    "ALWAYS_WRITTEN": lambda word: serves(ArgumentRole.WRITTEN, "run", word),
    "WRITTEN": lambda word: serves(ArgumentRole.WRITTEN, "tool", word),
    "WRITTEN_TO_READERS": lambda word: (
        serves(ArgumentRole.WRITTEN, "translate", word) and serves(ArgumentRole.VALUE, "tool", word)
    ),
    "LOOKED_FOR": lambda word: serves(ArgumentRole.SEARCHED, "tool", word),
    "FILE": lambda word: writes_file("tool", [(word,)]),
    "TARGETS": lambda word: writes("tool", word),
    "SOURCES": lambda word: not writes("write", word),
    "SHELLS": is_shell,
    "EXECUTES": lambda word: serves(ArgumentRole.COMMAND, word, "text"),
    "TAKES_CODE": lambda word: serves(ArgumentRole.CODE, word, "code"),
    "LOOKS_AT_CODE": lambda word: serves(ArgumentRole.WRITTEN, f"{word}_code", "code"),
    "READS": lambda word: serves(ArgumentRole.WRITTEN, word, "chunk"),
    "PARSES": lambda word: serves(ArgumentRole.PARSED, word, "content"),
    "RENDERS": lambda word: serves(ArgumentRole.PARSED, word, "title"),
    "OF_CODE": lambda word: serves(ArgumentRole.WRITTEN, f"parse_{word}", "content"),
    "KEEPS": lambda word: serves(ArgumentRole.STORED, word, "fields", "name"),
    "DATABASE": lambda word: serves(ArgumentRole.STATEMENT, word, "query") and is_of_database(word),
    "READS_TEXT": lambda word: serves(ArgumentRole.SEARCHED, f"db_{word}", "query"),
    "WRITES": lambda word: writes(word, "path"),
    "OF_FILES": lambda word: writes_file(word, []),
    "SHARED_FOLDERS": lambda word: not is_key_file(f"/home/ana/{word}/.env"),
    "SEEN_FOLDERS": lambda word: is_seen_by_others(f"/home/ana/{word}/a"),
    "AMOUNTS": lambda word: not short_values({word.removeprefix(r"\A").removesuffix(r"\Z"): "T-7"}),
}


@each("table", list(PROOFS))
def test_each_word_of_a_table_is_proved(table: str) -> None:
    assert unproved(getattr(arguments, table), PROOFS[table]) == []


def test_every_table_has_a_proof() -> None:
    assert tables(arguments) == PROOFS.keys()
