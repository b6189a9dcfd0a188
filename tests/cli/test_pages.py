"""Every command that a page, a help text or a message names is parsed.

Those of the pages of `doctor` and `assess` are run, with a shell where they are for one.
"""

import ast
import os
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from pipeguard.cli import cli
from pipeguard.config.directories import cache_folder
from pipeguard.config.options import read
from tests.doctor.examined import Person
from tests.each import each
from tests.people import run_here

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
    """List the commands of a page, with a value for each placeholder."""
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
    lines = dict.fromkeys(commands(page))
    assert len(lines) > 3
    for line in lines:
        if line.startswith("pipeguard") and not re.search("[|&>$]", line):
            with person.here():
                done = run_here(*shlex.split(line)[1:])
        else:
            done = person.run(start=("sh", "-c", line))
        assert done.returncode in (DONE, FOUND), (line, done.stdout + done.stderr)
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr


# --- all that is named ------------------------------------------------------------------

TOP = DOCS.parent
TEXTS = [
    *sorted(DOCS.glob("*.md")),
    *(TOP / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((TOP / "pipeguard").rglob("*.py")),
    *sorted((TOP / "pipeguard").rglob("*.yaml")),
    *sorted((TOP / "rules").glob("*.yaml")),
]
# A command in backticks; one that is a line, or the end of one behind two spaces.
NAMED = re.compile(r"`pipeguard ([^`]+)`|(?:^|  |\$ )pipeguard ([^`\n]+)", re.MULTILINE)
NO_COMMAND = re.compile(r"(?:is|was|has|needs|itself|import)\b|[^a-z-]|[a-z]+:")
ENDS = re.compile(r"  +| # | < |[|;&>…]|\.$|: ?$|, | \(")


def texts_of(path: Path) -> Iterator[str]:
    """Yield a page; of a module each of its texts, with X for each value between spaces."""
    text = path.read_text("utf-8")
    if path.suffix != ".py":
        yield text
        return
    parts: set[ast.expr] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            parts |= {*node.values}
            whole = (str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values)
            yield re.sub(r"(?<=[\w-])\0", "", "".join(whole)).replace("\0", "X")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            yield node.value


@cache
def named_in(path: Path) -> list[str]:
    """The commands that a file names, without `pipeguard`."""
    named = []
    for text in texts_of(path):
        for quoted, line in NAMED.findall(text):
            words = ENDS.split(" ".join(quoted.split()) if quoted else line)[0].strip()
            if words and not NO_COMMAND.match(words):
                named.append(re.sub(r"[\[\]]|\.\.\.", "", words))
    return named


def parse(words: list[str]) -> None:
    """Parse a command line as `pipeguard` does, and run nothing.

    Raises:
        click.UsageError: no such command, option or argument.
    """
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        if not words or words[0] in ("--help", "--version"):
            return
        found = command.get_command(context, words[0])
        if found is None:
            raise click.UsageError(f"no command {words[0]}")
        context, command, words = click.Context(found, context), found, words[1:]
    if command.name == "wrap":
        if words and "--help" not in words and read(words) is None:
            raise click.UsageError("options of wrap")
        return
    if not words or "--help" in words:
        return  # the name of a command, in a sentence
    try:
        command.make_context(command.name, list(words))
    except click.exceptions.Exit:
        return
    except click.MissingParameter as error:
        raise click.UsageError(f"{error.param}") from None
    except (click.BadParameter, click.BadOptionUsage):
        return  # a placeholder in place of a file; the name of an option in a sentence


@each("path", {str(path.relative_to(TOP)): path for path in TEXTS})
def test_what_is_named_can_be_typed(path: Path) -> None:
    wrong = {}
    for line in dict.fromkeys(named_in(path)):
        try:
            parse(shlex.split(line))
        except (click.UsageError, ValueError) as error:
            wrong[line] = str(error)
    assert wrong == {}


def test_commands_are_found_in_every_kind_of_text() -> None:
    assert sum(len(named_in(path)) for path in TEXTS) > 500
    with pytest.raises(click.UsageError):
        parse(["policy", "check", "--no-such-option"])
    with pytest.raises(click.UsageError):
        parse(["diff", "a", "b", "c"])
    with pytest.raises(click.UsageError):
        parse(["nonsense"])
