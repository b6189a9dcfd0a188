"""From options to addresses: accepted and refused ones, and no message has a secret."""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pipeguard import secrets_in_use
from pipeguard.config.options import WrapOptions
from pipeguard.detect.flows.known_secrets import MASK, KnownSecrets
from pipeguard.errors import InputError, PolicyError
from pipeguard.runtime.endpoints import (
    identify_upstream,
    read_admission,
    read_remote,
    read_transport,
    read_url,
    server_context,
)
from pipeguard.runtime.http import say_listening
from pipeguard.transports.http.server.callers import Tokens
from tests.auth.certificates import CertificateAuthority
from tests.fuzz.budget import tried

SECRET = "made-up-" + "for-this-test"
ENVIRONMENT = {"TOKEN": f" {SECRET} ", "OTHER": "another", "EMPTY": " ", "ODD": f"{SECRET}\r\nX: y"}
URL_TEXT = "https://mcp.example.com/mcp"
LIMIT = 1000


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that options name."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def options(*flags: str, **given: str | list[str]) -> WrapOptions:
    """Make options by their names, as `header_env=["A=B"]`; repeatable ones are lists."""
    named = {"--" + name.replace("_", "-"): value for name, value in given.items()}
    values = {name: value for name, value in named.items() if isinstance(value, str)}
    lists = {name: value for name, value in named.items() if isinstance(value, list)}
    return WrapOptions([], values, lists, flags)


def remote_headers(*flags: str, **given: str | list[str]) -> dict[str, str]:
    told = options(*flags, upstream=URL_TEXT, **given)
    return dict(read_remote(told, LIMIT).headers)


def refusal(*flags: str, **given: str | list[str]) -> str:
    """Return the message about wrong options, which never has a secret."""
    told = options(*flags, **{"upstream": URL_TEXT, **given})
    read: Callable[..., object] = read_admission if "listen" in given else read_remote
    with pytest.raises(PolicyError) as caught:
        read(told, LIMIT)
    said = str(caught.value)
    assert SECRET not in said
    assert caught.value.exit_code == 2
    return said


# --- the server's address ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["http://a", "https://a:8443/mcp?x=y", "ws://[::1]:9/ws", "wss://a.example/", "HTTP://A/"],
)
def test_an_address_is_taken(text: str) -> None:
    assert read_url(f"{text}#{SECRET}") == URL(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "a.example/mcp", "//a/mcp", "ftp://a", "file:///etc/passwd", "javascript:x"),
        *("http://", "http:///mcp", "http://[::1", "http://a:99999/", "http://a:x/", "https:a"),
        *("http://a b/", "http://a\n/", " http://a/", "http://»․"),
    ],
)
def test_what_is_no_address_is_told_so(text: str) -> None:
    assert refusal(upstream=text).startswith("--upstream: ")


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    for text in (f"https://u:{SECRET}@a/", f"https://{SECRET}@a/"):
        assert "--bearer-env or --header-env" in refusal(upstream=text)


@tried(100)
@given(st.text(max_size=30) | st.from_regex(r"(https?|wss?)://[^\s]{0,20}", fullmatch=True))
def test_no_address_breaks_the_reader(text: str) -> None:
    try:
        url = read_url(text)
    except PolicyError:
        return
    assert identify_upstream(text).name
    assert url.host


@pytest.mark.parametrize(
    ("url", "given", "transport"),
    [
        ("https://a", None, "auto"),
        ("https://a", "streamable-http", "streamable-http"),
        ("wss://a", None, "websocket"),
        ("ws://a", "websocket", "websocket"),
    ],
)
def test_an_address_tells_the_transport(url: str, given: str | None, transport: str) -> None:
    told = options() if given is None else options(transport=given)
    assert read_transport(told, URL(url)) == transport


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://mcp.example.com/mcp", "mcp.example.com"),
        ("http://localhost:8080/mcp", "localhost-8080"),
        ("https://a.example/team/x/sse", "a.example-team-x"),
        ("ws://[::1]:9/ws", "--1-9"),
        (f"https://a.example/mcp?key={SECRET}", "a.example"),
    ],
)
def test_a_server_has_a_name_without_its_query(url: str, name: str) -> None:
    assert identify_upstream(url).name == name


