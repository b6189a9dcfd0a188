"""An option without effect in the chosen mode is an error, and says why."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeguard.__main__ import _run
from pipeguard.cli import cli


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("setup cursor --undo --shared", "--shared"),
        ("scan - --key x", "--key"),
        ("assess --limit 30", "--limit"),
        ("assess --json --format table", "--format"),
        ("serve --folder . --token-env X", "--token-env"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    words: str, option: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a text")))
    assert _run(words.split()) == 2
    assert f"pipeguard: {option} would have no effect: " in capfd.readouterr().err


@pytest.mark.parametrize(
    "words", ["scan - --as arguments --key x", "setup cursor --undo --dry-run"]
)
def test_what_has_an_effect_is_taken(words: str) -> None:
    result = CliRunner().invoke(cli, words.split(), input="a text")
    assert "would have no effect" not in result.output
