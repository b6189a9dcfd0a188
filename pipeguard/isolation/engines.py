"""The engines that isolate servers, and which one a request means."""

import sys
from enum import StrEnum

from pipeguard.errors import LaunchError


class Isolation(StrEnum):
    """The values of `--isolate`: engines, and two words for none."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    CONTAINER = "container"
    NONE = "none"
    LEARN = "learn"  # as open as without an engine, and watched


def choose_engine(requested: str) -> str:
    """The engine to use.

    Args:
        requested: from `--isolate` or the policy.

    Raises:
        LaunchError: there is no such engine, or none is installed. Only `doctor` and `setup` try
            it: a server that cannot be isolated then does not start.
    """
    if requested not in tuple(Isolation) or requested == Isolation.LEARN:
        raise LaunchError(f"--isolate {requested}: choose from {', '.join(Isolation)}.", 2)
    if requested in (Isolation.CONTAINER, Isolation.NONE):
        return requested
    if sys.platform != "linux":
        raise LaunchError("servers can be isolated on Linux only, so far.", 126)
    from pipeguard.isolation.bubblewrap import describe_search, find, forbidding_setting

    is_here = find() is not None
    others = requested == Isolation.AUTO
    if is_here and not (others and forbidding_setting()):
        return Isolation.BUBBLEWRAP
    if others:
        from pipeguard.isolation.container_engines import find_podman

        if find_podman():
            return Isolation.CONTAINER
    if is_here:
        return Isolation.BUBBLEWRAP
    also = ", nor is podman" if others else ""
    raise LaunchError(
        f"bubblewrap is not installed here{also}, so the server was not started:"
        f" {describe_search()}. Install the package `bubblewrap` of your distribution.",
        126,
    )
