"""Every command that the pages of `doctor` and `assess` show is run, in a shell, as it is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.config.directories import cache_folder
from pipeguard.rulebook.cache import load_engines
from tests.doctor.examined import Person

DOCS = Path(__file__).parents[2] / "docs"
PIPEGUARD = Path(sys.executable).with_name("pipeguard")
# A line of a block of code, indented or fenced, or of a workflow; and a command within a sentence.
LINE = re.compile(
    r"^(?:    |      - run: |\$ )?((?:echo '|mkdir |pipeguard ).*?)(?:  +#.*)?$", re.MULTILINE
)
INLINE = re.compile(r"(?<!`)`(pipeguard [a-z]+ [^`\n]+)`(?!`)")
STANDS_FOR = {"DIR": "clone", "SHELL": "fish"}
A_CHECK = {"assess.md": "secret-in-config", "doctor.md": "rules"}
DONE, FOUND = 0, 1


def commands(page: str) -> list[str]:
    """The commands of a page, with something in place of each placeholder."""
    text = (DOCS / page).read_text("utf-8")
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    .*$", text, re.MULTILINE)
    lines = [*LINE.findall("\n".join([*fenced, *indented])), *INLINE.findall(text)]
    words = STANDS_FOR | {"CHECK": A_CHECK[page]}
    return [
        re.sub(r"\b(DIR|CHECK|SHELL)\b", lambda name: words[name[1]], line)
        for line in (re.sub(r" \[([^]]*)\](?:\.\.\.)?", r" \1", line) for line in lines)
    ]


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody on a new machine, in a repository with one server that is not guarded."""
    person = Person(tmp_path)
    load_engines()
    path = os.pathsep.join([str(PIPEGUARD.parent), os.environ["PATH"]])
    person.environment |= {"PATH": path, "PIPEGUARD_CACHE_DIR": cache_folder()}
    person.environment["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")
    for folder in (tmp_path, tmp_path / "clone"):
        folder.mkdir(exist_ok=True)
        (folder / ".mcp.json").write_text('{"mcpServers": {"one": {"command": "srv"}}}')
    (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
    return person


@pytest.mark.skipif(sys.platform == "win32", reason="the lines are for a shell of another kind")
@pytest.mark.parametrize("page", ["doctor.md", "assess.md"])
def test_what_a_page_shows_runs(page: str, person: Person) -> None:
    lines = commands(page)
    assert len(lines) > 3
    for line in lines:
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=person.home,
            env=person.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in (DONE, FOUND), (line, done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
