"""Documents are found by kind and project, and judged by each checkout in turn."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.documents.corpus import (
    PER_PROJECT,
    Document,
    candidates,
    documents,
    is_learned,
    project_of,
)
from benchmarks.documents.kinds import Kind, kind_of
from tests.commands import run_command
from tests.each import each

TOP = Path(__file__).resolve().parents[3]


@each(
    "path, kind",
    [
        ("README.md", Kind.README),
        ("docs/de/guide.md", Kind.TRANSLATED),
        ("docs/api/client.md", Kind.REFERENCE),
        ("package.json", Kind.RECORDS),
        ("src/main.rs", Kind.SOURCE),
        ("picture.png", None),
    ],
)
def test_the_kind_of_a_document_is_told_by_its_path(path: str, kind: Kind | None) -> None:
    assert kind_of(path) is kind


@each(
    "path, project",
    [
        ("/x/site-packages/click/core.py", "click"),
        ("/x/node_modules/a/node_modules/@b/c/README.md", "@b/c"),
        ("/usr/share/man/man1/git-add.1.gz", "git"),
        ("/usr/share/doc/curl/README", "curl"),
    ],
)
def test_the_project_of_an_installed_file_is_its_package(path: str, project: str) -> None:
    assert project_of(path, path.partition("/doc/")[2] or path) == project


@pytest.mark.exhaustive  # looks through all that is installed
def test_projects_are_learned_or_measured_and_never_both(tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / f"project{number}"
        folder.mkdir()
        (folder / "README.md").write_text("Nothing in particular. " * 9)
    found = [document for document in candidates([tmp_path]) if tmp_path in document.path.parents]
    assert len(found) == 40
    learned = {document.project for document in found if is_learned(document.project)}
    assert 5 < len(learned) < 35


@pytest.mark.exhaustive  # looks through all that is installed
def test_no_project_fills_a_kind(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(3 * PER_PROJECT):
        (folder / f"{number}.csv").write_text("a,b\n" * 99)
    found = documents(100_000, [tmp_path], learned=None)
    assert sum(document.project == "large" for document in found) == PER_PROJECT


@each("content", [b"\xff" * 99, b"short", b"a\0b" * 99])
def test_what_is_no_text_is_left_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(content)
    assert Document("p", Kind.GUIDE, "a.md", path).text() is None


@pytest.mark.exhaustive  # looks through all that is installed
def test_documents_are_judged_by_both_checkouts_and_in_both_forms(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks.documents", "--count", "6", "--json", str(target)]
    done = run_command([*command, "--against", str(TOP), "--without-native"], cwd=TOP, check=True)
    assert "result: here" in done.stdout
    assert "result: before" in done.stdout
    outcomes = json.loads(target.read_text())
    portable = outcomes["here, without extensions"]
    for here, *others in zip(outcomes["here"], outcomes["before"], portable, strict=True):
        assert {here["bytes"]} == {other["bytes"] for other in others}
        assert {here["fate"]} == {other["fate"] for other in others}
        assert here["seconds"] > 0
    assert not any(each["native"] for each in portable)
