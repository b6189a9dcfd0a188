"""`pipeguard auth` against a real authorization server and a real protected MCP server."""

import asyncio
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx2
import pytest

from pipeguard.auth.store import LoginStore, Secrets, StoredLogin
from pipeguard.auth.tokens import renew
from tests.auth.certificates import CertificateAuthority
from tests.auth.conftest import HERE, RESOURCE_SECRET, Site, Sites
from tests.auth.parties import Party, metadata, party, protected
from tests.forking import PIPEGUARD

pytestmark = pytest.mark.real
BAD_INPUT = 2
CLIENT_SECRET = RESOURCE_SECRET[::-1]


def read(place: Site, url: str) -> tuple[StoredLogin, Secrets]:
    found = LoginStore(place.state / "auth").read(url)
    assert found is not None
    return found


def kept(place: Site, url: str) -> Secrets:
    return read(place, url)[1]


def logins(place: Site) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(place.auth("status", "--json").stdout)
    return found


def call(url: str, tool: str, token: str) -> httpx2.Response:
    """Call a tool, as a client of 2025-11-25 without a session does."""
    params = {"name": tool, "arguments": {}}
    return httpx2.post(
        url,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params},
        headers={
            "Accept": "application/json, text/event-stream",
            "Authorization": f"Bearer {token}",
            "MCP-Protocol-Version": "2025-11-25",
        },
    )


def asked_for(place: Site) -> dict[str, str]:
    """Return the parameters of the last authorization request."""
    pages = place.browsed.read_text().splitlines()
    asked = [page for page in pages if "/auth?" in page or "/authorize?" in page]
    return dict(parse_qsl(urlsplit(asked[-1]).query))


def files(folder: Path) -> str:
    return "".join(path.read_text("latin-1") for path in folder.rglob("*") if path.is_file())


def test_a_login_is_kept_shown_and_given_back(site: Sites) -> None:
    place = site(format="opaque")
    url = place.server()
    done = place.login(url, "--name", "notes")
    assert f"Logged in to {url} as 'notes'" in done.stdout
    first, second, *_ = place.browsed.read_text().splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/login/[\w-]{20,}", first), "it tells nothing"
    assert "state=" in second
    assert second.startswith(place.issuer)
    request = asked_for(place)
    assert request["code_challenge_method"] == "S256"
    assert request["resource"] == url
    assert request["scope"] == "mcp:read offline_access"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/callback", request["redirect_uri"])

    (status,) = logins(place)
    expected: dict[str, object] = {"name": "notes", "issuer": place.issuer}
    expected |= {"registration": "dynamic", "store": "keyring", "scope": ["mcp:read"]}
    expected |= {"refreshes": True, "needs_login": False}
    assert status.items() >= expected.items()
    assert place.auth("status").stdout.startswith(f"notes  {url}  good until ")

    secrets = kept(place, url)
    assert len(secrets.all()) == 3
    assert call(url, "look", secrets.access_token).json()["result"]["content"][0]["text"] == "seen"

    done = place.auth("logout", "notes")
    assert done.returncode == 0, done.stderr
    assert logins(place) == []
    assert call(url, "look", secrets.access_token).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": secrets.refresh_token}
    refused = httpx2.post(f"{place.issuer}/token", data={**form, "client_id": "resource"})
    assert refused.status_code >= 400

    everything = "".join(place.said) + files(place.state)
    assert [secret for secret in secrets.all() if secret in everything] == []


