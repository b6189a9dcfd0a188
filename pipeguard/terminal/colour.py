"""The user's choice to turn colours off; does not look at the terminal itself."""

from __future__ import annotations

import os

NO_COLOUR_VARIABLE = "NO_COLOR"  # https://no-color.org: set and not empty


def colour_is_unwanted() -> bool:
    """True if output must not have colours, even on a terminal."""
    return bool(os.environ.get(NO_COLOUR_VARIABLE))
