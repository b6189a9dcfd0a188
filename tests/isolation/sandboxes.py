"""Homes and commands for the tests of isolation: a home with secrets, and commands' output."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeguard.isolation.engines import Isolation
from pipeguard.isolation.profile import Profile
from pipeguard.isolation.sandbox import Sandbox
from pipeguard.launch.child import Command
from tests.isolation.test_escapes import CANARY, answer

NOTHING = Profile()


def make_home(
    tmp_path: Path, patch: pytest.MonkeyPatch, folders: str = "", secrets: str = ""
) -> Path:
    """The user's home, with these folders in it, and these files with a secret."""
    home = tmp_path.resolve() / "home"
    for name in ("", *folders.split()):
        (home / name).mkdir(parents=True, exist_ok=True)
    for name in secrets.split():
        (home / name).write_text(CANARY)
    patch.setenv("HOME", str(home))
    patch.setenv("PIPEGUARD_STATE_DIR", str(tmp_path.resolve() / "state"))
    return home


def printed(
    argv: Sequence[str],
    profile: Profile = NOTHING,
    *,
    engine: str = Isolation.BUBBLEWRAP,
    folder: str = "/",
    **variables: str,
) -> str:
    """Return a command's output in a sandbox until it ends."""
    command = Command(argv, {"PATH": os.defpath, **variables}, folder)
    child = Sandbox("server", command, profile, engine=engine).start()
    try:
        return answer(child).decode()
    finally:
        child.close()


def script(text: str, *words: str) -> list[str]:
    """Make a shell command that runs a script, and succeeds; its output includes errors."""
    return ["/bin/sh", "-c", f"exec 2>&1; {text}; true", *words]
