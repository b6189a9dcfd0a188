"""The gateway's tokens: who may use it, which part of it, and until when."""

from aiohttp import web

from pipeguard.state.tokens import find_last_uses, revoke_token, stored_tokens
from pipeguard.ui.decisions import DoneDecision
from pipeguard.ui.page import PAGE, Request, Response, draw, read_form, with_store
from pipeguard.ui.text import foreign, sentence

PATH = "/tokens"


async def _tokens(request: Request) -> Response:
    tokens, uses = [await with_store(request, read) for read in (stored_tokens, find_last_uses)]
    return await draw(request, "tokens.html", "Tokens", tokens=tokens, uses=uses)


async def _revoke(request: Request) -> Response:
    name = (await read_form(request))["name"]
    await with_store(request, lambda store: revoke_token(store, name, request.app[PAGE].by))
    done = sentence("You revoked the token {name}. It is no longer accepted.", name=foreign(name))
    raise request.app[PAGE].finish(DoneDecision(done), PATH)


ROUTES = (web.get(PATH, _tokens), web.post(f"{PATH}/revoke", _revoke))
