"""What is added to the SDK's flow."""

from __future__ import annotations

import httpx2
import pytest
from mcp.shared.auth import OAuthMetadata

from pipeguard.auth import sdk
from pipeguard.auth.wire import masked, refusal
from pipeguard.errors import AuthError
from tests.auth.parties import metadata

SERVER = "https://mcp.example.com/mcp"


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("https://auth.example.com/auth", "https://auth.example.com/auth?a=b"),
        ("https://auth.example.com/auth?p=1", "https://auth.example.com/auth?p=1&a=b"),
    ],
)
def test_an_endpoint_may_have_a_query_of_its_own(endpoint: str, url: str) -> None:
    flow = sdk.provider(SERVER, "http://127.0.0.1:1/callback", sdk.Kept(None))
    flow.context.oauth_metadata = OAuthMetadata.model_validate(
        metadata("https://auth.example.com", authorization_endpoint=endpoint)
    )
    assert sdk.browser_url(flow, f"{endpoint}?a=b") == url


@pytest.mark.parametrize("document", ["http://example.com/c", "https://example.com/", "c"])
def test_a_document_has_an_https_url_with_a_path(document: str) -> None:
    with pytest.raises(AuthError):
        sdk.provider(SERVER, "http://127.0.0.1:1/callback", sdk.Kept(None), document=document)


def test_a_peer_s_words_are_masked_cut_and_shown_as_they_are() -> None:
    request = httpx2.Request("POST", "https://auth.example.com/token")
    told = {"error": "invalid_grant", "error_description": "no s3cr3t\u202e" + "x" * 1000}
    code, words = refusal(httpx2.Response(400, json=told, request=request), ["s3cr3t", ""])
    assert code == "invalid_grant"
    assert words.startswith("auth.example.com answers 400: invalid_grant no ****⟨U+202E⟩xx")
    assert len(words) < 300
    assert masked("nothing", [""]) == "nothing"
    for content in (b"", b"\xff", b"[]", b"{"):
        answer = httpx2.Response(500, content=content, request=request)
        assert refusal(answer, []) == ("", "auth.example.com answers 500")
