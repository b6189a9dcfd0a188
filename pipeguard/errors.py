"""Every error that PipeGuard raises on purpose.

::

    Refusal                 a message that must not pass; only core raises and answers it
    PipeGuardError          something a person must fix; the command line shows it, exit_code
     ├─ PolicyError         a policy file is invalid, at a line and a key
     ├─ RuleError           a rule in a pack is invalid
     ├─ EngineError         the scan engine is missing or failed: nothing can be judged
     ├─ InputError          a command's input cannot be read
     ├─ LaunchError         a server did not start
     ├─ StateError          the store cannot be read or written
     └─ AuthError           a login to a remote server failed
         └─ LoginNeededError    a person has to log in; the message names the command
"""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  not an error of ours: the message is at fault
    """A message that must not pass, with a reason that its sender may read.

    Attributes:
        rule: the id of the protocol rule that was broken, as `protocol.duplicate-key`.
        why: one sentence that quotes nothing from the message.
        code: the JSON-RPC error code for the sender (firewall.protocol.codes).
        id_token: the message's id as a raw JSON token, or None if unknown.
    """

    def __init__(self, rule: str, why: str, code: int, id_token: str | None = None) -> None:
        super().__init__(why)
        self.rule = rule
        self.why = why
        self.code = code
        self.id_token = id_token


class PipeGuardError(Exception):
    """Something a person must fix. `str(error)` says what happened, to what, and what to do.

    Attributes:
        detail: details for the user only; agents may read the rest.
    """

    exit_code = 1
    detail = ""

    def for_user(self) -> str:
        """The whole message, in one line."""
        return f"{self} {self.detail}" if self.detail else str(self)


class PolicyError(PipeGuardError):
    """A policy file is invalid; the message names file, line and key."""

    exit_code = 2


class RuleError(PipeGuardError):
    """A rule is invalid; the message names the pack, the line and the rule.

    Args:
        what: the message.
        keys: the path to the error in the pack's document.
    """

    exit_code = 2

    def __init__(self, what: str, *keys: str | int) -> None:
        super().__init__(what)
        self.keys = keys


class EngineError(PipeGuardError):
    """The scan engine is missing or failed, so nothing can be judged."""

    exit_code = 3


class InputError(PipeGuardError):
    """A command's input cannot be read, is not text, or is too large."""

    exit_code = 2


class LaunchError(PipeGuardError):
    """A server did not start. Exit codes as a shell's: 127 not found, 126 not executable.

    Args:
        message: for the user of the server, which may be an agent.
        exit_code: the exit code of the command.
        detail: details for the machine's user only.
    """

    def __init__(self, message: str, exit_code: int = 126, detail: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.detail = detail


class StateError(PipeGuardError):
    """The store of pins and audit cannot be read or written."""

    exit_code = 4


class AuthError(PipeGuardError):
    """A login to a remote server failed, or its token could not be renewed."""

    exit_code = 5


class LoginNeededError(AuthError):
    """A remote server needs a login that only a person can do; the message names the command."""
