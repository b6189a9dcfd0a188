"""Sign-ins by an issuer's JWTs: which tokens are valid, where keys come from, what ends them."""

import asyncio
import json
import sys
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from time import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeguard.auth import jwks
from pipeguard.auth.identity import verify_token
from pipeguard.auth.identity_key import GroupAccess, Identity
from pipeguard.auth.jwks import IssuerKeys, read_keys
from pipeguard.auth.sign_ins import SignIns
from pipeguard.errors import AuthError, PolicyError
from pipeguard.gateway.servers_file import parse_servers
from pipeguard.state.tokens import TokenScope
from tests.commands import run_command
from tests.fleet.issuer import RESOURCE, Issuer, ec_key, encode, jwk_of, rsa_key, running
from tests.forking import PIPEGUARD
from tests.fuzz.budget import tried
from tests.gateway.served import ServedAt, environment_of_state, write_servers
from tests.gateway.several import STATEFUL
from tests.wrap.listening import Browser
from tests.wrap.wrapped import Json, Object

ALGORITHMS = ("RS256", "ES256")


def identity_of(issuer: Issuer, *clients: GroupAccess) -> Identity:
    clients = clients or (GroupAccess("developers", TokenScope()),)
    return Identity(issuer.url, RESOURCE, clients=clients)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running() as issuer:
        yield issuer


# --- tokens -----------------------------------------------------------------------------


def confused(issuer: Issuer) -> str:
    """A token signed with the public key's text, as HMAC."""
    import hashlib
    import hmac

    secret = json.dumps(jwk_of(rsa_key(), "rsa")).encode()
    signed = f"{encode({'alg': 'HS256', 'kid': 'rsa'})}.{encode(issuer.claims())}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def hostile(issuer: Issuer) -> dict[str, str]:
    """Tokens that must not be valid, by what is wrong with them."""
    now, claims, sign = int(time()), issuer.claims, issuer.sign
    good = sign().split(".")
    own = jwk_of(rsa_key(1), "rsa")
    changed: dict[str, Any] = {
        "issuer": {"iss": "https://evil.example.com"},
        "issuer with a slash": {"iss": issuer.url + "/"},
        "no issuer": {"iss": None},
        "audience": {"aud": "client"},
        "audiences": {"aud": ["client", RESOURCE + "/"]},
        "audience in an object": {"aud": {RESOURCE: 1}},
        "no audience": {"aud": None},
        "no end": {"exp": None},
        "ended": {"exp": now - 31},
        "end as text": {"exp": str(now + 300)},
        "endless": {"exp": True},
        "not yet": {"nbf": now + 60},
        "from the future": {"iat": now + 60},
        "issued as text": {"iat": "now"},
        "no subject": {"sub": None},
        "empty subject": {"sub": ""},
        "number as subject": {"sub": 7},
        "long subject": {"sub": "x" * 256},
        "controls": {"sub": "ada\ndevelopers"},
        "NUL": {"sub": "ada\0"},
        "right to left": {"sub": "a\u202eda"},
        "bound to a key": {"cnf": {"jkt": "x"}},
        "large": {"more": "x" * 8192},
    }
    text = json.dumps(claims())
    return {
        **{name: sign(claims(**change)) for name, change in changed.items()},
        "huge number": sign(text.replace("}", ', "exp": 1e999}')),
        "infinite": sign(text[:-1].replace('"exp": ', '"exp": 1e999, "x": ') + "}"),
        "many digits": sign(text[:-1].replace('"exp": ', f'"exp": {"9" * 5000}, "x": ') + "}"),
        "twice": sign(text[:-1] + ', "sub": "eve"}'),
        "deep": sign("[" * 3000 + "]" * 3000),
        "no object": sign("[]"),
        "NaN": sign(text[:-1] + ', "x": NaN}'),
        "half a character": sign(text[:-1] + r', "x": "\ud800"}'),
        "another key": sign(key=rsa_key(1)),
        "unknown kid": sign(kid="../../etc/passwd"),
        "SQL": sign(kid="' OR 1=1 --"),
        "long kid": sign(kid="x" * 300),
        "kid of another kind": sign(kid="ec"),
        "no kid": sign(kid=None, key=rsa_key(1)),
        "own jwk": sign(key=rsa_key(1), jwk=own),
        "own jku": sign(key=rsa_key(1), jku="https://evil.example.com/keys", kid="theirs"),
        "own x5c": sign(key=rsa_key(1), x5c=["MIIB"], x5u="https://evil.example.com"),
        "crit": sign(crit=["exp"], exp=1),
        "ID token's type": sign(typ="logout+jwt"),
        "algorithm left out": sign(alg="RS512"),
        "PS256": sign(alg="PS256"),
        "HS256": confused(issuer),
        "none": f"{encode({'alg': 'none', 'kid': 'rsa'})}.{good[1]}.{encode(b'x')}",
        "unsigned": f"{encode({'alg': 'none'})}.{good[1]}.",
        "NONE": f"{encode({'alg': 'NoNe', 'kid': 'rsa'})}.{good[1]}.{good[2]}",
        "alg is a list": f"{encode({'alg': ['RS256'], 'kid': 'rsa'})}.{good[1]}.{good[2]}",
        "claims changed": f"{good[0]}.{encode(claims(sub='eve'))}.{good[2]}",
        "zeros as a signature": sign(key=ec_key(), alg="ES256", kid="ec").rsplit(".", 1)[0]
        + f".{encode(bytes(64))}",
        "two parts": ".".join(good[:2]),
        "five parts": ".".join([*good, *good[:2]]),
        "padding": f"{good[0]}=.{good[1]}.{good[2]}",
        "odd base64": f"{good[0]}.{good[1]}.a",
        "not ASCII": f"{good[0]}.{good[1]}.é",
        "empty": "..",
    }


