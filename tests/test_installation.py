"""Tests for installing PipeGuard: from a clone, again, and with extras."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pipeguard import installation
from pipeguard.errors import AuthError
from tests.commands import run_command
from tests.files import write_file

ROOT = Path(__file__).resolve().parent.parent


def test_every_extra_has_a_lock_for_make_install() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    assert {*installation.EXTRAS, "all", "test"} == set(extras)
    assert all((ROOT / "requirements" / f"{extra}.txt").is_file() for extra in extras)


def test_a_new_environment_replaces_the_old_one_with_its_scripts(tmp_path: Path) -> None:
    place, new = tmp_path / "pipeguard", tmp_path / "pipeguard.new"
    for folder in (place, new):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)
        script = folder / "bin" / "pipeguard"
        script.write_text(f"#!{folder}/bin/python\nprint('{folder.name}')\n")
        script.chmod(0o755)
    subprocess.run([sys.executable, "requirements/replace.py", new, place], cwd=ROOT, check=True)
    script = place / "bin" / "pipeguard"
    assert script.read_text().startswith(f"#!{place}/bin/python\n"), "it names its interpreter"
    told = subprocess.run([script], capture_output=True, text=True, check=True).stdout
    assert told == "pipeguard.new\n"
    assert [each.name for each in tmp_path.iterdir()] == ["pipeguard"], "nothing is left over"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_a_failed_installation_leaves_nothing_and_removes_nothing(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in\n*realpath*) echo "$0" ;;\n'
        '*venv\\ *) mkdir -p "$4" && exit 1 ;;\nesac\n'
    )
    python.chmod(0o755)
    place = tmp_path / "share" / "pipeguard"
    (place / "bin").mkdir(parents=True)

    def install(*words: str) -> str:
        done = run_command(
            ["/bin/sh", "requirements/environment", place, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHON": str(python)},
        )
        assert done.returncode
        assert [path.name for path in place.parent.iterdir()] == ["pipeguard"]
        assert [path.name for path in place.iterdir()] == ["bin"]
        return done.stderr

    install("base", "copy")
    for extras in ("desktopp", "oauth,desktopp", "oauth desktopp"):
        wrong = install(extras, "copy")
        assert wrong.startswith("There is no lock file requirements/desktopp.txt.")
        assert "one or several of: all, desktop, fleet, oauth, otel\n" in wrong
    assert "EXTRA" not in install("desktopp")


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("compiler", "engine"),
    [
        ({}, "[hH]yperscan"),
        ({"CC": "/nonexistent"}, "in numpy"),
    ],
    ids=["a compiler", "no compiler"],
)
def test_make_install_gives_a_command_that_stays(
    compiler: dict[str, str], engine: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "HOME": str(home), "PREFIX": str(home / "a b"), "EXTRA": ""}
    environment |= compiler
    for variable in (
        "MAKEFLAGS",
        "MAKELEVEL",
        "PYTHONPATH",
        "PIPEGUARD_NATIVE",
        "PIPEGUARD_DATABASES",
    ):
        environment.pop(variable, None)

    def run(*words: str, code: int = 0) -> str:
        done = run_command(words, cwd=ROOT, env=environment)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    told = run("make", "install")
    program = shlex.split(told.strip().rpartition("Next, run: ")[2])[0]
    assert run(program, "--version").startswith("pipeguard, version ")
    login = program, "auth", "login", "http://127.0.0.1:9/mcp", "--store", "file"
    assert "mcp-pipeguard[oauth]" in run(*login, code=AuthError.exit_code)
    run("make", "install", "EXTRA=oauth")
    assert "127.0.0.1 cannot be reached" in run(*login, code=AuthError.exit_code)
    judging = run(program, "doctor", "engine", "rules")
    assert "compiled at installation" in judging
    assert re.search(engine, judging)
    packages = Path(program).resolve().parent.parent.glob("lib/python*/site-packages/*")
    assert not {"pip", "setuptools"} & {path.name for path in packages}
    write_file(home / ".cursor" / "mcp.json", '{"mcpServers": {"it": {"command": "srv"}}}')
    run(program, "setup", "cursor", "--yes", "--launcher", program)
    refused = run("make", "uninstall", code=2)
    assert "still start their servers" in refused
    assert Path(program).exists()
    run(*shlex.split(refused.partition("Remove the guard first:  ")[2].splitlines()[0]))
    run("make", "uninstall")
    assert not Path(program).exists()
