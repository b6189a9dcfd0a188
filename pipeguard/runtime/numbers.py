"""Values of command-line options: numbers, and the variables of a server."""

from __future__ import annotations

import os

from pipeguard.auth import resolve_arguments, resolve_variables
from pipeguard.errors import PolicyError
from pipeguard.launch.environment import (
    ALLOWED,
    Environment,
    child_environment,
    parent_environment,
)

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: the server is not running yet
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pipeguard.config.options import WrapOptions

MOST = 1e9  # about 32 years


def read_number(options: WrapOptions, name: str, default: float, most: float = MOST) -> float:
    """The number that an option gives, or its default.

    Args:
        options: of the command line.
        name: of the option, as `--grace`.
        default: used if the option is not given.
        most: the greatest number that is accepted.

    Raises:
        PolicyError: it is not a number from 0 to `most`.
    """
    text = options.values.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:  # also false for `nan`
        raise PolicyError(f"{name} {text}: give a number from 0 to {most:g}, such as {default:g}.")
    return value


def read_variables(
    options: WrapOptions, ours: Collection[str] = ()
) -> tuple[Mapping[str, str], Sequence[str]]:
    """The variables of the server, with its secrets, and unset variables that `--env` names.

    Args:
        options: of the command line.
        ours: names of variables that are only for PipeGuard.

    Raises:
        PipeGuardError: a secret does not exist.
    """
    environment = _choose_variables(options, ours)
    resolve_arguments(options.command)  # raises before anything is fetched or started
    return resolve_variables(environment.variables), environment.missing


def name_variables(options: WrapOptions) -> Iterator[str]:
    """Name the variables of a server: those of `--env`, and all but the usual ones."""
    yield from options.lists.get("--env", ())
    # Of the usual ones, as PATH, PipeGuard cannot tell which an entry sets: clients change them.
    yield from (name for name in _choose_variables(options).variables if name not in ALLOWED)


def _choose_variables(options: WrapOptions, ours: Collection[str] = ()) -> Environment:
    inherits = "--inherit-env" in options.flags
    return child_environment(
        {name: value for name, value in os.environ.items() if name not in ours},
        None if inherits else parent_environment(),
        extra=options.lists.get("--env", ()),
        inherit_all=inherits,
    )
