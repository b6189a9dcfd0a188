"""The gateway's tokens: who may use it, what of it, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from pipeguard.state.timestamps import now_text
from pipeguard.state.tokens import find_last_uses, revoke_token, stored_tokens
from pipeguard.ui.decisions import DoneDecision
from pipeguard.ui.page import PAGE, draw, with_store
from pipeguard.ui.text import foreign, sentence

if TYPE_CHECKING:
    from pipeguard.state.store import Store
    from pipeguard.state.tokens import StoredToken

PATH = "/tokens"


class TokenRow(NamedTuple):
    """A token as the page shows it.

    Attributes:
        token: the token, without its secret.
        is_expired: True if it has ended.
        last_use: of it, as far as the audit tells (ISO 8601, UTC); empty for none.
    """

    token: StoredToken
    is_expired: bool
    last_use: str


def add_routes(app: web.Application) -> None:
    """Add the addresses of this page."""
    app.router.add_get(PATH, _tokens)
    app.router.add_post(f"{PATH}/revoke", _revoke)


async def _tokens(request: web.Request) -> web.StreamResponse:
    return await draw(request, "tokens.html", "Tokens", tokens=await with_store(request, _find))


def _find(store: Store) -> list[TokenRow]:
    now, uses = now_text(), find_last_uses(store)
    return [
        TokenRow(token, token.is_expired(now), uses.get(token.name, ""))
        for token in stored_tokens(store)
    ]


async def _revoke(request: web.Request) -> web.StreamResponse:
    name = str((await request.post()).get("name", ""))
    by = request.app[PAGE].by
    await with_store(request, lambda store: revoke_token(store, name, by))
    done = sentence("You revoked the token {name}. Nobody gets in with it.", name=foreign(name))
    raise request.app[PAGE].finish(DoneDecision(done), PATH)
