"""Every error that PipeGuard raises on purpose.

::

    Refusal                 a message that must not pass; only core raises and answers it
    PipeGuardError          something a person must mend; the command line shows it, exit_code
     ├─ PolicyError         a policy file that is wrong, at a line and a key
     ├─ RuleError           a rule that is wrong, in a pack
     ├─ EngineError         the scan engine is absent or failed: nothing can be judged
     ├─ InputError          a text that a command was given, and that is none
     ├─ LaunchError         a server that did not start
     ├─ StateError          the store cannot be read or written
     └─ AuthError           a login to a remote server failed
         └─ LoginNeededError    it waits for a person, who has a command for it
"""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  it is no error of ours: the message is at fault
    """A message that must not pass, and why, in words fit for its sender.

    Attributes:
        rule: the id of the protocol rule that was broken, as `protocol.duplicate-key`.
        why: one sentence without any of the message's own text.
        code: the JSON-RPC error code for the sender (core.protocol.codes).
        id_token: the raw JSON token of the message's id where it is known, else None.
    """

    def __init__(self, rule: str, why: str, code: int, id_token: str | None = None) -> None:
        super().__init__(why)
        self.rule = rule
        self.why = why
        self.code = code
        self.id_token = id_token


class PipeGuardError(Exception):
    """Something a person must mend. `str(error)` says what happened, to what, and what to do."""

    exit_code = 1


class PolicyError(PipeGuardError):
    """A policy file that is wrong; the message names file, line and key."""

    exit_code = 2


class RuleError(PipeGuardError):
    """A rule that is wrong; the message names the pack and the rule."""

    exit_code = 2


class EngineError(PipeGuardError):
    """The scan engine is absent or failed, so nothing could be judged."""

    exit_code = 3


class InputError(PipeGuardError):
    """What a command was given to read cannot be read, is no text, or is too much."""

    exit_code = 2


class LaunchError(PipeGuardError):
    """A server that did not start. The exit code is the shell's: 127 not found, 126 not run."""

    def __init__(self, message: str, exit_code: int = 126) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StateError(PipeGuardError):
    """The store of pins and audit cannot be read or written."""

    exit_code = 4


class AuthError(PipeGuardError):
    """A login to a remote server failed, or what it gave could not be renewed."""

    exit_code = 5


class LoginNeededError(AuthError):
    """A remote server asks for what only a person can give; the message names the command."""
