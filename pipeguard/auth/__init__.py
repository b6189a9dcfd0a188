"""Logins to remote servers (OAuth 2.1, MCP basic/authorization), and secrets in the keyring.

Judges no frame. Begin with `login`, then `tokens` and `bearer`, which renews a login's tokens;
`sdk` drives the official SDK's flow, and `secrets` has the secrets that users name themselves. The
functions here load it only for a text that may refer to one: a server is waiting.
"""

from __future__ import annotations

from pipeguard.launch.environment import refers

TYPE_CHECKING = False  # as typing.TYPE_CHECKING
if TYPE_CHECKING:
    from collections.abc import Mapping


def resolve_variables(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Variables, with secrets replacing the references to them.

    Raises:
        InputError: a secret is missing, or a name is invalid.
        AuthError: the keyring did not answer.
    """
    if not refers(variables.values()):
        return variables
    from pipeguard.auth.secrets import resolve

    return {name: resolve(value, f"the variable {name}") for name, value in variables.items()}


def resolve_arguments(command: tuple[str, ...]) -> tuple[str, ...]:
    """A server's command, with secrets replacing the references in its arguments.

    Every user can read the command line of a process: only the server's own may have this.

    Raises:
        InputError: a secret is missing, a name is invalid, or a program's name, a script or code
            has a reference: a value could change what runs.
        AuthError: the keyring did not answer.
    """
    if not refers(command):
        return command
    from pipeguard.auth.secrets import find_references, resolve_argument
    from pipeguard.errors import InputError
    from pipeguard.identity.launch import parse

    for name in find_references(parse(command).word, is_argument=True):
        raise InputError(
            f"keyring:{name} is in a program's name, a script or code, where PipeGuard puts no"
            " secret. Pass it in a variable."
        )
    return tuple(resolve_argument(word, "an argument of the server") for word in command)
