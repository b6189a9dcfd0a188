"""The page of the audit: its rows, their export, and the verification of its chains."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from pipeguard.state.audit import AuditRow, list_findings
from pipeguard.state.pins import Store
from pipeguard.state.row_filter import RowFilter
from pipeguard.state.search import export_lines, find_rows, stream_rows
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import now_text
from pipeguard.state.verification import Examination, examine
from pipeguard.ui.live import read_query
from pipeguard.ui.page import HEADERS, PAGE, Request, Response, draw, with_store

SHOWN = 100  # rows of one page
MOST_PROBLEMS = 50  # that are listed
CHUNK_CHARS = 64 * 1024  # of an export, handed on at once
_TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv"}


@dataclass(slots=True)
class ChainCheck:
    """The last verification of the audit since the process began.

    Attributes:
        moment: when it ended (ISO 8601, UTC); empty before the first one.
        task: the running verification.
    """

    moment: str = ""
    result: Examination | None = None
    task: asyncio.Task[Examination] | None = None


CHECK = web.AppKey("check", ChainCheck)


async def _audit(request: Request) -> Response:
    query, where, wrong, before = read_query(request)
    rows: list[tuple[AuditRow, list[dict[str, str]]]] = []
    older = 0
    if where is not None:
        found = await with_store(
            request, lambda store: find_rows(store, where, limit=SHOWN, before=before)
        )
        rows, older = [(row, list_findings(row.entry)) for _, row in found.rows], found.older
    values = {"query": query, "wrong": wrong, "before": before, "rows": rows, "older": older}
    return await draw(request, "audit.html", "Audit", check=request.app[CHECK], **values)


async def _show_check(request: Request) -> Response:
    return await draw(
        request, "check.html", "The chain", check=request.app[CHECK], most=MOST_PROBLEMS
    )


async def _check(request: Request) -> Response:
    """Verify the audit in a thread, once for all concurrent requests."""
    check = request.app[CHECK]
    if check.task is None:
        check.task = asyncio.create_task(asyncio.to_thread(examine, request.app[PAGE].store))
    task = check.task
    try:
        check.result, check.moment = await asyncio.shield(task), now_text()
    finally:
        if task.done() and check.task is task:
            check.task = None
    raise web.HTTPSeeOther("/audit/check")


async def _export(request: Request) -> Response:
    """Send all matching rows as a file; a slow reader delays the thread that reads them."""
    _, where, _, _ = read_query(request)
    form = request.query.get("form", "jsonl")
    if where is None or form not in _TYPES:
        raise web.HTTPBadRequest(reason="The filter or the form of the file is wrong")
    name = f"pipeguard-audit-{now_text()[:10]}.{form}"
    response = Response(
        headers={
            **HEADERS,
            "Content-Type": f"{_TYPES[form]}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}"',
        }
    )
    await response.prepare(request)
    loop, path = asyncio.get_running_loop(), request.app[PAGE].store

    def send() -> None:
        with open_store(path) as store:
            for chunk in _chunks(store, where, is_csv=form == "csv"):
                asyncio.run_coroutine_threadsafe(response.write(chunk), loop).result()

    await asyncio.to_thread(send)
    await response.write_eof()
    return response


def _chunks(store: Store, where: RowFilter, *, is_csv: bool) -> Iterator[bytes]:
    lines: list[str] = []
    chars = 0
    for line in export_lines(stream_rows(store, where), is_csv=is_csv):
        lines.append(f"{line}\n")
        chars += len(line)
        if chars >= CHUNK_CHARS:
            yield "".join(lines).encode()
            lines, chars = [], 0
    yield "".join(lines).encode()


ROUTES = (
    web.get("/audit", _audit),
    web.get("/audit/check", _show_check),
    web.post("/audit/check", _check),
    web.get("/audit/export", _export),
)
