"""The page as a user service: a systemd unit, and functions that start and stop it."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from pipeguard.cli._page_host import is_running
from pipeguard.errors import InputError
from pipeguard.installation import INSTALL, is_in_cache
from pipeguard.launch.person import Person
from pipeguard.state.paths import STATE_DIR_VARIABLE
from pipeguard.unicode.display import visible

NAME = "pipeguard-ui.service"
LIMIT_SECONDS = 20.0
PAUSE_SECONDS = 0.1
# With these, it finds the same store and policy as this terminal, and starts the same programs.
_VARIABLES = (
    *("PATH", STATE_DIR_VARIABLE, "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"),
    "XDG_CACHE_HOME",
)
_OTHERWISE = (
    "If no systemd runs for you here, start one:  loginctl enable-linger\n"
    "  Or run the page in a terminal:  pipeguard ui"
)
_UNIT = """\
# Written by `pipeguard ui --service install`; `pipeguard ui --service remove` removes it.
[Unit]
Description=PipeGuard, the page on which you decide

[Service]
Type=exec
ExecStart={command}
{environment}UMask=0077
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2

[Install]
WantedBy=default.target
"""


def unit_path() -> Path:
    """Return the path of the unit (systemd.unit(5)); it need not exist."""
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(folder) if os.path.isabs(folder) else Path.home() / ".config"
    return home / "systemd" / "user" / NAME


def install(port: int | None) -> None:
    """Start the page now, and whenever the user logs in.

    Raises:
        PipeGuardError: an agent asks, systemd does not run it, or the page runs elsewhere.
    """
    Person.at_terminal()
    if is_in_cache():
        raise InputError(f"this PipeGuard is in a cache, which is emptied.\n  {INSTALL}")
    path = unit_path()
    if not path.exists() and is_running():
        raise InputError("another process has the page.\n  Open that one:  pipeguard ui")
    words = [os.path.abspath(sys.executable), "-I", "-m", "pipeguard", "ui", "--service", "run"]
    words += [] if port is None else ["--port", str(port)]
    values = [f"{name}={os.environ[name]}" for name in _VARIABLES if os.environ.get(name)]
    unit = _UNIT.format(
        command=" ".join(_quote(word).replace("$", "$$") for word in words),
        environment="".join(f"Environment={_quote(value)}\n" for value in values),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(unit, "utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    try:
        for request in (["daemon-reload"], ["enable", NAME], ["restart", NAME]):
            _ask_systemd(request)
        _wait_for_page()
    except InputError:
        with suppress(InputError):
            _ask_systemd(["disable", "--now", NAME])
        path.unlink()
        raise
    click.echo(f"The page runs now, and whenever you are logged in: {visible(str(path))}")
    click.echo("Open it:  pipeguard ui     Remove it:  pipeguard ui --service remove")


def remove() -> bool:
    """Stop the page, and remove its unit; return False if it has none.

    Raises:
        InputError: systemd does not stop it, so the unit stays.
    """
    path = unit_path()
    if not path.exists():
        return False
    by_hand = f"If no systemd runs for you here, remove it by hand:  rm {shlex.quote(str(path))}"
    _ask_systemd(["disable", "--now", NAME], by_hand)
    path.unlink()
    _ask_systemd(["daemon-reload"], "")
    return True


def _wait_for_page() -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not is_running():
        if time.monotonic() > end:
            raise InputError(f"the page did not start. See why:  journalctl --user -u {NAME}")
        time.sleep(PAUSE_SECONDS)


def _ask_systemd(words: Sequence[str], otherwise: str = _OTHERWISE) -> None:
    """Run systemctl(1) for the services of this user.

    Args:
        words: the arguments.
        otherwise: advice for the person if it fails.

    Raises:
        InputError: it fails, for example because no systemd runs for this user.
    """
    command = ["systemctl", "--user", *words]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        why = visible((getattr(error, "stderr", "") or str(error)).strip())
        told = f"systemd did not do this: {shlex.join(command)}\n  {why}"
        raise InputError(f"{told}\n  {otherwise}") from None


def _quote(word: str) -> str:
    """Quote a word of a unit, so that systemd neither expands nor splits it (systemd.syntax(7))."""
    if not word.isprintable():
        raise InputError(f"a service of systemd cannot have a control character: {visible(word)}")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'