async def test_no_hostile_token_is_valid(issuer: Issuer) -> None:
    identity, keys = identity_of(issuer), IssuerKeys(issuer.url, ALGORITHMS, lambda _: None)
    assert (await verify_token(issuer.sign(), identity, keys)).claims.subject == "ada"
    for name, token in hostile(issuer).items():
        with pytest.raises(AuthError):
            pytest.fail(f"{name}: {await verify_token(token, identity, keys)}")
    assert len(issuer.asked) == 2  # unknown names of keys fetch nothing for 10 s


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"aud": ["other", RESOURCE]}, {}),
        ({"exp": int(time()) + 86400, "nbf": int(time()) - 1}, {"typ": "JWT"}),
        ({"iat": None, "exp": time() + 600.5}, {"typ": None}),
        ({"groups": "developers"}, {"typ": "application/AT+JWT"}),
        ({}, {"kid": "ec", "key": ec_key(), "alg": "ES256"}),
        ({}, {"jku": "https://evil.example.com", "x5c": ["x"], "jwk": {}}),
    ],
)
async def test_a_valid_token_is_valid(
    issuer: Issuer, changes: dict[str, Any], header: dict[str, Any]
) -> None:
    token = issuer.sign(issuer.claims(**changes), **header)
    keys = IssuerKeys(issuer.url, ALGORITHMS, lambda _: None)
    assert (await verify_token(token, identity_of(issuer), keys)).claims.subject == "ada"


PARTS = st.binary(max_size=200) | st.text(max_size=100).map(str.encode)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=9,
)
MEMBERS = st.sampled_from(["alg", "kid", "typ", "crit", "iss", "aud", "exp", "nbf", "iat", "sub"])


@tried(300)
@given(
    st.text(max_size=60)
    | st.tuples(PARTS, PARTS, PARTS).map(lambda parts: ".".join(map(encode, parts)))
    | st.tuples(st.dictionaries(MEMBERS, JSON), st.dictionaries(MEMBERS, JSON)).map(
        lambda parts: ".".join([*map(encode, parts), "AA"])
    )
    | st.dictionaries(MEMBERS, JSON).map(
        lambda claims: ".".join(
            [encode({"alg": "RS256"}), encode({**Issuer().claims(), **claims}), "AA"]
        )
    )
)
def test_no_token_raises_anything_else(token: str) -> None:
    class Keys(IssuerKeys):
        async def _refresh(self) -> None:
            self._keys = tuple(read_keys(Issuer().answers["/keys"]["keys"], ALGORITHMS))
            self._fetched_at = float("inf")

    issuer = Issuer()
    keys = Keys(issuer.url, ALGORITHMS, lambda _: None)
    with pytest.raises(AuthError):
        asyncio.run(verify_token(token, identity_of(issuer), keys))