# --- headers ----------------------------------------------------------------------------------


def test_headers_come_from_the_line_and_from_variables() -> None:
    assert remote_headers(
        header=["X-Team: blue ", "x-empty:"], header_env=["X-Api-Key=TOKEN", "X-Other=OTHER"]
    ) == {"X-Team": "blue", "x-empty": "", "X-Api-Key": SECRET, "X-Other": "another"}
    assert remote_headers(bearer_env="TOKEN") == {"Authorization": f"Bearer {SECRET}"}
    assert remote_headers(header_env=["authorization=TOKEN"]) == {"Authorization": SECRET}


def test_a_missing_secret_of_a_header_is_told_with_the_header() -> None:
    with pytest.raises(InputError, match=r"^the header X-Api-Key refers to keyring:NONE: "):
        remote_headers(header_env=["X-Api-Key=keyring:NONE"])


@pytest.mark.parametrize("name", ["Authorization", "cookie", "X-Api-Key", "X-Auth", "my-SECRET"])
def test_a_secret_on_the_command_line_is_refused_unless_one_insists(name: str) -> None:
    assert f"--header-env {name}=VARIABLE" in refusal(header=[f"{name}: {SECRET}"])
    assert SECRET in remote_headers("--secret-arguments", header=[f"{name}: {SECRET}"]).values()


@pytest.mark.parametrize(
    "given",
    [
        *({"header": ["X-Team"]}, {"header": [": x"]}, {"header": ["  : x"]}, {"header": [""]}),
        *({"header": ["X Team: x"]}, {"header": ["X\r\nY: x"]}, {"header": ["X\0: x"]}),
        *({"header": ["X: a\r\nY: b"]}, {"header": ["X: a\nb"]}, {"header": ["X: a\x7fb"]}),
        *({"header": ["X\xe9: a"]}, {"header_env": ["X"]}, {"header_env": ["=TOKEN"]}),
        *({"header_env": ["X="]}, {"header_env": ["X=MISSING"]}, {"header_env": ["X=EMPTY"]}),
        *({"header_env": ["X=ODD"]}, {"header_env": ["X Y=TOKEN"]}, {"header_env": ["X:=TOKEN"]}),
        *({"bearer_env": "MISSING"}, {"bearer_env": "EMPTY"}, {"bearer_env": "ODD"}),
    ],
)
def test_what_is_no_header_is_told_so(given: dict[str, str | list[str]]) -> None:
    assert refusal(**given).startswith(f"--{next(iter(given)).replace('_', '-')}")


def test_a_name_in_a_header_is_no_secret_and_a_key_is(monkeypatch: pytest.MonkeyPatch) -> None:
    known = KnownSecrets()
    monkeypatch.setattr(secrets_in_use, "IN_USE", known)
    for name, value in {"T": "production", "K": "wonderful", "O": "hny-4711-key"}.items():
        monkeypatch.setenv(name, value)
    given = ["X-Tenant=T", "X-Api-Key=K", "X-Honeycomb-Team=O"]
    read_remote(options(upstream="https://a.example", header_env=given), LIMIT)
    masked = known.mask("production, wonderful, hny-4711-key")
    assert masked == f"production, {MASK}, {MASK}"


