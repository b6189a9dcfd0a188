"""Completion of `pipeguard` in shells: how to install it, and whether it is installed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

SHELLS = ("bash", "zsh", "fish", "powershell")
_PROFILE = "Microsoft.PowerShell_profile.ps1"
_SETTINGS = {
    "bash": (".bashrc", ".bash_profile"),
    "zsh": (".zshrc",),
    "fish": (),
    # learn.microsoft.com/powershell/module/microsoft.powershell.core/about/about_profiles
    "powershell": (f".config/powershell/{_PROFILE}", f"Documents/PowerShell/{_PROFILE}"),
}
_MARKS = ("pipeguard completion", "_PIPEGUARD_COMPLETE")
_ONLY_COMPLETES = re.compile(
    rb"(?:eval \"\$\(|source <\()?pipeguard completion \w+"
    rb"(?:\)\"?| \| Out-String \| Invoke-Expression)"
)
MOST_BYTES = 2**20  # read of a shell's settings file


def detect_shell(environment: Mapping[str, str]) -> str | None:
    """The user's shell, or None if completion does not exist for it."""
    name = environment.get("SHELL", "").replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    name = "powershell" if name == "pwsh" else name
    return name if name in SHELLS else None


def install_command(shell: str) -> str:
    """The command that installs completion for every new shell; run once."""
    if shell == "fish":
        return "pipeguard completion fish > ~/.config/fish/completions/pipeguard.fish"
    if shell == "powershell":
        line = "pipeguard completion powershell | Out-String | Invoke-Expression"
        return f"Add-Content $PROFILE '{line}'"
    return f"""echo 'eval "$(pipeguard completion {shell})"' >> ~/.{shell}rc"""


def is_installed(shell: str, environment: Mapping[str, str], user_folder: Path) -> bool:
    """True if a new shell would complete `pipeguard`, according to its settings and scripts."""
    return any(path.exists() for path in _scripts(shell, environment, user_folder)) or any(
        mark in _text(path)
        for path in _settings(shell, environment, user_folder)
        for mark in _MARKS
    )


def find_completions(environment: Mapping[str, str], user_folder: Path) -> list[Path]:
    """The scripts and settings of all shells that complete `pipeguard`."""
    scripts = [path for shell in SHELLS for path in _scripts(shell, environment, user_folder)]
    settings = [path for shell in SHELLS for path in _settings(shell, environment, user_folder)]
    found = [path for path in scripts if path.exists()]
    return found + [path for path in settings if any(mark in _text(path) for mark in _MARKS)]


def without_completion(settings: bytes) -> bytes:
    """A shell's settings without the lines that only complete `pipeguard`."""
    lines = settings.splitlines(keepends=True)
    return b"".join(line for line in lines if not _ONLY_COMPLETES.fullmatch(line.strip()))


def _scripts(shell: str, environment: Mapping[str, str], user_folder: Path) -> list[Path]:
    if shell == "bash":
        data = _folder(environment, "XDG_DATA_HOME", user_folder / ".local" / "share")
        own = _folder(environment, "BASH_COMPLETION_USER_DIR", data / "bash-completion")
        return [own / "completions" / "pipeguard", own / "completions" / "pipeguard.bash"]
    if shell == "fish":
        config = _folder(environment, "XDG_CONFIG_HOME", user_folder / ".config")
        return [config / "fish" / "completions" / "pipeguard.fish"]
    return []


def _settings(shell: str, environment: Mapping[str, str], user_folder: Path) -> list[Path]:
    folder = _folder(environment, "ZDOTDIR", user_folder) if shell == "zsh" else user_folder
    return [folder / name for name in _SETTINGS[shell]]


def _folder(environment: Mapping[str, str], variable: str, usual: Path) -> Path:
    value = environment.get(variable, "")
    return Path(value) if os.path.isabs(value) else usual


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
