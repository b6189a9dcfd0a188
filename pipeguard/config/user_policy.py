"""Where the user's policy file is, and whether it says anything about a subject."""

from __future__ import annotations

import os
import sys

from pipeguard.config.xdg import xdg_folder

POLICY_VARIABLE = "PIPEGUARD_POLICY"
POLICY_FILE = "policy.yaml"
MAX_READ_BYTES = 1024 * 1024


def user_policy_path() -> str | None:
    """The user's policy file: the one in `PIPEGUARD_POLICY`, or the usual one if it exists."""
    override = os.environ.get(POLICY_VARIABLE)
    if override:
        return override
    usual = usual_policy_path()
    return usual if os.path.exists(usual) else None  # noqa: PTH110  pathlib costs 5 ms


def usual_policy_path() -> str:
    """The usual place of the user's policy file, which need not exist."""
    if sys.platform == "linux":
        folder = xdg_folder("XDG_CONFIG_HOME", "~/.config")
    else:
        from pipeguard.config.directories import config_folder

        folder = config_folder()
    return os.path.join(folder, POLICY_FILE)  # noqa: PTH118  pathlib costs 5 ms


def mentions_isolation(path: str | None) -> bool:
    """The same as `mentions`, of the key `isolate`."""
    return mentions(path, "isolate")


def mentions(path: str | None, key: str) -> bool:
    """Whether a policy file has the word, so that it has to be read before a server is started.

    Args:
        path: of the file, or None for the user's own.
        key: which word.
    """
    path = path or user_policy_path()
    if path is None:
        return False
    try:
        with open(path, "rb") as file:
            return key.encode() in file.read(MAX_READ_BYTES)
    except OSError:
        return False  # whoever reads the policy says what is wrong with it
