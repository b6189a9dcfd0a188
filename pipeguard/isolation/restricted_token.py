"""What Windows can hold a server to: a restricted token and a job object, written out as data.

Tested as text; no engine uses it yet, since it was not run on Windows. A token that is restricted
to the groups below reads what everybody may read and writes nowhere but in folders whose access
list names the sandbox; it cannot be given one folder to read and not another without changing that
folder's access list, and nothing keeps it from the network but a rule of the Windows firewall,
which needs an administrator. So of what bubblewrap holds, limits and processes hold here, files in
part, and the network does not.

Sources: learn.microsoft.com, CreateRestrictedToken, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
JOBOBJECT_BASIC_UI_RESTRICTIONS, mandatory integrity control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipeguard.isolation.profile import ResourceLimits

# winnt.h
DISABLE_MAX_PRIVILEGE, LUA_TOKEN = 0x1, 0x4
KILL_ON_JOB_CLOSE, DIE_ON_UNHANDLED_EXCEPTION = 0x2000, 0x400
ACTIVE_PROCESS, PROCESS_MEMORY, JOB_TIME = 0x8, 0x100, 0x4
UI_ALL = 0xFF  # handles, clipboard, system parameters, display settings, atoms, desktop, exit
LOW_INTEGRITY = "S-1-16-4096"
RESTRICTING = ("S-1-1-0", "S-1-5-12", "S-1-5-32-545")  # everyone, restricted code, users
HUNDRED_NANOSECONDS = 10_000_000  # in a second


class RestrictedLaunch(NamedTuple):
    """How a server would be started.

    Attributes:
        token_flags: of CreateRestrictedToken.
        restricting_sids: groups that an access needs besides the user's own rights.
        integrity_sid: the level below which nothing that the user owns can be written.
        limit_flags: of the job's basic limits.
        active_processes: of the job at once; 0 without a limit.
        process_memory: bytes of one process; 0 without a limit.
        job_time: in units of 100 ns; 0 without a limit.
        ui_restrictions: of the job.
    """

    token_flags: int
    restricting_sids: tuple[str, ...]
    integrity_sid: str
    limit_flags: int
    active_processes: int
    process_memory: int
    job_time: int
    ui_restrictions: int


def restricted_launch(limits: ResourceLimits) -> RestrictedLaunch:
    """The token and the job for these limits."""
    flags = KILL_ON_JOB_CLOSE | DIE_ON_UNHANDLED_EXCEPTION
    flags |= ACTIVE_PROCESS if limits.processes is not None else 0
    flags |= PROCESS_MEMORY if limits.memory is not None else 0
    flags |= JOB_TIME if limits.cpu is not None else 0
    return RestrictedLaunch(
        DISABLE_MAX_PRIVILEGE | LUA_TOKEN,
        RESTRICTING,
        LOW_INTEGRITY,
        flags,
        limits.processes or 0,
        limits.memory or 0,
        (limits.cpu or 0) * HUNDRED_NANOSECONDS,
        UI_ALL,
    )
