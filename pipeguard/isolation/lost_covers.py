"""Why a server was ended for what must stay covered in its sandbox (isolation.covers)."""

from __future__ import annotations

from pipeguard.launch.lifeline import LOST

UNCOVERED = 2
WHY_ENDED = {
    LOST: "PipeGuard's process that keeps covered what it must not read or change, and mounts the"
    " client's roots, was ended",
    UNCOVERED: "what it must not read or change was replaced, and could not be covered again",
}
