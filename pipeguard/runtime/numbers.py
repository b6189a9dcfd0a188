"""Numbers that options of the command line give: seconds and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeguard.errors import PolicyError

if TYPE_CHECKING:
    from pipeguard.config.options import WrapOptions

MOST = 1e9  # about 32 years


def read_number(options: WrapOptions, name: str, default: float, most: float = MOST) -> float:
    """The number that an option gives, or its default.

    Args:
        options: of the command line.
        name: of the option, as `--grace`.
        default: where the option is not given.
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
