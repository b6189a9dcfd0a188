"""Before a client's file is changed: a guarded server must be able to start, and at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeguard.clients.readiness import check_policy, make_ready
from pipeguard.config.directories import usual_cache_folder
from pipeguard.errors import PolicyError
from pipeguard.rulebook.cache import load_engines
from pipeguard.rulebook.compiled_file import COMPILED_PATTERN


def test_the_rules_are_ready_where_a_client_passes_no_variables(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready()
    folder = Path(usual_cache_folder())
    assert home in folder.parents
    (index,) = folder.glob(COMPILED_PATTERN)
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    monkeypatch.delenv("XDG_CACHE_HOME")
    load_engines()  # as the server's own start: it trusts what it finds
    assert index in before
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_modules_are_compiled_where_python_may_not_write_them(home: Path) -> None:
    script = "from pipeguard.clients.readiness import make_ready; make_ready()"
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(home / "compiled")}
    subprocess.run([sys.executable, "-c", script], env={**os.environ, **variables}, check=True)
    compiled = {file.name.partition(".")[0] for file in (home / "compiled").rglob("*.pyc")}
    assert {"stdio", "strict_json", "scan", "ledger"} <= compiled


def test_with_a_wrong_policy_nothing_is_begun(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = home / "policy.yaml"
    policy.write_text("mode: maybe\n")
    monkeypatch.setenv("PIPEGUARD_POLICY", str(policy))
    with pytest.raises(PolicyError):
        check_policy()
