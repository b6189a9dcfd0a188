"""Completion of `pipeguard` in shells: the places of its installation."""

import os
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
_MARKS = (b"pipeguard completion", b"_PIPEGUARD_COMPLETE")
MOST_BYTES = 2**20  # read of a shell's settings file


def find_completions(environment: Mapping[str, str], user_folder: Path) -> list[Path]:
    """The scripts and settings of all shells that complete `pipeguard`."""
    scripts = [path for shell in SHELLS for path in _scripts(shell, environment, user_folder)]
    settings = [path for shell in SHELLS for path in _settings(shell, environment, user_folder)]
    found = [path for path in scripts if path.exists()]
    return found + [path for path in settings if completes(_content(path))]


def completes(settings: bytes) -> bool:
    """True if a line of a shell's settings, other than a comment, completes `pipeguard`."""
    lines = (line for line in settings.splitlines() if not line.lstrip().startswith(b"#"))
    return any(mark in line for line in lines for mark in _MARKS)


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


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return b""
