"""The web application of the page: its routes, its static files, and news of changes."""

import asyncio
from contextlib import suppress
from importlib import resources

from aiohttp import web

from pipeguard.errors import StateError
from pipeguard.state.store import open_store
from pipeguard.ui import (
    audit_page,
    event,
    live,
    policy,
    posture,
    secrets_page,
    servers,
    tokens,
    tools,
    waiting,
)
from pipeguard.ui.page import (
    ENTER,
    HEADERS,
    PAGE,
    STATIC,
    Page,
    Request,
    Response,
    guard,
    is_foreign,
    problem,
)

MOST_FORM_BYTES = 64 * 1024
LOOK_SECONDS = 0.25  # between two looks at whether the store changed
QUIET_SECONDS = 15.0  # after which an open page hears that we are still here
TYPES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "doorstep.js": "text/javascript",
    "idiomorph.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
MENU = (
    *(("Waiting", "/"), ("Live", "/live"), ("Servers", "/servers"), ("Tools", "/tools")),
    *(("Policy", policy.PATH), ("Posture", posture.PATH), ("Secrets", secrets_page.PATH)),
    *(("Tokens", tokens.PATH), ("Audit", "/audit")),
)
PAGES = (
    *(waiting, live, event, servers, tools, policy),
    *(posture, secrets_page, tokens, audit_page),
)


def make_app(page: Page) -> web.Application:
    """Make the application for one page."""
    page.menu = MENU
    inside = web.Application()
    inside[audit_page.CHECK] = audit_page.ChainCheck()
    inside[posture.POSTURE] = assessment = posture.Posture()
    inside.router.add_get("/changes", _changes)
    for each in PAGES:
        inside.add_routes(each.ROUTES)
    inside.on_cleanup.extend((page.scans.close, assessment.close))
    app = web.Application(middlewares=[guard], client_max_size=MOST_FORM_BYTES)
    app.router.add_get(page.base or "/", _doorstep)
    if page.base:
        app.router.add_get(f"{page.base}/", _doorstep)
    app.router.add_get(page.base + ENTER, _enter)
    for each_app, base in ((app, page.base), (inside, "")):
        each_app[PAGE] = page
        each_app.router.add_get(base + STATIC + "{name}", _static)
    app.add_subapp(page.root, inside)
    return app


async def _enter(request: Request) -> Response:
    if await asyncio.to_thread(is_foreign, request.transport):
        return problem(request, 403, "This link is another user's", "")
    page = request.app[PAGE]
    cookie = page.door.enter(request.query.get("key", ""))
    if cookie is None:
        return problem(request, 403, "This link does not work", "used")
    path = f"{page.root}/"
    # Whoever had this port before may have left a script in the browser (Clear Site Data, 3.1).
    forget = {"Clear-Site-Data": '"cache", "storage"'}
    answer = web.Response(status=303, headers={"Location": path, **forget})
    answer.set_cookie(
        page.cookie, cookie, httponly=True, samesite="Strict", path=path, secure=request.secure
    )
    return answer


async def _doorstep(request: Request) -> Response:
    """The address without the root: a script sends a signed-in browser to its root."""
    return problem(request, 401, "Open the page by its link", "")


async def _changes(request: Request) -> Response:
    """Tell an open page that the store changed; the page then reloads itself."""
    response = Response(headers={**HEADERS, "Content-Type": "text/event-stream"})
    await response.prepare(request)
    page = request.app[PAGE]
    lost = (ConnectionError, StateError, asyncio.CancelledError)
    with suppress(*lost), open_store(page.store) as store:
        seen, quiet = (store.change_counter(), page.scans.version), 0.0
        while not page.is_ending and request.transport is not None:
            await asyncio.sleep(LOOK_SECONDS)
            now, quiet = (store.change_counter(), page.scans.version), quiet + LOOK_SECONDS
            if now != seen:
                seen, quiet = now, 0.0
                await response.write(b"data: changed\n\n")
            elif quiet >= QUIET_SECONDS:
                quiet = 0.0
                await response.write(b": still here\n\n")
    return response


async def _static(request: Request) -> Response:
    name = request.match_info["name"]
    if name not in TYPES:
        raise web.HTTPNotFound
    data = resources.files("pipeguard.ui").joinpath("static", name).read_bytes()
    response = web.Response(body=data, content_type=TYPES[name], charset="utf-8")
    response.enable_compression()
    return response
