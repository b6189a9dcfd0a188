"""One real stdio server, guarded end to end: started, judged, recorded, ended.

Puts the parts together and knows the order in which they live and die. Nothing here judges.
The server is started first of all, and everything else is loaded while it boots.
"""

from __future__ import annotations

import os
import sys

from pipeguard.errors import PipeGuardError
from pipeguard.launch.child import Command, start
from pipeguard.launch.environment import Environment, child_environment, parent_environment
from pipeguard.naming import server_name

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, whose import costs 6 ms
if TYPE_CHECKING:
    from pipeguard.options import WrapOptions

GRACE_SECONDS = 2.0  # after its stdin is closed, and again after SIGTERM
DYING_SECONDS = 5.0  # a server that ends within this of its start may lack a variable


def run(options: WrapOptions) -> int:
    """Guard one server until either side is gone.

    Returns:
        The server's exit code; 128 and the number where a signal ended it.

    Raises:
        PipeGuardError: it could not be guarded; what was asked meanwhile is answered.
    """
    environment = child_environment(
        os.environ,
        None if "--inherit-env" in options.flags else parent_environment(),
        extra=options.lists.get("--env", ()),
        inherit_all="--inherit-env" in options.flags,
    )
    command = Command(options.command, environment.variables, options.values.get("--cwd"))
    child = start(command)
    # From here on the server boots beside us.
    from pipeguard.guarded import Guarded, decline

    try:
        child.wait_started()
        name = options.values.get("--name") or server_name(options.command)
        guarded = Guarded(child, name, options)
    except PipeGuardError as error:
        decline(str(error))
        child.close()
        raise
    code = guarded.run()
    hint(environment, guarded.seconds, code)
    return code


def hint(environment: Environment, seconds: float, code: int) -> None:
    """A server that died young may have missed a variable: say which were withheld."""
    if code and seconds < DYING_SECONDS and environment.withheld:
        names = [n for n in environment.withheld if _is_telling(n)][:8]
        if names:
            sys.stderr.write(
                f"pipeguard: the server ended with {code}. These variables were not passed to it:"
                f" {', '.join(names)}. Pass one with --env NAME, all with --inherit-env.\n"
            )


def _is_telling(name: str) -> bool:
    return any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASS", "URL", "HOST", "USER"))