def test_a_file_is_for_its_owner_alone_and_only_where_it_is_asked_for(site: Sites) -> None:
    place = site()
    url = place.server()
    place.environment["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    place.fails("login", url, says="--store file")
    assert not place.browsed.exists()

    done = place.login(url, "--store", "file")
    assert "a file of mode 0600" in done.stdout
    (file,) = (place.state / "auth").glob("*.json")
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    secrets = kept(place, url)
    assert secrets.access_token in file.read_text()
    assert [secret for secret in secrets.all() if secret in "".join(place.said)] == []
    place.login(url)  # the second time it is known where
    login, fresh = read(place, url)
    assert fresh.access_token != secrets.access_token
    assert login.metadata is not None
    login.metadata["revocation_endpoint"] = "http://127.0.0.1:1/"
    LoginStore(place.state / "auth").save(login, fresh)
    place.fails("logout", url, says="not revoked")
    assert logins(place) == [], "it is forgotten although nobody revokes"
    assert [secret for secret in fresh.all() if secret in "".join(place.said)] == []


def begin_login(place: Site, url: str) -> subprocess.Popen[str]:
    """Begin to log in without a browser."""
    return subprocess.Popen(
        [*PIPEGUARD, "auth", "login", url, "--no-browser", "--timeout", "60"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=place.environment, text=True,
    )  # fmt: skip


def test_the_address_can_be_pasted_where_there_is_no_browser(site: Sites) -> None:
    place = site()
    url = place.server()
    login = begin_login(place, url)
    assert login.stdin is not None
    assert login.stderr is not None
    said: list[str] = []

    def until(beginning: str) -> str:
        for line in login.stderr or ():
            said.append(line)
            if line.strip().startswith(beginning):
                return line.strip()
        raise AssertionError(said)

    page = until(place.issuer)
    browser = [sys.executable, "-I", str(HERE / "browser.py"), "--stop", str(place.browsed), page]
    ended_at = subprocess.run(browser, capture_output=True, text=True, check=True).stdout.strip()
    forged = parse_qs(urlsplit(ended_at).query) | {"state": ["another"]}
    until("If the last page")
    login.stdin.write(f"{ended_at.partition('?')[0]}?{urlencode(forged, doseq=True)}\n\n")
    login.stdin.flush()
    until("That URL does not answer")
    login.stdin.write(f"{ended_at}\n")
    login.stdin.flush()
    out, _ = login.communicate(timeout=60)
    assert login.returncode == 0, said
    assert f"Logged in to {url}" in out


@pytest.mark.often("client_secret_basic")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_client_shows_its_secret_as_the_server_wants(site: Sites, method: str) -> None:
    client = {
        "client_id": "by-hand",
        "client_secret": CLIENT_SECRET,
        "redirect_uris": ["http://127.0.0.1/callback"],
        "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": method,
    }
    place = site(
        clients=[client],
        registers=False,
        discovery={"token_endpoint_auth_methods_supported": [method]},
    )
    url = place.server()
    place.fails("login", url, says="--client-id")
    assert not place.browsed.exists()
    arguments = ("--client-id", "by-hand", "--client-secret-env", "SECRET")
    wrong, right = ({"SECRET": CLIENT_SECRET + more} for more in ("x", ""))
    place.fails("login", url, *arguments, environment=wrong, says="invalid_client")
    done = place.auth("login", url, *arguments, environment=right)
    assert done.returncode == 0, done.stderr
    assert logins(place)[0]["registration"] == "given"
    assert kept(place, url).client_secret == CLIENT_SECRET
    place.login(url)  # the client is remembered
    assert place.auth("logout", url).returncode == 0
    assert CLIENT_SECRET not in "".join(place.said) + files(place.state)


def test_a_port_that_is_taken_registers_anew_unless_it_is_fixed(site: Sites) -> None:
    place = site()
    url = place.server()
    place.login(url)
    first = asked_for(place)
    place.login(url)
    assert asked_for(place)["client_id"] == first["client_id"]
    assert asked_for(place)["redirect_uri"] == first["redirect_uri"]
    with party() as other:
        login, secrets = read(place, url)
        login.client["redirect_uris"] = [f"{other.origin}/callback"]  # its port is in use
        LoginStore(place.state / "auth").save(login, secrets)
        place.login(url)
        assert other.asked == []
        assert asked_for(place)["client_id"] != first["client_id"]
        taken = f"{other.origin}/callback"
        place.fails("login", url, "--redirect-uri", taken, says="cannot be used")
    place.login(url, "--redirect-uri", taken)
    assert asked_for(place)["redirect_uri"] == taken
    elsewhere = "https://example.com/callback"
    place.fails("login", url, "--redirect-uri", elsewhere, says="redirect URI", code=BAD_INPUT)


def test_a_person_can_say_no_or_nothing(site: Sites) -> None:
    place = site()
    url = place.server()
    browser = place.environment["BROWSER"].replace("browser.py", "browser.py --deny")
    place.fails("login", url, environment={"BROWSER": browser}, says="access_denied")
    place.fails("login", url, "--no-browser", "--timeout", "1", says="within 1 seconds")
    assert logins(place) == []


def test_a_token_for_another_audience_is_refused_and_not_kept(site: Sites) -> None:
    place = site(audience="https://other.example/mcp")
    url = place.server()
    place.fails("login", url, says="audience")
    assert logins(place) == []
    assert not list((place.state / "auth").glob("*.json"))


def test_metadata_of_another_resource_is_refused_before_the_browser_opens(site: Sites) -> None:
    place = site(is_alone=True)
    with party() as server:
        url = protected(server, "https://auth.example")
        for resource in ("https://other.example/mcp", f"{server.origin}/mcp2", f"{url}/deeper"):
            server.answers["GET /.well-known/oauth-protected-resource/mcp"] = (
                200, {}, {"resource": resource, "authorization_servers": ["https://auth.example"]},
            )  # fmt: skip
            place.fails("login", url, says="does not match")
    assert not place.browsed.exists()


def test_metadata_of_another_issuer_is_refused_before_the_browser_opens(site: Sites) -> None:
    place = site()
    alias = place.issuer.replace("127.0.0.1", "localhost")  # RFC 8414, 3.3: compared as it stands
    place.fails("login", place.server(named_issuer=alias), says="issuer mismatch")
    assert not place.browsed.exists()


def leads_to(attacker: Party, honest: Site, **more: object) -> None:
    """Let an attacker's metadata lead to an honest server."""
    pages = {f"{name}_endpoint": f"{honest.issuer}/{path}" for name, path in ENDPOINTS.items()}
    told = metadata(attacker.origin, **pages, **more)
    attacker.answers["GET /.well-known/oauth-authorization-server"] = (200, {}, told)


ENDPOINTS = {"authorization": "auth", "registration": "reg"}


def test_a_mixed_up_issuer_gets_no_code(site: Sites) -> None:
    """An attacker's metadata lead to an honest server, whose code it would get (RFC 9207, 1)."""
    honest = site()
    with party() as attacker, party() as victim:
        url = protected(victim, attacker.origin)
        leads_to(attacker, honest, authorization_response_iss_parameter_supported=True)
        for option, brought in (("", "code="), ("--deny", "error=")):  # it is mixed up as well
            browser = honest.environment["BROWSER"].replace("browser.py", f"browser.py {option}")
            honest.fails("login", url, says="iss mismatch", environment={"BROWSER": browser})
            assert brought in honest.browsed.read_text().splitlines()[-1]
        assert [name for name, _ in attacker.asked if name.startswith("POST")] == []


def test_a_server_without_s256_is_not_used(site: Sites) -> None:
    place = site(is_alone=True)
    with party() as weak:
        for methods in (["plain"], None):
            url = protected(weak, weak.origin, code_challenge_methods_supported=methods)
            place.fails("login", url, says="S256")
    assert not place.browsed.exists()


def test_an_endpoint_in_clear_or_with_a_password_is_not_opened(site: Sites) -> None:
    place = site(is_alone=True)
    with party() as odd:
        for endpoint in ("http://10.0.0.1/auth", "https://u:p@example.com/auth"):
            url = protected(odd, odd.origin, authorization_endpoint=endpoint)
            place.fails("login", url, says="not allowed")
    assert not place.browsed.exists()


def test_no_redirect_to_another_origin_is_followed(site: Sites) -> None:
    place = site(is_alone=True)
    with party() as server, party() as other:
        url = protected(server, server.origin)
        server.answers["POST /reg"] = (307, {"Location": f"{other.origin}/reg"}, {})
        place.fails("login", url, says="not followed")
        assert other.asked == []


def test_what_a_peer_says_cannot_move_the_cursor_nor_show_a_secret(site: Sites) -> None:
    place = site(is_alone=True)
    with party() as server:
        url = protected(server, server.origin)
        for status, content in (
            (400, {"error": "\x1b[2J" + "x" * 5000}),
            (201, b"\xff\x1b[2J"),
            (201, b"[" * 100_000),
            (500, b""),
            (201, b"x" * (2**20 + 1)),
        ):
            server.answers["POST /reg"] = (status, {}, content)
            said = place.fails("login", url, says="127.0.0.1")
            assert "\x1b" not in said
            assert "Traceback" not in said
            assert len(said) < 700


def test_a_server_that_wants_nothing_is_told_as_such(site: Sites) -> None:
    place = site(is_alone=True)
    with party() as server:
        place.fails("login", f"{server.origin}/mcp", says="needs no login")
        server.answers["POST /mcp"] = (401, {"WWW-Authenticate": 'Basic realm="x"'}, {})
        place.fails("login", f"{server.origin}/mcp", says="asks for basic")
    place.fails("login", f"{server.origin}/mcp", says="cannot be reached")


def test_a_server_may_let_a_first_request_pass(site: Sites) -> None:
    """It requires the login for other requests, and its metadata say where."""
    place = site()
    with party() as server:
        url = protected(server, place.issuer)
        server.answers["POST /mcp"] = (200, {}, {"jsonrpc": "2.0", "id": 1, "result": {}})
        place.login(url, "--scope", "mcp:write")
        assert asked_for(place)["scope"].split()[0] == "mcp:write"
        assert server.authorizations[0] is None
        assert server.authorizations[-1] == f"Bearer {kept(place, url).access_token}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("login", "notes"), "neither a URL nor the name"),
        (("login", "https://user:pass@mcp.example.com/"), "must not contain a user name"),
        (("login", "https://mcp.example.com/", "--client-secret-env", "X"), "--client-id"),
        (("logout", "https://mcp.example.com/mcp"), "you are not logged in"),
    ],
)
def test_a_wrong_word_is_told(site: Sites, arguments: tuple[str, ...], told: str) -> None:
    place = site(is_alone=True)
    assert "user:pass" not in place.fails(*arguments, says=told, code=BAD_INPUT)


