"""The parts of a user's git configuration that an isolated git server is given, as a file of ours.

Who commits, which files are ignored, and how line ends are converted: without these, git commits as
somebody else and adds other files. The user's files themselves are not given: they may hold tokens
(`url.*.insteadOf`, `http.extraHeader`) and name programs (`credential.helper`). git itself reads
them, in the folder that the server changes: settings included under a condition apply there.
"""

import os
import subprocess
from collections.abc import Iterator
from os.path import isfile, join, realpath

from pipeguard.isolation.sensitive import is_in_any
from pipeguard.isolation.view import Mount, MountKind, SandboxUser, Variables

PLACE = "/etc/gitconfig"  # that git and its libraries read below a repository's own configuration
EXCLUDES, IGNORED = "core.excludesFile", f"{PLACE}.ignore"
GIVEN = ("user.name", "user.email", "core.autocrlf", EXCLUDES)
GIT_SECONDS = 5.0
_VARIABLES = ("PATH", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL")


def find_settings(host: SandboxUser, variables: Variables, folder: str) -> Iterator[Mount]:
    """The settings for a server: a file of ours, and a list of patterns.

    Args:
        host: this machine and its user.
        variables: of PipeGuard's environment.
        folder: the folder that the server changes.
    """
    environment = {name: variables[name] for name in _VARIABLES if name in variables}
    environment["HOME"] = host.home
    values = {key: _read_value(key, environment, folder) for key in GIVEN}
    usual = join(variables.get("XDG_CONFIG_HOME") or f"{host.home}/.config", "git/ignore")
    ignored = realpath(join(host.home, values[EXCLUDES] or usual))
    is_given = isfile(ignored) and not is_in_any(ignored, host.sensitive)
    values[EXCLUDES] = IGNORED if is_given else ""
    if any(values.values()):
        lines = (_write_setting(key, value) for key, value in values.items() if value)
        yield Mount(MountKind.TEXT, PLACE, "".join(lines))
    if is_given:
        yield Mount(MountKind.COPY, IGNORED, ignored)


def _read_value(key: str, environment: Variables, folder: str) -> str:
    """The value of a key in the user's own files; empty if it is not set."""
    kind = ("--type", "path") if key == EXCLUDES else ()
    # By -C: a relative entry of PATH must not lead into a folder that the server changes.
    options = ("--global", "--includes", *kind, "--null", "--get")
    command = ("git", "-C", folder, "config", *options, key)
    try:
        found = subprocess.run(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return os.fsdecode(found.stdout).rstrip("\0")


def _write_setting(key: str, value: str) -> str:
    section, _, name = key.partition(".")
    text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'[{section}]\n\t{name} = "{text}"\n'
