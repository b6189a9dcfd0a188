"""Commands that fetch their program, parsed word by word. isolation/packages.py."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.errors import LaunchError
from pipeguard.isolation.packages import (
    NPM,
    PYPI,
    Package,
    find_package,
    find_program,
    install_commands,
    package_name,
)
from tests.each import each

FS = "@modelcontextprotocol/server-filesystem"
READ = {
    f"npx -y {FS} /srv": Package(NPM, (FS,), "", ("/srv",)),
    f"/usr/bin/npx --yes {FS}@1.2 -y": Package(NPM, (f"{FS}@1.2",), "", ("-y",)),
    "npx -p a -p b prog --x": Package(NPM, ("a", "b"), "prog", ("--x",)),
    "npx --package=a -- prog": Package(NPM, ("a",), "prog", ()),
    f"npm exec --yes -- {FS}": Package(NPM, (FS,), "", ()),
    "uvx mcp-git --repository /r": Package(PYPI, ("mcp-git",), "", ("--repository", "/r")),
    "uvx ruff@0.1.2": Package(PYPI, ("ruff==0.1.2",), "", ()),
    "uvx --from pkg[x]>=1 prog a": Package(PYPI, ("pkg[x]>=1",), "prog", ("a",)),
    "uvx -w a b": Package(PYPI, ("b", "a"), "", ()),
    "npx run x": Package(NPM, ("run",), "", ("x",)),
    "uv tool run --python 3.12 --with a,b c": Package(PYPI, ("c", "a", "b"), "", (), "3.12"),
    "pipx run --spec a==1 prog": Package(PYPI, ("a==1",), "prog", ()),
}  # fmt: skip
NOT_FETCHED = [
    *("node x.js", "uv run server.py --with x", "uv run -p 3.12 server.py", "env A=b npx x"),
    *("npm start", "python -m x", "/opt/npx-like y", "npm"),
]
REFUSED = [
    *("npx", "npx -c ls", "npx --call=x y", "npx -p", "npx github:a/b", "npx ./local"),
    *("npx https://a/b.tgz", "uvx --index-url http://x y", "uvx git+https://x/y", "uvx ."),
    *("uv run -q --with=a,b x.py", "uv run --directory /x -w a x.py", "uv --with a run x.py"),
    *("pipx run --pip-args=x y", "bunx a", "pnpm --dir /x dlx a", "yarn dlx a", "npx -p --x y"),
    *("bun x a", "pipenv run a", "dnx a", "nix run a#b", "npx -- -y a", "uvx -p -- a"),
]


@each("text", list(READ))
def test_what_is_fetched_is_read(text: str) -> None:
    assert find_package(text.split()) == READ[text]


@each("text", NOT_FETCHED)
def test_other_commands_fetch_nothing(text: str) -> None:
    assert find_package(text.split()) is None


@each("text", REFUSED)
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(LaunchError):
        find_package(text.split())


@given(
    st.sampled_from(["npx", "uvx", "pipx run", "npm exec", "uv tool run"]),
    st.lists(
        st.text(max_size=12) | st.sampled_from(["--", "-p", "-y", "--from", "a@1"]), max_size=6
    ),
)
def test_no_word_becomes_an_option_of_the_installer(start: str, words: list[str]) -> None:
    try:
        package = find_package([*start.split(), *words])
    except LaunchError:
        return
    assert package is not None
    for command in install_commands(package, "/folder"):
        if "--" in command:
            assert command[command.index("--") + 1 :] == package.specs
        else:
            assert not set(package.specs) & set(command)
    assert not [spec for spec in package.specs if spec.startswith("-")]


def test_the_same_packages_have_one_folder() -> None:
    one, other = find_package(["npx", "-y", "a", "/x"]), find_package(["npx", "a", "/y"])
    version = find_package(["npx", "a@2"])
    assert one is not None and other is not None and version is not None  # noqa: PT018  for mypy
    assert one.identity == other.identity != version.identity


def test_the_name_in_a_specification() -> None:
    names = [package_name(NPM, text) for text in ("@a/b@1", "c@latest", "d")]
    assert names == ["@a/b", "c", "d"]
    assert [package_name(PYPI, text) for text in ("a[b]==1", "c.d>2")] == ["a", "c.d"]


@each(
    "name, programs, found",
    [
        ("@a/server", {"other": "x.js"}, "other"),
        ("@a/server", {"server": "x.js", "more": "y.js"}, "server"),
        ("tool", "x.js", "tool"),
        ("tool", None, "tool"),
    ],
)
def test_npx_runs_the_only_program_or_that_of_the_name(
    tmp_path: Path, name: str, programs: object, found: str
) -> None:
    folder = tmp_path / "node_modules" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"bin": programs}))
    program = tmp_path / "node_modules" / ".bin" / found
    program.parent.mkdir(exist_ok=True)
    program.touch()
    assert find_program(str(tmp_path), Package(NPM, (name,), "", ())) == str(program)


def test_a_package_without_the_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="has no program 'x'"):
        find_program(str(tmp_path), Package(PYPI, ("a",), "x", ()))
