"""The common part of all pages: visitors, the frame of a page, and the check of every request.

Each request opens the store for itself, in a thread.
"""

import asyncio
import gc
import re
import secrets
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeVar

from aiohttp import web
from markupsafe import Markup

from pipeguard.errors import PipeGuardError, StateError
from pipeguard.state.calls import HourCounts
from pipeguard.state.pins import Store
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import now_text
from pipeguard.ui.decisions import DoneDecision, NothingDoneError
from pipeguard.ui.door import MOST_WRONG, Door, Visitor
from pipeguard.ui.scans import Scans
from pipeguard.ui.text import render
from pipeguard.ui.tool_pins import ToolFinder

ENTER, STATIC = "/enter", "/static/"  # open without a cookie
UNDO_SECONDS = 60.0
MOST_UNDOS = 50
MOST_NAMED = 3  # of several answers, in the line of the terminal
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_TERMINAL = "No terminal shows numbers now. Run this in one, and answer again:  pipeguard ui"
_REMOVED = "PipeGuard was removed or replaced while it ran. End it with Ctrl-C in its terminal."
Request = web.Request
Response = web.StreamResponse
_Handler = Callable[[Request], Awaitable[Response]]
_T = TypeVar("_T")
_LINK = re.compile(r'\b(href|src|action|formaction)="/')


class OpeningAnswer(NamedTuple):
    """An answer that opens something, and therefore needs the number.

    Attributes:
        what: the answer, in every detail: the number confirms no other.
        sentence: the same for the terminal, as `approve (a tool changed, "weather")`.
        label: the button's label.
        heading: the heading of the question.
        opens: what the answer lets pass.
        spares: what stays blocked.
        back: the page for a person who cancels.
        content: all that it lets pass, uncut.
    """

    what: str
    sentence: str
    label: str
    heading: Markup = Markup("")
    opens: str | Markup = ""
    spares: str | Markup = ""
    back: str = "/"
    content: Markup = Markup("")


@dataclass(slots=True)
class Page:
    """The state that all requests share.

    Attributes:
        door: the visitors who are signed in.
        by: the person who decides, for the audit.
        base: the path prefix of the page: empty, or `/ui` on an address that serves more.
        root: the path prefix of all pages. It cannot be guessed, and the cookie is sent only
            there: to no other server of this machine, whose address differs only in its port.
        cookie: its name, which such a server cannot guess either, and so cannot replace.
        is_ending: True once open pages get no more updates.
        hosts: the accepted values of `Host`.
        menu: the name and the address of each page.
        scans: findings in pending definitions.
        taken: decisions that can be taken back, by random names.
        counts: of the last hour.
        finder: searches the approved tools.
        trying: held while a tool is tried.
    """

    store: Path
    door: Door
    by: str
    base: str = ""
    root: str = field(default_factory=lambda: f"/{secrets.token_urlsafe(16)}")
    cookie: str = field(default_factory=lambda: f"pipeguard-{secrets.token_urlsafe(16)}")
    is_ending: bool = False
    hosts: frozenset[str] = frozenset()
    menu: tuple[tuple[str, str], ...] = ()
    scans: Scans = field(default_factory=Scans)
    taken: OrderedDict[str, DoneDecision] = field(default_factory=OrderedDict)
    counts: HourCounts = field(default_factory=HourCounts)
    finder: ToolFinder = field(default_factory=ToolFinder)
    trying: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.root = self.base + self.root
        gc.freeze()  # what is loaded stays, and is not looked through after each page

    def finish(self, decision: DoneDecision, path: str = "/") -> web.HTTPSeeOther:
        """Keep a decision for a while; redirect to the page that confirms it."""
        done = decision._replace(moment=now_text(), until=monotonic() + UNDO_SECONDS)
        self.taken[secrets.token_urlsafe(8)] = done
        while len(self.taken) > MOST_UNDOS:
            self.taken.popitem(last=False)
        return web.HTTPSeeOther(f"{path}#done")

    def list_taken(self) -> list[tuple[str, DoneDecision]]:
        """Return the newest decision, and the one that can be undone next."""
        kept = [(name, each) for name, each in self.taken.items() if each.until > monotonic()][::-1]
        undone = next((i for i, (_, each) in enumerate(kept) if each.undo), 0)
        return [kept[i] for i in sorted({0, undone})] if kept else []


PAGE = web.AppKey("page", Page)
VISITOR = web.RequestKey("visitor", Visitor)


# --- the guard of every request -------------------------------------------------------------


@web.middleware
async def guard(request: Request, handler: _Handler) -> Response:
    """Refuse strangers, and give every answer its headers."""
    try:
        response = await _admit(request, handler)
    except web.HTTPException as error:
        response = problem(request, error.status, error.reason, "")
        if isinstance(error, web.HTTPMethodNotAllowed) and request.method == "GET":
            response = _leave_form(request)
        if "Location" in error.headers:
            response.headers["Location"] = request.app[PAGE].root + error.headers["Location"]
    except NothingDoneError as error:
        response = problem(request, 409, "Nothing was done", str(error))
    except StateError as error:
        response = problem(request, 503, "The store could not be read", str(error))
    except PipeGuardError as error:
        response = problem(request, 400, "That did not work", str(error))
    except ConnectionError:
        raise  # the browser went away
    except (ImportError, OSError) as error:  # without a template, which may be gone, too
        response = web.Response(status=503, text=f"The page does not work: {_explain(error)}\n")
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


def _leave_form(request: Request) -> web.Response:
    """Redirect to the first page; answer nothing to a script that redraws a page."""
    if "X-Refresh" in request.headers:
        return web.Response(status=204)
    return web.Response(status=303, headers={"Location": f"{request.app[PAGE].root}/"})


