"""Each program is read as its table says."""

import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pipeguard.detect.commands.call_names import printed_files
from pipeguard.detect.commands.interpret import command_lines
from pipeguard.detect.commands.programs import UPLOADS, is_inner, is_ordinary, match_file, unwrap
from pipeguard.detect.words import programs
from tests.detect.words.proof import NO_WORD, Proof, matching, tables, unproved
from tests.each import each
from tests.fuzz.budget import tried

KEY = "~/.ssh/id_rsa"
EXPRESSIONS: Mapping[str, Proof] = {
    "INTERPRETERS": is_inner,
    "SENDERS": lambda word: f"^ {KEY}" in command_lines(f"cat {KEY} | {word} x.example"),
    "UPLOADS": lambda text: UPLOADS.search(text) is not None,
}


def is_unwrapped(word: str) -> bool:
    _, words_before = programs.WRAPPERS.get(word, ("", 0))
    return unwrap([word, *["1"] * words_before, "rm", "x"])[0] == ["rm", "x"]


def gives_statement(word: str) -> bool:
    option = next(iter(programs.CLIENTS.get(word, ())), "" if word == "redis-cli" else "db")
    lines = command_lines(f"{word} {option} 'drop table x'")
    return any(line.startswith("SQL") for line in lines)


def skips_pattern(word: str) -> bool:
    lines = command_lines(f"{word} /pattern /file")
    return "< /file" in lines and "< /pattern" not in lines


def skips_key(word: str) -> bool:
    lines = command_lines(f"{word} -i key file host:x")
    return "< file" in lines and "< key" not in lines


def resolves_operands(word: str) -> bool:
    lines = command_lines(f"{word} x /a/b/.. -q")
    return any(re.fullmatch(rf"\$ {word}( of)? -?.*/a", line) for line in lines)


PROOFS: Mapping[str, Proof] = {
    "SHELLS": lambda word: "$ rm -r /" in command_lines(f"{word} -c 'rm -rf /'"),
    "WRAPPERS": is_unwrapped,
    "RUN_IN": lambda word: "CODE import os" in command_lines(f"{word} run python3 -c 'import os'"),
    "PRINTERS": lambda word: printed_files(f"{word} x y z") != () or word == "cd",
    "READERS": lambda word: f"< {KEY}" in command_lines(f"{word} {KEY} x:y"),
    "TELL_ENVIRONMENT": lambda word: "< ENV" in command_lines(word),
    "PATTERN_FIRST": skips_pattern,
    "LAST_IS_TARGET": lambda word: "> /to" in command_lines(f"{word} /from /to"),
    "OPERANDS_LAST": resolves_operands,
    "DECODERS": lambda word: "RUN decoded" in command_lines(f"eval $({word} x)"),
    "CLIENTS": gives_statement,
    "NARROWS": lambda word: "$ rm -r /" not in command_lines(f"find / {word} x -delete"),
    "COPIES": skips_key,
    "FETCHERS": lambda word: "> file" in command_lines(f"{word} -o file https://x.example"),
    "FILES": lambda path: match_file(f"{path[:-1]}?") == path,
    "ALSO_INTERPRETED": lambda word: not is_ordinary(word),
}


@each("table", list(PROOFS))
def test_each_word_of_a_table_is_proved(table: str) -> None:
    assert unproved(getattr(programs, table), PROOFS[table]) == []


@each("table", list(EXPRESSIONS))
@tried(10)
@given(st.data())
def test_what_an_entry_matches_is_proved(table: str, data: st.DataObject) -> None:
    for entry in getattr(programs, table):
        assert EXPRESSIONS[table](data.draw(matching(entry)))
    assert not EXPRESSIONS[table](NO_WORD)


def test_every_table_has_a_proof() -> None:
    assert tables(programs) == PROOFS.keys() | EXPRESSIONS.keys()
