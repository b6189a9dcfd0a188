"""Each word says of a file's name what its table is for."""

from pipeguard.detect.model.data_literals import FileKind, file_kind
from pipeguard.detect.words import file_names
from tests.detect.words.proof import tables, unproved


def test_each_word_of_a_table_is_proved() -> None:
    proofs = {
        "TEST_FOLDERS": lambda word: file_kind([f"{word}/a.json"]) is FileKind.TESTS,
        "TEST_FILES": lambda word: file_kind([f"a_{word}.py"]) is FileKind.TESTS,
        "ATTACKS": lambda word: file_kind([f"{word}.txt"]) is FileKind.ATTACKS,
        "READ_AS_TEXT": lambda word: file_kind([f"attacks/a.{word}"]) is FileKind.OTHER,
    }
    assert tables(file_names) == proofs.keys()
    for table, proof in proofs.items():
        assert unproved(getattr(file_names, table), proof) == [], table
