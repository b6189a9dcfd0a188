"""Checks that everything documented exists, and that everything that exists is documented."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pipeguard.assess.checking import checks
from pipeguard.cli import cli
from tests.commands import run_command
from tests.each import each, some

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
PAGE_MAKER = runpy.run_path(str(TOP / "docs" / "pages.py"))
SITE: dict[str, str] = PAGE_MAKER["render_site"]()
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(TOP.glob("docs/*.md"))}
PAGES["README.md"] = README
PAGES["SECURITY.md"] = (TOP / "SECURITY.md").read_text(encoding="utf-8")
EVERYTHING = "\n".join(PAGES.values())
OTHER_PAGES = ["CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "training/README.md"]
MOST_README_LINES = 110
MOST_PAGES = 18
PICTURES = [*TOP.glob("docs/*.svg"), *TOP.glob("docs/*.webp")]
MOST_PICTURE_BYTES = 400 * 1024
MOST_BYTES = 151_000  # of the pages in docs/, and of those for people at the top
MOST_WORDS = 40
HELP = {"-h", "--help"}
COMMAND = re.compile(r"(?<![\w./-])pipeguard ([^|;`$\n]+)")
OPTION = re.compile(r"--[a-z][a-z-]*(=.*)?")


def commands(group: click.Group, words: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """Every command below a group, by the words that call it."""
    context = click.Context(group)
    found: dict[str, click.Command] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, (*words, name))
        elif not command.hidden:
            found[" ".join((*words, name))] = command
    return found


COMMANDS = commands(cli)
GROUPS = {words.rpartition(" ")[0] for words in COMMANDS}


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Each link of a page leads to a page of the site, and to a heading that it has."""
    for name, text in SITE.items():
        (tmp_path / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pages" / name).write_text(text, encoding="utf-8")
    for picture in PICTURES:
        shutil.copy(picture, tmp_path / "pages")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    done = run_command(
        [mkdocs, "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=TOP,
        env=os.environ | {"PIPEGUARD_PAGES": str(tmp_path / "pages"), "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "not included" not in done.stderr  # a page of docs/ is in the navigation
    assert all((tmp_path / "site" / check.page).is_file() for check in checks().values())
    index = (tmp_path / "site/search/search_index.json").read_text("utf-8")
    assert "secrets.github-token" in index


def test_what_the_demo_prints_is_shown() -> None:
    for path, text in some(PAGE_MAKER["render_demo"]().items()):
        assert path.read_text("utf-8") == text, "run: make docs"
        assert "A key in an argument is stopped" in text


@each("words", list(COMMANDS))
def test_a_command_says_how_it_is_used(words: str) -> None:
    text = f"{COMMANDS[words].help}\n{COMMANDS[words].epilog}"
    assert f"pipeguard {words}" in text, "its help has no example"


@each("words", sorted(GROUPS - {""}))
def test_a_group_says_what_it_is_for_with_an_example(words: str) -> None:
    group = cli.get_command(click.Context(cli), words)
    assert group is not None
    assert group.help is not None
    assert f"pipeguard {words} " in group.help


@each("words", list(COMMANDS))
def test_every_option_says_what_it_is_for(words: str) -> None:
    silent = [
        parameter.opts
        for parameter in COMMANDS[words].params
        if isinstance(parameter, click.Option) and not parameter.hidden and not parameter.help
    ]
    assert silent == []


@each("words", list(COMMANDS))
def test_what_must_be_given_is_given_in_an_example(words: str) -> None:
    needed = [
        parameter
        for parameter in COMMANDS[words].params
        if isinstance(parameter, click.Argument) and parameter.required
    ]
    text = f"{COMMANDS[words].help}\n{COMMANDS[words].epilog}"
    given = re.findall(rf"\bpipeguard {words}((?: +[^\s`)|>]+)*)", text)
    assert not needed or any(re.search(r"(^|\s)[^-\s]", words) for words in given)


@each("words", list(COMMANDS))
def test_a_page_that_people_wrote_names_every_command(words: str) -> None:
    assert any(re.search(rf"\bpipeguard {words}\b", text) for text in PAGES.values())


def options_of(words: str) -> set[str]:
    """Return the options of a command, with the two spellings of its help."""
    return HELP | {
        option
        for parameter in COMMANDS[words].params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


@each("page", list(PAGES))
def test_a_page_names_only_options_that_a_command_has(page: str) -> None:
    named: list[tuple[str, str]] = []
    for match in COMMAND.finditer("\n".join(snippets(PAGES[page]))):
        words = match[1].partition(" -- ")[0].split()
        pairs = (" ".join(words[:count]) for count in (2, 1))
        name = next((words for words in pairs if words in COMMANDS), "")
        options = [word.partition("=")[0] for word in words if OPTION.fullmatch(word)]
        named += [(name, option) for option in options if name]
    assert [(name, option) for name, option in named if option not in options_of(name)] == []
    assert named or page != "setup.md"


@each("page", list(PAGES))
def test_a_page_names_only_commands_that_exist(page: str) -> None:
    code = "\n".join(snippets(PAGES[page]))
    called = re.findall(r"(?<![\w./-])(?<!from )pipeguard ((?:[a-z]+ ?)+)", code)
    known = COMMANDS.keys() | GROUPS
    starts = {words: {" ".join(words.split()[:count]) for count in (1, 2)} for words in called}
    assert [words for words, either in starts.items() if not either & known] == []


def snippets(text: str) -> list[str]:
    """Return the code in a text: fenced, indented, or between backticks."""
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    (.*)$", text, re.MULTILINE)
    return [*fenced, *indented, *re.findall(r"`([^`\n]+)`", text)]


@each("page", [*PAGES, *OTHER_PAGES])
def test_a_page_links_only_to_what_is_in_a_clone(page: str) -> None:
    path = TOP / page if (TOP / page).exists() else TOP / "docs" / page
    targets = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


@each("page", list(PAGES))
def test_json_in_a_page_is_json(page: str) -> None:
    for block in re.findall(r"^```json\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE):
        json.loads(block)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < MOST_README_LINES


def test_the_readme_names_rules_that_exist() -> None:
    from pipeguard.rulebook.packs import load_rules

    known = {rule.id for rule in load_rules()}
    named = set(re.findall(r"`((?:secrets|injection|poisoning|commands)\.[a-z0-9-]+)`", README))
    assert named
    assert named <= known


def test_the_library_s_example_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGES["reference.md"], re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        assert len(re.findall(r"^(?:from|import) ", block, re.MULTILINE)) == 1
        subprocess.run([sys.executable, "-P", "-c", block], check=True)


def test_each_pack_in_a_page_finds_what_it_claims(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", EVERYTHING, re.DOTALL | re.MULTILINE)
    packs = [block for block in blocks if block.startswith("pack:")]
    assert len(packs) == 2
    for number, pack in enumerate(packs):
        file = tmp_path / f"{number}.yaml"
        file.write_text(pack, encoding="utf-8")
        command = [sys.executable, "-P", "-m", "pipeguard", "rules", "test", str(file)]
        subprocess.run(command, check=True)


def test_make_has_every_target_that_the_pages_name() -> None:
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", EVERYTHING, re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_what_the_map_names_is_there() -> None:
    """Each package and each file that docs/architecture.md names."""
    page = PAGES["architecture.md"]
    packages = re.findall(r"`([a-z_/]+)/`", page)
    files = re.findall(r"`([a-z_/]+\.py)`", page)
    assert len(packages) > 20
    assert len(files) >= 8
    package = TOP / "pipeguard"
    wrong = [
        name
        for name in packages
        if not (TOP / name.removeprefix("pipeguard/")).is_dir()
        and not (package / name.removeprefix("pipeguard/")).is_dir()
    ]
    wrong += [name for name in files if not ((package / name).is_file() or (TOP / name).is_file())]
    assert wrong == []


def sentences(text: str) -> Iterator[str]:
    """The sentences of a page, without its tables, code and headings."""
    text = re.sub(r"^```.*?^```", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(?:[|#!]|    ).*$", "", text, flags=re.MULTILINE)
    for part in re.split(r"\n\s*\n|^\s*(?:[-*]|\d+\.) ", text, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?])[\"')*]*\s", re.sub(r"`[^`]+`", "code", part))


@each("page", [*PAGES, *OTHER_PAGES])
def test_a_sentence_is_short(page: str) -> None:
    text = PAGES.get(page) or (TOP / page).read_text(encoding="utf-8")
    long = [line for line in sentences(text) if len(line.split()) > MOST_WORDS]
    assert long == []


def test_the_pages_are_few_and_short() -> None:
    own = [*PAGES.values(), *((TOP / page).read_text("utf-8") for page in OTHER_PAGES[:2])]
    assert len(list(TOP.glob("docs/*.md"))) <= MOST_PAGES
    size = sum(len(text.encode()) for text in own)
    assert size <= MOST_BYTES, f"{size:,} bytes of {MOST_BYTES:,}: replace sentences, do not add"
    assert sum(picture.stat().st_size for picture in PICTURES) <= MOST_PICTURE_BYTES