def test_a_client_id_document_needs_no_registration(site: Sites, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    with party(authority.context()) as documents:
        document = f"{documents.origin}/client.json"
        documents.answers["GET /client.json"] = (
            200,
            {},
            {
                "client_id": document,
                "client_name": "PipeGuard",
                "application_type": "native",
                "redirect_uris": ["http://127.0.0.1/callback"],
                "grant_types": ["authorization_code", "refresh_token"],
                "token_endpoint_auth_method": "none",
            },
        )
        os.environ["NODE_EXTRA_CA_CERTS"] = str(authority.file)
        try:
            place = site(documents=True, registers=False)
        finally:
            del os.environ["NODE_EXTRA_CA_CERTS"]
        url = place.server()
        place.login(url, "--client-metadata-url", document)
        assert asked_for(place)["client_id"] == document
        assert documents.asked == [("GET /client.json", "")]
    (status,) = logins(place)
    assert status["registration"] == "document"
    assert kept(place, url).client_secret == ""
    assert place.auth("logout", url).returncode == 0
    elsewhere = "http://127.0.0.1:1/client.json"
    place.fails("login", url, "--client-metadata-url", elsewhere, says="https URL with a path")


def test_a_server_of_another_authority_is_trusted_if_named(site: Sites, tmp_path: Path) -> None:
    place = site()
    authority = CertificateAuthority(tmp_path)
    with party(authority.context()) as server:
        url = protected(server, place.issuer)
        said = place.fails("login", url, says="CERTIFICATE_VERIFY_FAILED")
        assert said.rstrip().endswith("; see --ca")
        server.answers["POST /mcp"] = (401, {"WWW-Authenticate": "Bearer"}, {})
        # It always asks: trusted it is.
        place.fails("login", url, "--ca", str(authority.file), says="refuses the token")
        none = str(tmp_path / "none.pem")
        place.fails("login", url, "--ca", none, says="not a file of certificates")


def test_a_server_of_2025_03_26_is_its_own_authorization_server(site: Sites) -> None:
    """R2 basic/authorization, "Fallbacks for Servers without Metadata Discovery"."""
    place = site(alone=True, format="opaque")
    url = f"{place.issuer}/mcp"
    place.fails("login", url, says=f"pipeguard auth login {url} --legacy\n")
    assert not place.browsed.exists()
    place.login(url, "--scope", "mcp:read offline_access", "--legacy")
    request = asked_for(place)
    assert request["resource"] == url
    assert request["code_challenge_method"] == "S256"
    before = kept(place, url)
    found = LoginStore(place.state / "auth").read(url)
    assert found is not None
    assert found[0].metadata is None
    _, fresh = asyncio.run(renew(*found))
    assert fresh.access_token != before.access_token
    again = httpx2.post(url, headers={"Authorization": f"Bearer {fresh.access_token}"})
    assert again.status_code == 202
    done = place.auth("logout", url)
    assert done.returncode == 0
    assert "does not revoke tokens" in done.stderr
