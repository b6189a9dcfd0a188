"""Tests for the commands that install PipeGuard: that all are true, and that all places agree."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from pipeguard import installation
from pipeguard.errors import AuthError
from pipeguard.installation import (
    find_installer,
    install_command,
    origin,
    reinstall_command,
    uninstall_command,
)

ROOT = Path(__file__).resolve().parent.parent
PLACES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("pipeguard/**/*.py")]


class Metadata:
    """Of a package that was installed from somewhere."""

    def __init__(self, url: str | None) -> None:
        self._url = url

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._url is None else json.dumps({"url": self._url, "dir_info": {}})


def installed_from(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _name: Metadata(url))


def programs(monkeypatch: pytest.MonkeyPatch, folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize("name", ["a clone", "clone"])
def test_the_clone_is_known_after_an_installation_from_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    installed_from(monkeypatch, folder.as_uri())
    assert origin() == str(folder)


def test_who_installed_a_wheel_is_sent_to_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "mcp_pipeguard-1.whl"
    wheel.touch()
    installed_from(monkeypatch, wheel.as_uri())
    programs(monkeypatch, tmp_path / "bin")
    assert install_command() == f"pipx install {wheel}"
    monkeypatch.setattr(sys, "prefix", "/srv/app/.venv")
    assert f"-m pip install {wheel}" in reinstall_command("otel").replace("'", "")


@pytest.mark.parametrize("url", [None, "file:///no/such/clone", "https://example.com/x.whl", ""])
def test_a_clone_that_is_not_known_is_the_current_folder(
    url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_from(monkeypatch, url)
    assert origin() == "."


@pytest.mark.parametrize(
    ("has", "command"),
    [
        (("make", "pipx", "uv"), "make -C /clone install"),
        (("pipx", "uv"), "pipx install /clone"),
        (("uv",), "uv tool install /clone"),
        ((), "make -C /clone install"),
    ],
)
def test_what_the_machine_has_installs_it(
    has: tuple[str, ...], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(monkeypatch, tmp_path / "bin", *has)
    monkeypatch.setattr(installation, "origin", lambda: "/clone")
    assert install_command() == command


@pytest.mark.parametrize(
    ("prefix", "way", "again"),
    [
        ("/home/kim/.local/share/pipx/venvs/x", "pipx", "pipx install --force '/clone[otel]'"),
        ("/home/kim/.local/share/uv/tools/x", "uv tool", "uv tool install --force '/clone[otel]'"),
        ("/home/kim/.cache/uv/archive-v0/x", "uvx", "uv tool install --force '/clone[otel]'"),
        ("/home/kim/.local/share/pipeguard", "make", "make -C /clone install EXTRA=otel"),
        ("/opt/a b/share/pipeguard", "make", "make -C /clone install 'PREFIX=/opt/a b' EXTRA=otel"),
        ("/srv/app/.venv", "venv", "/bin/python3 -m pip install '/clone[otel]'"),
    ],
)
def test_it_is_installed_again_the_way_it_was(
    prefix: str, way: str, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(installation, "_USUAL_PREFIX", Path("/home/kim/.local"))
    monkeypatch.setattr(sys, "executable", "/bin/python3")
    monkeypatch.setattr(installation, "origin", lambda: "/clone")
    monkeypatch.setattr(installation, "EXTRAS", {"oauth": ("no.such.module",)})
    assert find_installer() == way
    assert reinstall_command("otel") == again
    assert "otel" not in reinstall_command()
    removed = shlex.split(uninstall_command())  # also where no clone is left
    made = ["rm", "-r", prefix, str(Path(prefix).parents[1] / "bin" / "pipeguard")]
    assert (removed == made) is (way == "make")


def test_an_extra_is_added_to_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/kim/.local/share/pipeguard")
    monkeypatch.setattr(installation, "_USUAL_PREFIX", Path("/home/kim/.local"))
    monkeypatch.setattr(installation, "origin", lambda: "/clone")
    monkeypatch.setattr(installation, "EXTRAS", {"oauth": ("json",), "otel": ("no.such.module",)})
    assert installation.installed_extras() == ["oauth"]
    assert reinstall_command() == "make -C /clone install EXTRA=oauth"
    assert reinstall_command("oauth") == "make -C /clone install EXTRA=oauth"
    assert reinstall_command("otel") == "make -C /clone install EXTRA=oauth,otel"


def test_every_extra_has_a_lock_for_make_install() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    assert {*installation.EXTRAS, "all", "test"} == set(extras)
    assert all((ROOT / "requirements" / f"{extra}.txt").is_file() for extra in extras)


def test_nothing_else_says_how_it_is_installed() -> None:
    stranger = re.compile(r"\b(?:pipx?|uv|uvx)(?: [a-z-]+)* '?(?:mcp-)?pipeguard\b")
    told = {
        str(path.relative_to(ROOT)): stranger.findall(path.read_text("utf-8"))
        for path in PLACES
        if path != Path(installation.__file__)
    }
    assert not {path: found for path, found in told.items() if found}


def test_the_readme_and_the_workflow_fit_what_is_published() -> None:
    readme, workflow = (
        (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/assess.md")
    )
    assert ("make install" in readme) is not installation.PUBLISHED
    assert ("pipx install ./.pipeguard" in workflow) is not installation.PUBLISHED


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
        done = subprocess.run(
            ["/bin/sh", "requirements/environment", place, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHON": str(python)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode
        assert [path.name for path in place.parent.iterdir()] == ["pipeguard"]
        assert [path.name for path in place.iterdir()] == ["bin"]
        return done.stderr

    install("base", "copy")
    for extras in ("desktopp", "oauth,desktopp", "oauth desktopp"):
        wrong = install(extras, "copy")
        assert wrong.startswith("There is no lock file requirements/desktopp.txt.")
        assert "one or several of: all, desktop, oauth, otel\n" in wrong
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
        done = subprocess.run(
            words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    told = run("make", "install")
    program = shlex.split(told.strip().rpartition("Next, run: ")[2])[0]
    assert run(program, "--version").startswith("pipeguard, version ")
    assert "installed by make" in run(program, "doctor", "python")
    login = program, "auth", "login", "http://127.0.0.1:9/mcp", "--store", "file"
    advice = run(*login, code=AuthError.exit_code).partition("Install it:  ")[2]
    run(*shlex.split(advice))
    assert "127.0.0.1 cannot be reached" in run(*login, code=AuthError.exit_code)
    judging = run(program, "doctor", "engine", "rules")
    assert "compiled at installation" in judging
    assert re.search(engine, judging)
    packages = Path(program).resolve().parent.parent.glob("lib/python*/site-packages/*")
    assert not {"pip", "setuptools"} & {path.name for path in packages}
    client = home / ".cursor" / "mcp.json"
    client.parent.mkdir(parents=True)
    client.write_text('{"mcpServers": {"it": {"command": "srv"}}}')
    run(program, "setup", "cursor", "--yes", "--launcher", program)
    refused = run("make", "uninstall", code=2)
    assert "still start their servers" in refused
    assert Path(program).exists()
    run(*shlex.split(refused.partition("Remove the guard first:  ")[2].splitlines()[0]))
    run("make", "uninstall")
    assert not Path(program).exists()
