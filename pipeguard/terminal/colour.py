"""Whether people want colours where they read; knows no terminal."""

from __future__ import annotations

import os

NO_COLOUR_VARIABLE = "NO_COLOR"  # https://no-color.org: set and not empty


def colour_is_unwanted() -> bool:
    """True where nothing is to be shown in colours, also on a terminal."""
    return bool(os.environ.get(NO_COLOUR_VARIABLE))
