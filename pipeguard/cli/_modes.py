"""Options that have no effect in the mode that was asked for are errors: they promise something."""

from __future__ import annotations

import click
from click.core import ParameterSource


def must_have_effect(*names: str, need: str) -> None:
    """Refuse options that were given and would do nothing.

    Args:
        names: of the parameters, as the current command gets them.
        need: what they need or what speaks against them, in words.

    Raises:
        click.UsageError: one was given.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in names and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = max(parameter.opts, key=len)
            raise click.UsageError(f"{option} would have no effect: {need}. Leave it out.")
