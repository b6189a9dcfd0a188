"""The rules' findings in pending definitions, and the separate process that looks for them.

Loading the rules takes 30 MB and a second, or a minute if they must be compiled. A page needs them
only for a new pending definition: another process scans it, and until then the page says that it
does not know yet.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.state.review import StoredDefinition

PIPEGUARD = (sys.executable, "-E", "-P", "-m", "pipeguard")
Key = tuple[str, str, str, str]  # server, kind, name, fingerprint
Finding = dict[str, str]


def make_key(definition: StoredDefinition) -> Key:
    """Make the key of one version of a definition."""
    pin = definition.pin
    return definition.server, pin.kind, pin.name, pin.held_fingerprint or ""


@dataclass(slots=True)
class Scans:
    """Findings in pending definitions.

    Attributes:
        version: counts up with each change, for open pages.
        found: findings by definition; None if it could not be scanned.
    """

    version: int = 0
    found: dict[Key, list[Finding] | None] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    def want(self, definitions: Iterable[StoredDefinition]) -> None:
        """Start a process that scans definitions, unless one runs or all findings are known."""
        wanted = {make_key(each) for each in definitions}
        self.found = {key: found for key, found in self.found.items() if key in wanted}
        if not wanted <= self.found.keys() and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._scan(wanted))

    async def _scan(self, wanted: set[Key]) -> None:
        shown, _ = await run_pipeguard("diff", "--json")
        self.found = {**dict.fromkeys(wanted), **_read(shown)}
        self.version += 1

    async def close(self, _app: object = None) -> None:
        """End the process that scans."""
        await end_task(self._task)


async def run_pipeguard(*words: str) -> tuple[bytes, bytes]:
    """Run a command of `pipeguard`, and return its output and errors; it ends with the task."""
    pipe, devnull = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *PIPEGUARD, *words, stdin=devnull, stdout=pipe, stderr=pipe
    )
    try:
        return await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def end_task(task: asyncio.Task[None] | None) -> None:
    """Cancel a task, and wait for its end."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _read(shown: bytes) -> dict[Key, list[Finding] | None]:
    """Parse the findings of `pipeguard diff`; empty if it failed."""
    try:
        listed = json.loads(shown)
    except ValueError:
        return {}
    return {
        (each["server"], each["kind"], each["name"], each["held_fingerprint"]): each["findings"]
        for each in listed
    }
