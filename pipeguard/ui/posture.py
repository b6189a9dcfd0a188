"""Findings of `pipeguard assess` on this machine, by server, until the person asks again.

A separate process assesses: the rules take a second to load, or a minute to compile, and a process
can be ended if it takes too long.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from pipeguard.firewall.finding import Severity
from pipeguard.state.timestamps import now_text
from pipeguard.ui.page import PAGE, Request, Response, draw
from pipeguard.ui.scans import Scans, end_task, run_pipeguard

PATH = "/posture"
ASSESS = ("assess", "--format", "json", "--fail-on", "never")
LIMIT_SECONDS = 180.0  # for the whole look; compiling the rules takes most of it

# A client and a server of it, both empty for the machine; and what was found, the worst first, as
# `pipeguard assess --format json` has it.
_Group = tuple[tuple[str, str], list[dict[str, Any]]]


@dataclass(slots=True)
class Posture:
    """The last assessment of the machine.

    Attributes:
        began: when it began (ISO 8601, UTC); empty before the first one.
        ended: when the last one ended, in the same form; empty before that.
        grade: of the machine, as `pipeguard assess` writes it.
        groups: findings by server, the worst first.
        clean: servers without a finding.
        unasked: True if no server was asked for its tools.
        problem: why the assessment failed, or empty.
        task: the running assessment.
    """

    began: str = ""
    ended: str = ""
    grade: str = ""
    groups: list[_Group] = field(default_factory=list)
    clean: list[str] = field(default_factory=list)
    unasked: bool = False
    problem: str = ""
    task: asyncio.Task[None] | None = None

    def start(self, scans: Scans) -> None:
        """Start another assessment, unless one is running; open pages hear of its end."""
        if self.task is None:
            self.began = now_text()
            self.task = asyncio.create_task(self._look(scans))

    async def _look(self, scans: Scans) -> None:
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                self._read(*await run_pipeguard(*ASSESS))
        except TimeoutError:
            self.problem = f"It took longer than {LIMIT_SECONDS:.0f} s, and was ended."
        finally:
            self.ended, self.task = now_text(), None
            scans.version += 1

    def _read(self, output: bytes, errors: bytes) -> None:
        try:
            report = json.loads(output)
        except ValueError:
            self.problem = errors.decode("utf-8", "replace")
            return
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for finding in report["findings"]:
            groups.setdefault((finding["client"], finding["server"]), []).append(finding)
        self.groups = sorted(groups.items(), key=_rank)
        self.grade = f"Grade {report['grade']}, {report['score']} of 100"
        named = {server for _, server in groups}
        servers = report["servers"]
        self.clean = [each["name"] for each in servers if each["name"] not in named]
        self.unasked = bool(servers) and not any(each["asked"] for each in servers)
        self.problem = ""

    async def close(self, _app: web.Application) -> None:
        """End the assessment."""
        await end_task(self.task)


POSTURE = web.AppKey("posture", Posture)


async def _posture(request: Request) -> Response:
    posture = request.app[POSTURE]
    if not posture.began:
        posture.start(request.app[PAGE].scans)
    return await draw(request, "posture.html", "Posture", posture=posture)


async def _look(request: Request) -> Response:
    request.app[POSTURE].start(request.app[PAGE].scans)
    raise web.HTTPSeeOther(PATH)


def _rank(group: _Group) -> tuple[int, str, str]:
    """Rank a group: the one with the worst finding comes first."""
    (client, server), findings = group
    return -max(Severity[each["severity"].upper()] for each in findings), server, client


ROUTES = (web.get(PATH, _posture), web.post(f"{PATH}/look", _look))