def _explain(error: ImportError | OSError) -> str:
    return str(error) if Path(__file__).exists() else _REMOVED


async def _admit(request: Request, handler: _Handler) -> Response:
    page = request.app[PAGE]
    if request.headers.get("Host", "") not in page.hosts:
        raise web.HTTPForbidden(reason="This address has another name")
    path = request.path.removeprefix(page.base)
    is_entrance = request.method == "GET" and path == ENTER
    site = request.headers.get("Sec-Fetch-Site", "none")  # Fetch Metadata; none: typed, or a link
    if site not in {"none", "same-origin"} and not is_entrance:
        raise web.HTTPForbidden(reason="Another web page asked for this")
    cookie = request.cookies.get(page.cookie, "")
    if cookie != "" and await asyncio.to_thread(is_foreign, request.transport):
        raise web.HTTPForbidden(reason="This page is another user's")
    visitor = page.door.find_visitor(cookie)
    is_outside = request.method == "GET" and (path in {"", "/"} or path.startswith(STATIC))
    if visitor is None and not is_entrance and not is_outside:
        raise web.HTTPUnauthorized(reason="Open the page by its link")
    if visitor is not None:
        request[VISITOR] = visitor
    if request.method == "POST":
        origin = request.headers.get("Origin", "")
        if origin not in {f"{request.scheme}://{host}" for host in page.hosts}:
            raise web.HTTPForbidden(reason="Another web page asked for this")
        form = await request.post()
        if visitor is None or not visitor.has_sent(str(form.get("token", ""))):
            raise web.HTTPForbidden(reason="This form is too old. Open the page again")
    return await handler(request)


@lru_cache(maxsize=32)  # the kernel is asked once for each connection; a browser opens six
def is_foreign(connection: asyncio.Transport | None) -> bool:
    """True if another user has the other end of a connection, or if nobody has it any more.

    Such a user may have read a link in a starting browser's arguments, or a cookie in its profile.
    """
    from pipeguard.auth.callback import is_own_peer

    if connection is None:
        return True
    peer, ours = (connection.get_extra_info(name)[:2] for name in ("peername", "sockname"))
    return is_own_peer(peer, ours) is False


def problem(request: Request, status: int, title: str, text: str) -> web.Response:
    """Return a page that describes an error."""
    values = {"status": status, "problem": title, "advice": text}
    back = request.match_info.get("card", "")
    html = _render(request, "problem.html", "PipeGuard", back=back, **values)
    return web.Response(text=html, status=status, content_type="text/html")


# --- pages ------------------------------------------------------------------------------------


def _render(request: Request, template: str, title: str, **values: object) -> str:
    """Fill a template, also with the values that every page has, and move its links to the root."""
    page = request.app[PAGE]
    visitor = request.get(VISITOR)
    root = page.root if visitor else page.base
    html = render(
        template,
        **values,
        title=title,
        menu=page.menu,
        path=request.path.removeprefix(root) or "/",
        token=visitor.form_token() if visitor else "",
        is_in=visitor is not None,
        is_unlocked=visitor is not None and page.door.is_unlocked(visitor),
        taken=page.list_taken() if visitor else [],
        now=now_text(),
        host=request.host,
    )
    return _LINK.sub(rf'\1="{root}/', html)  # in a foreign text, each quote is escaped


async def read_form(request: Request) -> defaultdict[str, str]:
    """Read the fields of a form; a missing one is empty."""
    form = await request.post()
    return defaultdict(str, {name: str(value) for name, value in form.items()})


async def ask_number(
    request: Request,
    answers: Sequence[OpeningAnswer],
    *,
    left: Sequence[Markup] = (),
    is_list: bool = False,
) -> Response | None:
    """Return the page that asks for the number of answers; None if the visitor needs no number.

    Args:
        request: the submitted form, which the page submits again.
        answers: the answers that open something.
        left: headings of selected cards that cannot be answered this way.
        is_list: whether to show the page once, even if it is unlocked.

    Raises:
        NothingDoneError: no terminal can show a number.
    """
    page, visitor, form = request.app[PAGE], request[VISITOR], await request.post()
    what = "\0\0".join(each.what for each in answers)
    is_open = page.door.is_unlocked(visitor)
    if is_open and (not is_list or "number" in form):
        return None
    if not is_open and page.door.accept(visitor, what, str(form.get("number", ""))):
        return None
    if visitor.wrong >= MOST_WRONG:
        raise web.HTTPUnauthorized(reason="Too many wrong numbers. Open the page by another link")
    is_asked = visitor.question is not None and visitor.question.what == what
    words = "; ".join(each.sentence for each in answers[:MOST_NAMED])
    if len(answers) > 1:
        words = f"allow {len(answers)} things of the page, among them {words}"
    if not is_open and not is_asked and not page.door.ask(visitor, what, words):
        raise NothingDoneError(NO_TERMINAL)
    return await draw(
        request,
        "number.html",
        "Look at all of it" if is_open else "Type the number",
        answers=answers,
        left=left,
        hidden=[(name, str(value)) for name, value in form.items()],
        is_wrong="number" in form and not is_open,
        is_open=is_open,
    )


async def with_store(request: Request, work: Callable[[Store], _T]) -> _T:
    """Work with the store, in a thread.

    Raises:
        StateError: the store cannot be read or written.
    """

    def run() -> _T:
        with open_store(request.app[PAGE].store) as store:
            return work(store)

    return await asyncio.to_thread(run)


async def draw(request: Request, template: str, title: str, **values: object) -> web.Response:
    """Answer with a page from its template, drawn in a thread."""
    html = await asyncio.to_thread(lambda: _render(request, template, title, **values))
    gc.collect()  # a template leaves cycles, which scatter over megabytes until they are found
    return web.Response(text=html, content_type="text/html")