def test_a_clients_credentials_go_on_only_where_nobody_else_is_meant() -> None:
    def passes(*flags: str, **given: str | list[str]) -> bool:
        told = options(*flags, upstream=URL_TEXT, **given)
        return read_remote(told, LIMIT).passes_credentials

    assert passes()
    assert passes(header=["X-Team: x"])
    assert not passes(bearer_env="TOKEN")
    assert not passes("--secret-arguments", header=["authorization: x"])
    assert not passes(token_env=["TOKEN"]), "it was for us"
    assert not passes(token_file="f")


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    cert, key = CertificateAuthority(folder).file.rename(folder / "cert.pem"), folder / "key.pem"
    (folder / "both.pem").write_bytes(cert.read_bytes() + key.read_bytes())
    locked = load_pem_private_key(key.read_bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
    )
    (folder / "locked.pem").write_bytes(locked)
    return folder


def test_tls_needs_a_certificate_and_its_key(certificates: Path) -> None:
    cert, key, both = (str(certificates / f"{name}.pem") for name in ("cert", "key", "both"))
    for told in ({"tls_cert": cert, "tls_key": key}, {"tls_cert": both}):
        context = server_context(options(**told))
        assert context is not None
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert server_context(options()) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tls_key": "key.pem"}, "--tls-key: give the certificate"),
        ({"tls_cert": "missing.pem"}, "No such file"),
        ({"tls_cert": "cert.pem"}, "cannot be used"),
        ({"tls_cert": "key.pem", "tls_key": "key.pem"}, "cannot be used"),
        ({"tls_cert": "cert.pem", "tls_key": "locked.pem"}, "locked with a password"),
        ({"tls_cert": "."}, "cannot be used"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told(
    certificates: Path, given: dict[str, str], why: str
) -> None:
    told = {name: str(certificates / value) for name, value in given.items()}
    with pytest.raises(PolicyError, match=why):
        server_context(options(**told))


def test_an_upstream_is_trusted_by_the_system_or_by_one_authority(certificates: Path) -> None:
    cert, key = str(certificates / "cert.pem"), str(certificates / "key.pem")
    for told in ({}, {"ca": cert}, {"ca": cert, "client_cert": cert, "client_key": key}):
        context = read_remote(options(upstream=URL_TEXT, **told), LIMIT).context
        assert context is not None
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    assert read_remote(options(upstream="http://a/"), LIMIT).context is None


def test_an_authority_or_a_certificate_that_cannot_be_used_is_told(certificates: Path) -> None:
    key = str(certificates / "key.pem")
    assert "No such file" in refusal(ca=str(certificates / "missing.pem"))
    assert refusal(ca=key).startswith(f"--ca {key}: cannot be used")
    assert refusal(client_cert=key).startswith(f"--client-cert {key}: cannot be used")
    assert "--client-cert" in refusal(client_key=key)


# --- where clients come in ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("LocalHost:65535", "localhost", 65535),
        ("[::1]:80", "::1", 80),
    ],
)
def test_a_listener_has_a_host_and_a_port(listen: str, host: str, port: int) -> None:
    told = options(listen=listen, allow_host=["A.Example"], allow_origin=["https://b"])
    at, found = read_admission(told, LIMIT)
    assert (at.host, found) == (host, port)
    assert (set(at.hosts), set(at.origins)) == ({"a.example"}, {"https://b"})
    assert at.tokens is None
    assert at.limit_bytes == LIMIT


@pytest.mark.parametrize(
    "listen",
    [
        *("", ":80", "80", "localhost", "localhost:", "localhost:x", "localhost:65536", "[::1]"),
        *("localhost:-1", "localhost:\u0661", "localhost:1.0", "[]:80", "http://localhost:80"),
        *("localhost/x:80", "local host:80", ":::80", "::1:80"),
    ],
)
def test_what_is_no_place_to_listen_is_told_so(listen: str) -> None:
    assert "give HOST:PORT" in refusal(listen=listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "[::]:80", "10.0.0.7:80", "box.lan:80"])
def test_others_may_come_in_with_a_token_only(listen: str) -> None:
    assert "clients need a token, and there is none" in refusal(listen=listen)
    at, _ = read_admission(options(listen=listen, token_env=["TOKEN"]), LIMIT)
    assert who(at.tokens, SECRET) == "TOKEN"