# --- keys -------------------------------------------------------------------------------


def test_only_public_keys_for_signatures_are_taken() -> None:
    good = jwk_of(rsa_key(), "a")
    wrong: list[Any] = [
        {**good, "use": "enc"},
        {**good, "alg": "RS512"},
        {**good, "key_ops": ["encrypt"]},
        {**good, "d": "AQAB"},
        {**good, "kid": 7},
        {**good, "n": "AQAB"},
        {**good, "e": ""},
        {"kty": "oct", "k": "AAAA", "alg": "HS256"},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {**jwk_of(ec_key(), "e"), "y": "AAAA"},
        "text",
        None,
    ]
    assert read_keys(wrong, ALGORITHMS) == []
    assert [key.algorithms for key in read_keys([*wrong, good], ALGORITHMS)] == [("RS256",)]
    assert len(read_keys([good] * 1000, ALGORITHMS)) == jwks.MOST_KEYS


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/.well-known/openid-configuration", {"issuer": "https://x.example", "jwks_uri": "/keys"}),
        ("/.well-known/openid-configuration", b"{"),
        ("/.well-known/openid-configuration", (302, {"Location": "/keys"})),
        ("/.well-known/openid-configuration", []),
        ("/keys", (302, {"Location": "/other"})),
        ("/keys", b'{"keys": [' + b" " * 2**20 + b"]}"),
        ("/keys", b"[" * 10_000),
        ("/keys", {"keys": 7}),
        ("/keys", 500),
        ("jwks_uri", "ftp://127.0.0.1/keys"),
        ("jwks_uri", "http://mcp.example.com/keys"),
        ("jwks_uri", "http://[::1"),
        ("jwks_uri", 7),
    ],
)
async def test_a_wrong_answer_of_the_issuer_gives_no_key(
    issuer: Issuer, path: str, answer: Any
) -> None:
    if path == "jwks_uri":
        issuer.answers["/.well-known/openid-configuration"][path] = answer
    else:
        issuer.answers[path] = answer
    said: list[str] = []
    signed = SignIns(dict, said.append)
    signed.change(identity_of(issuer))
    try:
        assert await signed.verify(issuer.sign()) == ""
        assert len(said) == 1
        assert issuer.url in said[0]
        assert "/other" not in issuer.asked
    finally:
        signed.close()


