"""What names say of files."""

import pytest

from pipeguard.detect.model.data_literals import FileKind, file_kind


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        (["tests/cassettes/agent.yaml"], FileKind.TESTS),
        (["src/Chat.stories.tsx"], FileKind.TESTS),
        (["C:\\work\\app\\tests\\data.json"], FileKind.TESTS),
        (["guard_test.go"], FileKind.TESTS),
        (["/home/ana/guard/GuardTests.cs"], FileKind.TESTS),
        (["tests/"], FileKind.TESTS),
        (["wordlists/prompt-injection.txt"], FileKind.ATTACKS),
        (["evals/redteam/a.yml", "tests/a.json"], FileKind.TESTS),
        (["guard", "tests/test_a.py"], FileKind.TESTS),  # a repository, and a file in it
        ([], FileKind.OTHER),
        (["tests/attacks.json", "package.json"], FileKind.OTHER),
        (["tests/AGENTS.md"], FileKind.OTHER),  # read as text
        (["tests/output/run.log"], FileKind.OTHER),
        (["src/latest/report.json"], FileKind.OTHER),
        (["contest/entries.json"], FileKind.OTHER),
        (["packages/test-utils/package.json"], FileKind.OTHER),
        (["/home/test/shop/data.json"], FileKind.OTHER),  # somebody's name
        (["/Users/attack/shop/data.json"], FileKind.OTHER),
    ],
)
def test_a_name_tells_of_tests_or_attacks(paths: list[str], kind: FileKind) -> None:
    assert file_kind(paths) is kind
