"""The files of an administrator: the machine's own policy, and whose bundles it follows.

Knows paths and owners, not contents.
"""

from __future__ import annotations

import os

from pipeguard.config.directories import Trusted, config_folder, read_own, system_folder
from pipeguard.config.user_policy import mentions, project_policy_path, user_policy_path
from pipeguard.errors import PolicyError
from pipeguard.records import NamedTuple

FOLLOW_FILE = "follow.yaml"
BUNDLES_FILE = "bundles.jws"
MAX_BUNDLE_BYTES = 4 * 2**20
MAX_BUNDLES_BYTES = 4 * MAX_BUNDLE_BYTES  # of the file: the newest, and those that changed keys


class Enrolment(NamedTuple):
    """The file that says whose bundles are in force here.

    Attributes:
        path: of the file.
        is_managed: True if it is an administrator's, and nobody else can leave.
    """

    path: str
    is_managed: bool

    @property
    def bundles_path(self) -> str:
        """The path of the accepted bundles, one a line, the newest last."""
        return self.beside(BUNDLES_FILE)

    def beside(self, name: str) -> str:
        """The path of a file in the same folder."""
        return os.path.join(os.path.dirname(self.path), name)

    def read(self, name: str) -> str:
        """Read a file in the same folder.

        Raises:
            PolicyError: it cannot be read, or somebody else could have written it.
        """
        owner = Trusted.ADMINISTRATOR if self.is_managed else Trusted.OWN_GROUP
        content = read_own(self.beside(name), MAX_BUNDLES_BYTES, PolicyError, trusted=owner)
        return content.decode("utf-8", "replace")


def machine_policy_path() -> str:
    """The path of the machine's own policy, an administrator's; it need not exist."""
    return os.path.join(system_folder(), "policy.yaml")


def find_machine_policy() -> str | None:
    """The path of the machine's own policy; None if it has none."""
    path = machine_policy_path()
    return path if is_there(path) else None


def find_enrolment() -> Enrolment | None:
    """The enrolment that applies here: the machine's, or else the user's own."""
    for folder, is_managed in ((system_folder(), True), (config_folder(), False)):
        path = os.path.join(folder, FOLLOW_FILE)
        if is_there(path):
            return Enrolment(path, is_managed)
    return None


def may_stop_servers(user_path: str | None) -> bool:
    """True if a policy may have `servers`, so that it must be read before one starts.

    An administrator's is read in any case: if it is wrong, nothing starts.

    Args:
        user_path: of the user's policy, or None for their own.
    """
    if find_enrolment() or find_machine_policy():
        return True
    paths = user_path or user_policy_path(), project_policy_path()
    return any(path and mentions(path, "servers") for path in paths)


def is_there(path: str) -> bool:
    """True if a file exists, or cannot be looked for: whoever reads it then says why."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
