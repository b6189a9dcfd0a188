"""What a known server kept before it was isolated, which its kept home, empty at first, has not."""

# ruff: noqa: PTH118, PTH119, PTH120, PTH207, PTH204
# pathlib costs 5 ms, and a server is waiting
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeguard.isolation.sensitive import is_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeguard.isolation.shipped import ShippedProfile


def left_behind(
    shipped: ShippedProfile,
    variables: Mapping[str, str],
    home_folder: str,
    given: Sequence[str] = (),
) -> str:
    """What a person is told before the first isolated start; empty where nothing is left behind.

    Args:
        shipped: the server's profile.
        variables: of the server's entry, or of its environment.
        home_folder: of the user.
        given: paths that it may change.
    """
    if not shipped.keeps_home:
        return ""
    for name, _ in shipped.variables:
        if path := variables.get(name):
            folder = os.path.dirname(os.path.join(home_folder, path))
            if any(is_within(os.path.realpath(folder), each) for each in given):
                return ""
            return (
                f"Its {name} is {path}, which it does not see: it begins empty, and what it kept"
                f" there stays. To go on with that: --write {folder}"
            )
    said = "Its home begins empty: what it kept until now stays where it is"
    path = _newest(shipped.kept_before, home_folder)
    if not path:
        return f"{said}."
    name, folder = shipped.variables[0][0], os.path.join(home_folder, "kept")
    return (
        f"{said}, in {path}. To go on with that, copy it into a folder, as {folder}, give it that"
        f" folder, --write {folder}, and set {name}={os.path.join(folder, os.path.basename(path))}"
        " in its entry."
    )


def _newest(patterns: Sequence[str], home_folder: str) -> str:
    import glob

    found = []
    for pattern in patterns:
        for path in glob.glob(glob.escape(home_folder) + pattern.removeprefix("~")):
            try:
                found.append((os.path.getmtime(path), path))
            except OSError:
                continue  # it was removed meanwhile
    return max(found)[1] if found else ""
