"""The shells that complete `pipeguard`: what each is told, and where it looks. Changes no file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")
_SETTINGS = {"bash": (".bashrc", ".bash_profile"), "zsh": (".zshrc",), "fish": ()}
_MARKS = ("pipeguard completion", "_PIPEGUARD_COMPLETE")
MOST_BYTES = 2**20  # of a shell's settings that are looked at


def shell_of(environment: Mapping[str, str]) -> str | None:
    """The user's own shell, or None where it is none of ours."""
    name = environment.get("SHELL", "").replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    return name if name in SHELLS else None


def installing(shell: str) -> str:
    """The command that a person runs once, to have completions in every new shell."""
    if shell == "fish":
        return "pipeguard completion fish > ~/.config/fish/completions/pipeguard.fish"
    return f"""echo 'eval "$(pipeguard completion {shell})"' >> ~/.{shell}rc"""


def is_installed(shell: str, environment: Mapping[str, str], home: Path) -> bool:
    """Whether a new shell would complete `pipeguard`, as far as its own files say."""
    return any(path.exists() for path in _scripts(shell, environment, home)) or any(
        mark in _text(path) for path in _settings(shell, environment, home) for mark in _MARKS
    )


def _scripts(shell: str, environment: Mapping[str, str], home: Path) -> list[Path]:
    if shell == "bash":
        data = _folder(environment, "XDG_DATA_HOME", home / ".local" / "share")
        own = _folder(environment, "BASH_COMPLETION_USER_DIR", data / "bash-completion")
        return [own / "completions" / "pipeguard", own / "completions" / "pipeguard.bash"]
    if shell == "fish":
        config = _folder(environment, "XDG_CONFIG_HOME", home / ".config")
        return [config / "fish" / "completions" / "pipeguard.fish"]
    return []


def _settings(shell: str, environment: Mapping[str, str], home: Path) -> list[Path]:
    folder = _folder(environment, "ZDOTDIR", home) if shell == "zsh" else home
    return [folder / name for name in _SETTINGS[shell]]


def _folder(environment: Mapping[str, str], variable: str, usual: Path) -> Path:
    named = environment.get(variable, "")
    return Path(named) if os.path.isabs(named) else usual  # noqa: PTH117  a text, no path yet


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
