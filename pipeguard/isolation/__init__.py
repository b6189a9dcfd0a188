"""Confines a server: it can read, write and reach only what is named; everything else is absent.

`profile` holds the grants, `runtimes` finds the files its program needs to run, `view` lists the
files that it then sees. An engine makes it so: `bubblewrap` with the kernel's namespaces and
`seccomp`. `servers` puts this together for one server. Other rooms import the names below, and no
module; each is loaded when it is first used, because a server is waiting.
"""

TYPE_CHECKING = False  # as typing.TYPE_CHECKING: a server is waiting
if TYPE_CHECKING:
    from pipeguard.isolation.egress.addresses import describe_excess
    from pipeguard.isolation.engines import Isolation, choose_engine
    from pipeguard.isolation.extent import ITS_PROGRAM, Extent
    from pipeguard.isolation.profile import short_path
    from pipeguard.isolation.servers.command import ServerCommand, holds_home
    from pipeguard.isolation.servers.engine_trial import (
        find_engine_problem,
        try_engines,
        try_landlock,
    )
    from pipeguard.isolation.servers.entry_check import (
        check_entry,
        check_policy,
        check_proxy,
        missing_paths,
    )
    from pipeguard.isolation.servers.extent_report import (
        extent_rows,
        list_given,
        row_lines,
        summarise,
        wrap_text,
    )
    from pipeguard.isolation.servers.inventory import Installed, Inventory, package_updater
    from pipeguard.isolation.servers.preview import ServerFacts, ServerPreview, preview_server
    from pipeguard.isolation.servers.starter import ServerStarter
    from pipeguard.isolation.walls.grants import (
        NothingThereError,
        WallGrant,
        find_wall_grant,
        list_grants,
        plan_grant,
    )

_NAMES = {
    "egress.addresses": "describe_excess",
    "engines": "Isolation choose_engine",
    "extent": "Extent ITS_PROGRAM",
    "profile": "short_path",
    "servers.command": "ServerCommand holds_home",
    "servers.engine_trial": "find_engine_problem try_engines try_landlock",
    "servers.entry_check": "check_entry check_policy check_proxy missing_paths",
    "servers.extent_report": "extent_rows list_given row_lines summarise wrap_text",
    "servers.inventory": "Installed Inventory package_updater",
    "servers.preview": "ServerFacts ServerPreview preview_server",
    "servers.starter": "ServerStarter",
    "walls.grants": "NothingThereError WallGrant find_wall_grant list_grants plan_grant",
}
__all__ = [
    "ITS_PROGRAM",
    "Extent",
    "Installed",
    "Inventory",
    "Isolation",
    "NothingThereError",
    "ServerCommand",
    "ServerFacts",
    "ServerPreview",
    "ServerStarter",
    "WallGrant",
    "check_entry",
    "check_policy",
    "check_proxy",
    "choose_engine",
    "describe_excess",
    "extent_rows",
    "find_engine_problem",
    "find_wall_grant",
    "holds_home",
    "list_given",
    "list_grants",
    "missing_paths",
    "package_updater",
    "plan_grant",
    "preview_server",
    "row_lines",
    "short_path",
    "summarise",
    "try_engines",
    "try_landlock",
    "wrap_text",
]


def __getattr__(name: str) -> object:
    """Load a name of the door (PEP 562)."""
    for module, names in _NAMES.items():
        if name in names.split():
            from importlib import import_module

            return getattr(import_module(f"pipeguard.isolation.{module}"), name)
    raise AttributeError(f"module 'pipeguard.isolation' has no attribute {name!r}")
