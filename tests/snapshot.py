"""Compares the output of commands with tests/snapshots/, which `make snapshots` writes again.

A snapshot has the commands of one test as they are typed, each with its exit code behind `#` and
its output; `! ` begins a line of standard error. Parts that differ from run to run are replaced by
a name in capitals.
"""

import difflib
import io
import json
import os
import re
import shlex
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeguard.__main__ import _run
from pipeguard.runtime import progress
from pipeguard.version import VERSION

FOLDER = Path(__file__).parent / "snapshots"
IS_WRITTEN = bool(os.environ.get("PIPEGUARD_SNAPSHOTS"))
VARIES = {
    r"\(event \w{1,8}…": "(event…",  # cut at the width of a scene
    # The program by its path, unless it is on the PATH; in a temporary folder, to install it first.
    r" --launcher \S+/pipeguard\b": "",
    r"\bInstall PipeGuard to stay, as its README says\.\n": "",
    r"(?<![\w/.~])[\w/.~-]*\.venv[\w-]*/bin/pipeguard\b": "pipeguard",
    re.escape(str(FOLDER.parents[1])): "CODE",
    re.escape(sys.executable): "PYTHON",
    rf"\b{re.escape(VERSION)}\b": "VERSION",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)": "TIME",
    r"\d{4}-\d\d-\d\d(?![\d-])": "DATE",
    r"(?<![\w.])[0-9a-f]{16,64}\b": "HASH",
    r'(?<="seconds": )[\d.]+|\b\d+\.\d+(?= s(econds)?\b)': "DURATION",
    r"\bpgt_[\w-]+": "TOKEN",
    r"(?<=127\.0\.0\.1:)\d{4,5}": "PORT",
}


class Shown(NamedTuple):
    """The exit code of a command, and its output."""

    code: int
    out: str
    err: str


@dataclass
class Snapshot:
    """The snapshots of one test; masks VARIES, its own folders, and its additions."""

    capture: pytest.CaptureFixture[str]
    varies: dict[str, str] = field(default_factory=dict)

    def run(self, line: str) -> Shown:
        """Run `pipeguard` with a command line, in this process."""
        self.capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
            patch.setattr(progress, "PATIENCE_SECONDS", 3600.0)  # on a busy machine, too
            try:
                code = _run(shlex.split(line))
            except SystemExit as end:  # as `main` passes it on
                code = int(end.code or 0)
        return Shown(code, *self.capture.readouterr())

    def commands(self, name: str, lines: str) -> None:
        """Run commands and compare their output."""
        self.text(name, self.shown(lines))

    def shown(self, lines: str) -> str:
        """Run commands, one a line; `#` is followed by the exit code of one that must fail."""
        texts, wrong = [], {}
        for line in filter(None, map(str.strip, lines.splitlines())):
            command, _, code = line.partition("  # ")
            shown = self.run(command)
            if shown.code != int(code or 0):
                wrong[line] = shown
            errors = [f"! {text}".rstrip() for text in shown.err.splitlines()]
            texts.append("\n".join([f"$ pipeguard {line}", *_lines(shown.out), *errors]))
        assert wrong == {}, f"other exit codes: {wrong}"
        return "\n\n".join(texts)

    def text(self, name: str, text: str) -> None:
        """Compare a text: on Linux, as folders and the system's errors are others elsewhere."""
        if sys.platform != "linux":
            return
        for pattern, stands in (self.varies | VARIES).items():
            text = re.sub(pattern, stands, text)
        file = FOLDER / f"{name}.txt"
        test = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
        command = f"`make snapshots ARGS={test}`"
        if IS_WRITTEN:
            file.write_text(f"{text}\n", "utf-8")
        assert file.exists(), f"no snapshot {name}: write it with {command}"
        if (kept := file.read_text("utf-8")) != f"{text}\n":
            changes = difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", n=1)
            pytest.fail("\n".join((f"{file}; if right, {command}:", *changes)))


def _lines(text: str) -> list[str]:
    """The lines of a text, without blanks at their ends; of JSON, a line for each member."""
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=1)
    return list(map(str.rstrip, text.splitlines()))
