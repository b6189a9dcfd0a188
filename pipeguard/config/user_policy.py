"""The policy files of the user and of a project: their paths, and a quick look into them."""

import os

from pipeguard.config.directories import config_folder

POLICY_VARIABLE = "PIPEGUARD_POLICY"
POLICY_FILE = "policy.yaml"
PROJECT_FILE = ".pipeguard.yaml"
MAX_READ_BYTES = 1024 * 1024


def user_policy_path() -> str | None:
    """The user's policy file: the one in `PIPEGUARD_POLICY`, or the usual one if it exists."""
    override = os.environ.get(POLICY_VARIABLE)
    if override:
        return override
    usual = usual_policy_path()
    return usual if os.path.exists(usual) else None


def usual_policy_path() -> str:
    """The usual place of the user's policy file, which need not exist."""
    return os.path.join(config_folder(), POLICY_FILE)


def project_policy_path(folder: str | None = None) -> str | None:
    """The nearest project's file, in a folder or its parents up to the home folder.

    Args:
        folder: to begin with; None for the current one.
    """
    home_folder = os.path.realpath(os.path.expanduser("~"))
    try:
        folder = os.path.realpath(folder or os.getcwd())
    except FileNotFoundError:  # it was deleted, so no project is there
        folder = home_folder
    while True:
        path = os.path.join(folder, PROJECT_FILE)
        if os.path.lexists(path):
            return path
        parent = os.path.dirname(folder)
        if folder in (home_folder, parent):
            return None
        folder = parent


def own_policy_path() -> str:
    """The user's policy file for writing changes, which need not exist."""
    return user_policy_path() or usual_policy_path()


def mentions(path: str | None, key: str) -> bool:
    """True if a policy file may have a key, so that it must be read before a server starts.

    A file that cannot be read may have it, because its contents are unknown.

    Args:
        path: of the file, or None for the user's own.
        key: which word.
    """
    path = path or user_policy_path()
    if path is None:
        return False
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_READ_BYTES + 1)
    except OSError:
        return True  # the reader of the policy reports the error
    is_searchable = len(text) <= MAX_READ_BYTES and b"\0" not in text  # as UTF-16 has it
    return not is_searchable or may_have(text, key)


def may_have(text: bytes, key: str) -> bool:
    """True if a policy may have a key: it has the word, or a backslash.

    With a backslash, YAML can escape any word (YAML 1.2.2, 5.7, escaped characters).
    """
    return key.encode() in text or b"\\" in text
