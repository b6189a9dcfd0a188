"""The server's settings and directory do not affect our imports: _isolate.py.

A package with the real `_isolate` and a `__main__` that prints its imports replaces ours, in a
Python of its own, so that the installed modules are known.
"""

import ast
import os
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "pipeguard" / "_isolate.py"
TELL = """
from pipeguard import _isolate
_isolate.ensure()
import argparse, json, os, sys
import click
hostile = sorted(n for n, m in sys.modules.items() if getattr(m, "HOSTILE", False))
print(repr({  # not by json, which may be theirs
    "hostile": hostile,
    "arguments": sys.argv[1:],
    "flags": [sys.flags.ignore_environment, sys.flags.safe_path, sys.flags.no_user_site],
    "pid": os.getpid(),
    "environment": dict(os.environ),
    "path": sys.path,
}))
"""
HOSTILE = ("json", "argparse", "click", "sitecustomize", "contextlib", "subprocess", "os")


@dataclass(frozen=True, slots=True)
class Told:
    """The stand-in's report about itself."""

    hostile: list[str]
    arguments: list[str]
    flags: list[int]
    pid: int
    environment: dict[str, str]
    path: list[str]
    started: int


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python in which the stand-in and a click are installed."""
    home = tmp_path_factory.mktemp("python")
    venv.create(home, symlinks=True)
    names = {"base": str(home), "platbase": str(home)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=names))
    install(packages)
    (packages / "click.py").write_text("")
    script = home / "bin" / "pipeguard"
    script.write_text(f"#!{home}/bin/python\nfrom pipeguard import __main__\n")
    script.chmod(0o755)
    return home / "bin" / "python"


def install(packages: Path) -> None:
    package = packages / "pipeguard"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "_isolate.py").write_bytes(SOURCE.read_bytes())
    (package / "__main__.py").write_text(TELL)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory of modules that report their importers."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in HOSTILE:
        (folder / f"{name}.py").write_text("HOSTILE = True\n")
    # These are imported on the way to us, before anything can be done: they must work.
    (folder / "contextlib.py").write_text(
        "HOSTILE = True\nfrom types import SimpleNamespace\ncontextmanager = lambda f: f\n"
    )
    return folder


def tell(argv: list[str], cwd: Path, **environment: str) -> Told:
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return Told(**ast.literal_eval(output.decode()), started=process.pid)


def test_nothing_is_done_where_nothing_is_needed(interpreter: Path, tmp_path: Path) -> None:
    for options in (["-I"], ["-E", "-P"], ["-P"]):
        told = tell([str(interpreter), *options, "-m", "pipeguard", "a"], tmp_path)
        assert told.arguments == ["a"]
        assert told.flags[0] == (0 if options == ["-P"] else 1)


def test_a_console_script_does_not_start_anew(interpreter: Path, tmp_path: Path) -> None:
    told = tell([str(interpreter.parent / "pipeguard"), "a"], tmp_path, PYTHONUTF8="1")
    assert told.flags[:2] == [0, 0]
    assert str(interpreter.parent) not in told.path


def test_modules_in_the_servers_python_path_or_directory_are_not_imported(
    interpreter: Path, tmp_path: Path, hostile: Path
) -> None:
    script, module = str(interpreter.parent / "pipeguard"), [str(interpreter), "-m", "pipeguard"]
    told = tell([*module, "wrap", "--", "x y", "-c"], tmp_path, PYTHONPATH=str(hostile))
    assert told.hostile == []
    assert told.arguments == ["wrap", "--", "x y", "-c"]
    assert told.pid == told.started
    told = tell(module, hostile)
    assert told.hostile == []
    assert str(hostile) not in told.path
    assert tell([script], hostile, PYTHONPATH=str(hostile)).hostile == []
    assert tell([script], tmp_path, PYTHONPATH=f"{tmp_path}:{hostile}").hostile == []


def test_the_stand_in_would_tell(interpreter: Path, tmp_path: Path, hostile: Path) -> None:
    package = tmp_path / "pipeguard"
    install(tmp_path)
    (package / "_isolate.py").write_text("def ensure(): pass\n")
    told = tell([str(interpreter), "-m", "pipeguard"], tmp_path, PYTHONPATH=str(hostile))
    assert {"json", "argparse", "click", "sitecustomize"} <= set(told.hostile)


def test_the_server_still_gets_what_was_meant_for_it(
    interpreter: Path, tmp_path: Path, hostile: Path
) -> None:
    ours = {"PYTHONPATH": str(hostile), "PYTHONNOUSERSITE": "1", "KEY": "v\udcff"}
    told = tell([str(interpreter), "-m", "pipeguard"], tmp_path, **ours)
    assert told.flags == [1, 1, 1]
    assert ours.items() <= told.environment.items()


@pytest.mark.parametrize("by", ["PYTHONPATH", "cwd"])
def test_what_only_the_path_or_the_directory_holds_is_run_but_found_last(
    interpreter: Path, tmp_path: Path, hostile: Path, by: str
) -> None:
    """A checkout that is run without being installed, with a hostile file in it."""
    bare = tmp_path / "bare"
    venv.create(bare, symlinks=True)
    names = {"base": str(bare), "platbase": str(bare)}
    (Path(sysconfig.get_path("purelib", "venv", vars=names)) / "click.py").write_text("")
    install(hostile)
    argv = [str(bare / "bin" / "python"), "-m", "pipeguard", "a"]
    told = tell(argv, hostile) if by == "cwd" else tell(argv, tmp_path, PYTHONPATH=str(hostile))
    assert told.hostile == []
    assert told.arguments == ["a"]
    assert told.path[-1] == str(hostile)


def test_the_module_imports_nothing_that_is_not_frozen() -> None:
    names = [line.split()[1] for line in SOURCE.read_text().splitlines() if line.startswith("impo")]
    assert names == ["os", "sys"]