@pytest.mark.parametrize(
    ("host", "tls", "is_told"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],  # noqa: S104  for a moment
)
def test_tokens_that_the_network_can_read_are_told(
    host: str, tls: bool, is_told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((host, 0)) as listening:
        say_listening(listening, tls=tls)
    assert ("without TLS, the network can read" in capfd.readouterr().err) is is_told


@pytest.mark.parametrize(
    "pairs", [["MISSING"], ["EMPTY"], ["a="], [""], ["a=TOKEN", "a=OTHER"], ["TOKEN", "MISSING"]]
)
def test_a_token_that_is_not_there_is_told(pairs: list[str]) -> None:
    told = refusal(listen="localhost:0", token_env=pairs)
    assert told.startswith(f"--token-env {pairs[-1]}: "), "it names the wrong one"
    assert told.endswith(".")


def who(tokens: Tokens | None, token: str) -> str | None:
    assert tokens is not None
    caller = tokens.find_caller(f"Bearer {token}")
    return caller.name if caller is not None else None


def test_a_token_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n\nci {SECRET}\nhalf\n  dev   b b \n")
    told = options(listen="localhost:0", token_file=str(file), token_env=["env=OTHER"])
    tokens = read_admission(told, LIMIT)[0].tokens
    assert (who(tokens, SECRET), who(tokens, "b b"), who(tokens, "another")) == ("ci", "dev", "env")
    assert who(tokens, "half") is who(tokens, "#") is who(tokens, "") is None

    stat = file.stat()
    other = tmp_path / "new"
    other.write_text(f"ci {SECRET[::-1]}\n# ours\n\nhalf\n  dev   b b \n")
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert other.stat().st_size == stat.st_size
    other.replace(file)  # of the same size, at the same time
    assert who(tokens, SECRET) is None
    assert who(tokens, SECRET[::-1]) == "ci"

    with file.open("r+b") as same:  # in place: neither its size nor its times tell it
        same.write(f"ci {SECRET}".encode())
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert who(tokens, SECRET[::-1]) is None
    assert who(tokens, SECRET) == "ci"


@pytest.mark.parametrize("content", [None, b"ci \xff\xfe\n"])
def test_of_a_token_file_that_cannot_be_read_no_token_lets_in(
    tmp_path: Path, content: bytes | None, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    assert refusal(listen="localhost:0", token_file=str(file)).startswith(f"--token-file {file}: ")
    file.write_text(f"ci {SECRET}\n")
    told = options(listen="localhost:0", token_file=str(file), token_env=["env=OTHER"])
    tokens = read_admission(told, LIMIT)[0].tokens
    assert who(tokens, SECRET) == "ci"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert who(tokens, SECRET) is who(tokens, SECRET) is None
    assert who(tokens, "another") == "env", "those of variables are as good as before"
    assert capfd.readouterr().err.count("it no longer contains a valid token") == 1
    file.write_text(f"ci {SECRET}\n")
    assert who(tokens, SECRET) == "ci"


@pytest.mark.skipif(os.name != "posix", reason="no such modes")
@pytest.mark.parametrize("mode", [0o602, 0o622])
def test_a_token_file_that_others_may_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ci {SECRET}\n")
    file.chmod(mode)
    refused = refusal(listen="localhost:0", token_file=str(file))
    assert refused.startswith(f"--token-file {file}: ")
    assert "may write" in refused
    assert f"o-w {file}" in refused

    file.chmod(0o640)  # read by a group, as a mounted secret is
    told = options(listen="localhost:0", token_file=str(file), token_env=["env=OTHER"])
    tokens = read_admission(told, LIMIT)[0].tokens
    assert who(tokens, SECRET) == "ci"
    file.chmod(mode)
    assert who(tokens, SECRET) is None, "nor when that comes later"
    assert who(tokens, "another") == "env"
    file.chmod(0o600)
    assert who(tokens, SECRET) == "ci"