async def test_requests_share_one_fetch_of_an_unknown_key(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = IssuerKeys(issuer.url, ALGORITHMS, lambda _: None)
    assert all(await asyncio.gather(*(keys.find("rsa", "RS256") for _ in range(50))))
    assert await keys.find("new", "RS256") is None
    assert len(issuer.asked) == 2
    issuer.answers["/keys"] = {"keys": [jwk_of(rsa_key(1), "new")]}
    monkeypatch.setattr(jwks, "AGAIN_SECONDS", 0.0)
    assert await keys.find("new", "RS256") is not None
    assert await keys.find("rsa", "RS256") is None  # the issuer took it back
    issuer.answers["/keys"] = 500
    assert await keys.find("newer", "RS256") is None
    assert await keys.find("new", "RS256") is not None  # it holds while the issuer is away
    monkeypatch.setattr(jwks, "KEEP_SECONDS", 0.0)
    assert await keys.find("new", "RS256") is None


# --- settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("issuer: http://login.example.com", "line 2, column 11: identity.issuer: "),
        ("issuer: 'https://login.example.com?x=1'", "identity.issuer: expected a URL"),
        ("resource: ftp://mcp.example.com", "identity.resource: "),
        ("algorithms: [none]", "identity.algorithms[0]: `none` is not one of"),
        ("algorithms: [HS256]", "identity.algorithms[0]: `HS256` is not one of"),
        ("algorithms: []", "identity.algorithms: name at least one"),
        ("clients: [{effect: read}]", "identity.clients[0]: `group` is missing"),
        ("clients: [{group: a, effect: decide}]", "`decide` is not one of"),
        ("clients: [{group: a, per_minute: 0}]", "identity.clients[0].per_minute: give a number"),
        ("client: []", "identity.client: unknown key"),
    ],
)
def test_an_error_in_the_settings_names_line_and_key(text: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_servers(f"identity:\n  {text}\n", "pipeguard.yaml", {})
    assert says in str(error.value)


def test_sign_ins_need_an_address(tmp_path: Path) -> None:
    settings: Object = {"issuer": "https://a.example", "resource": RESOURCE, "clients": []}
    config = write_servers(tmp_path, {}, identity=settings)
    command = [*PIPEGUARD, "serve", "--config", str(config), "--check"]
    ran = run_command(command, env=environment_of_state(tmp_path))
    assert (ran.returncode, "needs --listen" in ran.stderr) == (2, True)


# --- a gateway --------------------------------------------------------------------------

GROUPS: list[Object] = [
    {"group": "developers"},
    {"group": "ci", "server": "demo", "tool": "ec*", "effect": "write", "per_minute": 1},
    {"group": "readers", "effect": "read"},
    {"group": "empty", "server": "none"},
]


class Gateway(ServedAt):
    """A gateway of one server, for the subjects of an issuer."""

    def __init__(self, folder: Path, issuer: Issuer) -> None:
        self.folder, self.issuer = folder, issuer
        config = self.write()
        super().__init__(folder, "--config", str(config))

    def write(self, *groups: Object) -> Path:
        """Write its settings."""
        settings: Object = {"issuer": self.issuer.url, "resource": RESOURCE}
        settings["clients"] = [*(groups or GROUPS)]
        command: list[Json] = [str(STATEFUL), "demo"]
        servers: dict[str, Object] = {
            "demo": {"command": sys.executable, "args": command, "trust": "first-use"}
        }
        return write_servers(self.folder, servers, mode="direct", identity=settings)

    def client(self, token: str = "", **changes: Any) -> Browser:
        """A client with a token; by default with a new one of the issuer."""
        token = token or self.issuer.sign(self.issuer.claims(**changes))
        return Browser(self.at("/mcp"), Authorization=f"Bearer {token}")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running() as issuer, Gateway(tmp_path_factory.mktemp("signed"), issuer) as gateway:
        yield gateway


def status_of(client: Browser, path: str = "/mcp") -> tuple[int, str]:
    with client.send("GET", path=path) as answer:
        return answer.status, answer.headers.get("WWW-Authenticate", "")


@pytest.mark.real
def test_a_client_without_a_valid_token_learns_where_to_sign_in(gateway: Gateway) -> None:
    metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
    token = gateway.issuer.sign()
    nobody = Browser(gateway.at("/mcp"))
    for path in ("/mcp", f"/mcp?access_token={token}", "/tools", "/metrics", "/servers/demo/mcp"):
        assert status_of(nobody, path) == (401, f'Bearer resource_metadata="{metadata}"')
    said = f'Bearer error="invalid_token", resource_metadata="{metadata}"'
    for wrong in hostile(gateway.issuer).values():
        if wrong.isascii():
            assert status_of(gateway.client(wrong)) == (401, said)
    with gateway.client(exp=int(time()) - 60).send("GET") as answer:
        assert answer.read() == b"PipeGuard: this bearer token is not valid: it has expired\n"
    for suffix in ("", "/mcp"):
        with nobody.send("GET", path=f"/.well-known/oauth-protected-resource{suffix}") as answer:
            document = json.load(answer)
        assert document["resource"] == RESOURCE
        assert document["authorization_servers"] == [gateway.issuer.url]
    assert status_of(nobody, "/.well-known/oauth-protected-resource/other")[0] == 401
    for groups in ([], ["others"], "developers", {"developers": 1}, [["developers"]], None):
        assert status_of(gateway.client(groups=groups), "/tools")[0] == 403


@pytest.mark.real
def test_a_subject_may_do_what_any_entry_of_its_groups_allows(gateway: Gateway) -> None:
    def tools(*groups: str) -> dict[str, str]:
        with gateway.client(groups=[*groups]).send("GET", path="/tools") as answer:
            assert answer.status == 200
            return {tool["name"]: tool["effect"] for tool in json.load(answer)["tools"]}

    everything = tools("developers")
    reading = {name: effect for name, effect in everything.items() if effect == "read"}
    assert len(reading) < len(everything)
    assert tools("ci") == {"echo": everything["echo"]}
    assert tools("readers") == reading
    assert tools("ci", "readers", "others") == {**reading, **tools("ci")}
    groups = [["ci"], ["ci"], ["ci", "others", "empty"]]
    clients = one, *_ = [gateway.client(groups=each).open() for each in groups]
    answers = [each.ask("tools/call", name="demo__echo", arguments={}) for each in clients]
    assert ["Too many calls" in json.dumps(each) for each in answers] == [False, True, True]
    for path, status in (("/metrics", 403), ("/servers/demo/mcp", 403), ("/ui/link", 404)):
        with one.send("GET", path=path) as answer:
            assert answer.status in (status, 405, 401), path


@pytest.mark.real
def test_an_agent_with_the_sign_in_of_its_user_opens_no_page(gateway: Gateway) -> None:
    client = gateway.client()
    for method, path in (("POST", "/ui/link"), ("GET", "/ui"), ("GET", "/ui/waiting")):
        with client.send(method, path=path) as answer:
            assert answer.status in (401, 403, 404), path


@pytest.mark.real
def test_the_session_of_a_subject_is_for_no_other_subject_or_group(gateway: Gateway) -> None:
    client = gateway.client().open()
    session = client.headers["Mcp-Session-Id"]
    ping: Object = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    for changes, status in (
        ({}, 200),  # a newer token of the same sign-in
        ({"sub": "eve"}, 404),
        ({"groups": ["ci"]}, 404),
    ):
        other = gateway.client(iat=int(time()) - 1, **changes)
        other.headers["Mcp-Session-Id"] = session
        assert other.post(ping)[0] == status


@pytest.mark.real
def test_streams_end_with_the_token_the_subject_or_the_groups(gateway: Gateway) -> None:
    def streaming(**changes: Any) -> Any:
        return gateway.client(**changes).open().send("GET")

    until = int(time()) - 25  # and the leeway
    ending = [streaming(exp=until), streaming(sub="bob"), streaming(sub="carl", groups=["ci"])]
    whole = streaming(sub="dora")
    assert {stream.status for stream in ending} == {200}
    environment = environment_of_state(gateway.folder)
    revoked = run_command([*PIPEGUARD, "tokens", "revoke", "--subject", "bob"], env=environment)
    assert (revoked.returncode, revoked.stdout) == (0, "Revoked the sign-ins of bob.\n")
    gateway.write(GROUPS[0], GROUPS[2])
    for stream in ending:
        with pytest.raises(IncompleteRead):  # it is cut
            stream.read()
    assert status_of(gateway.client(sub="bob", iat=int(time()) - 60))[0] == 401
    assert status_of(gateway.client(sub="bob", iat=None))[0] == 401
    gateway.client(sub="bob", iat=int(time()) + 2).open()
    assert status_of(gateway.client(groups=["ci"]), "/tools")[0] == 403
    assert not whole.isclosed()
    listed = run_command([*PIPEGUARD, "audit", "list", "--json"], env=environment, check=True)
    assert "the sign-ins of bob" in listed.stdout
    gateway.write()


@pytest.mark.real
def test_the_audit_names_the_subject(gateway: Gateway) -> None:
    client = gateway.client(sub="erin").open()
    client.ask("tools/call", name="demo__echo", arguments={})
    words = [*PIPEGUARD, "audit", "list", "--token", "sub:erin", "--json"]
    environment = environment_of_state(gateway.folder)
    deadline = time() + 30
    while "echo" not in (run := run_command(words, env=environment, check=True)).stdout:
        assert time() < deadline, run.stdout
    assert "sub:erin" in run.stdout
    assert "developers" not in run.stdout
