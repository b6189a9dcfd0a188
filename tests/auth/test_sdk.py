"""Our additions to the SDK's flow."""

import asyncio
from datetime import UTC, datetime

import httpx2
import pytest
from mcp.shared.auth import OAuthMetadata, OAuthToken

from pipeguard.auth import sdk
from pipeguard.auth.wire import mask, refusal
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
    flow = sdk.provider(SERVER, "http://127.0.0.1:1/callback", sdk.FlowStorage(None))
    flow.context.oauth_metadata = OAuthMetadata.model_validate(
        metadata("https://auth.example.com", authorization_endpoint=endpoint)
    )
    assert sdk.browser_url(flow, f"{endpoint}?a=b") == url


@pytest.mark.parametrize("document", ["http://example.com/c", "https://example.com/", "c"])
def test_a_document_has_an_https_url_with_a_path(document: str) -> None:
    with pytest.raises(AuthError):
        sdk.provider(
            SERVER, "http://127.0.0.1:1/callback", sdk.FlowStorage(None), document=document
        )


def test_a_peer_s_words_are_masked_cut_and_shown_as_they_are() -> None:
    request = httpx2.Request("POST", "https://auth.example.com/token")
    told = {"error": "invalid_grant", "error_description": "no s3cr3t\u202e" + "x" * 1000}
    code, words = refusal(httpx2.Response(400, json=told, request=request), ["s3cr3t", ""])
    assert code == "invalid_grant"
    assert words.startswith("auth.example.com answers 400: invalid_grant no ****⟨U+202E⟩xx")
    assert len(words) < 300
    assert mask("nothing", [""]) == "nothing"
    for content in (b"", b"\xff", b"[]", b"{"):
        answer = httpx2.Response(500, content=content, request=request)
        assert refusal(answer, []) == ("", "auth.example.com answers 500")


@pytest.mark.parametrize("token", ["a\nb", "a b", "é", "", "a\0b", "\u2028"])
def test_a_token_that_no_header_can_hold_is_refused_before_it_is_used(token: str) -> None:
    kept = sdk.FlowStorage(None)
    with pytest.raises(AuthError, match="token"):
        asyncio.run(kept.set_tokens(OAuthToken(access_token=token)))
    assert kept.tokens is None
    if token:
        with pytest.raises(AuthError):
            asyncio.run(kept.set_tokens(OAuthToken(access_token="a", refresh_token=token)))
    asyncio.run(kept.set_tokens(OAuthToken(access_token="a.b-c_d~e+f/g=", refresh_token="r|s")))
    assert kept.tokens is not None


@pytest.mark.parametrize("seconds", [10**20, 10**300, -5, 0, 3600])
def test_a_life_of_any_length_can_be_shown(seconds: int) -> None:
    end = sdk.find_expiry(OAuthToken(access_token="a", expires_in=seconds))
    assert end is not None
    assert datetime.fromtimestamp(end, UTC).year < 2100


@pytest.mark.parametrize("member", ["authorization_endpoint", "token_endpoint"])
def test_an_endpoint_has_no_fragment(member: str) -> None:
    flow = sdk.provider(SERVER, "http://127.0.0.1:1/callback", sdk.FlowStorage(None))
    honest = metadata("https://auth.example.com")
    odd = OAuthMetadata.model_validate(honest | {member: "https://auth.example.com/a#b"})
    flow.context.oauth_metadata = odd
    with pytest.raises(AuthError, match="fragment"):
        sdk.must_be_fit(flow)
    flow.context.oauth_metadata = OAuthMetadata.model_validate(honest)
    sdk.must_be_fit(flow)


@pytest.mark.parametrize(
    ("login", "tokens", "token_host", "is_one"),
    [
        ("https://a.example/auth", "https://a.example/token", "", True),
        ("https://a.example/auth", "https://b.example/token", "", False),
        ("https://a.example/auth", "https://b.example/token", "b.example", True),
        ("https://a.example/auth", "https://a.example:444/token", "", False),
        (
            "https://accounts.google.com/o/oauth2/v2/auth",
            "https://oauth2.googleapis.com/token",
            "",
            True,
        ),
        ("https://evil.example/auth", "https://oauth2.googleapis.com/token", "", False),
    ],
)
def test_a_login_page_and_a_token_endpoint_are_of_one_party(
    login: str, tokens: str, token_host: str, is_one: bool
) -> None:
    flow = sdk.provider(SERVER, "http://127.0.0.1:1/callback", sdk.FlowStorage(None))
    told = metadata("https://x.example", authorization_endpoint=login, token_endpoint=tokens)
    flow.context.oauth_metadata = OAuthMetadata.model_validate(told)
    if is_one:
        sdk.must_be_fit(flow, token_host=token_host)
    else:
        with pytest.raises(AuthError, match="one party"):
            sdk.must_be_fit(flow, token_host=token_host)
    promised = told | {"authorization_response_iss_parameter_supported": True}
    flow.context.oauth_metadata = OAuthMetadata.model_validate(promised)
    sdk.must_be_fit(flow)  # then the answer tells whose it is
