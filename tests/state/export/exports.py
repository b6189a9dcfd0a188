"""Exports as tests run them, and the rows that arrived."""

import csv
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from pipeguard.__main__ import _run
from pipeguard.state.paths import store_path
from pipeguard.state.store import open_store
from tests.forking import PIPEGUARD
from tests.launch.processes import PATIENCE_SECONDS
from tests.state.samples import FINDING, audit_entry, record

EXPORT = ("audit", "export")


def fill(count: int, run: str = "RUN", day: int = 20) -> list[str]:
    """Append rows, of which each third was blocked; return their ids."""
    rows = [
        audit_entry(
            f"{run}.c{i}",
            *([FINDING] if i % 3 == 0 else []),
            time=f"2026-11-{day}T10:00:00.{i % 1000:03d}Z",
            action="allow" if i % 3 else "block",
        )
        for i in range(count)
    ]
    record("weather", *rows, run=run)
    return [f"{run}/{i}" for i in range(1, count + 1)]


def export(to: Path | str, *more: str, cursor: str = "one") -> int:
    """Export to a target in this process; return the exit code."""
    return _run([*EXPORT, "--to", str(to), "--cursor", cursor, *more])


def sent(path: Path) -> list[str]:
    """The ids of a file's rows but those of a posture; each row is whole."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines) if path.suffix == ".csv" else map(json.loads, lines))
    assert all(len(row["hash"]) == 64 for row in rows)
    return [row["id"] for row in rows if row["kind"] != "posture"]


def change_store(statement: str) -> None:
    """Change rows as no PipeGuard does."""
    with open_store(store_path()) as store:
        store.write(statement)


@contextmanager
def following(to: Path | str, log: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that follows the audit, and writes its stderr to a log."""
    words = [*PIPEGUARD, *EXPORT, "--to", str(to), "--cursor", "one", "--follow", *more]
    with log.open("wb") as stderr, subprocess.Popen(words, stderr=stderr) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(path: Path, text: str) -> None:
    """Wait until a text is in a file."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not path.exists() or text not in path.read_text("utf-8"):
        assert monotonic() < deadline, f"{text!r} is not in {path}"
        sleep(0.01)
