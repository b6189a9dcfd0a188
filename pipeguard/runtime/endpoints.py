"""From options to addresses: the guarded server, and the address for clients."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from yarl import URL

from pipeguard.config.directories import read_own
from pipeguard.config.options import WrapOptions
from pipeguard.detect.checks.addresses import is_loopback
from pipeguard.detect.checks.credential_names import is_secret_header
from pipeguard.errors import InputError, PolicyError
from pipeguard.identity.server_name import Launched, identify_remote
from pipeguard.launch.environment import REFERENCE, refers
from pipeguard.runtime.transports import AUTO, choose_transport
from pipeguard.secrets_in_use import IN_USE, in_use
from pipeguard.transports.bounded import SPARE_BYTES, Backlog

SCHEMES = ("http", "https", "ws", "wss")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.1
_WORDS = re.compile(r"[A-Za-z]{1,20}(?:[ ,_.-][A-Za-z]{1,20})*\Z")
MAX_TOKEN_FILE_BYTES = 2**20


class _TokenFile:
    """A file of lines `NAME TOKEN`, read each time its tokens are needed.

    Its time stamps are not compared: an edit can keep its size and its times.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: bytes | None = None  # as it was last read
        self._fault = ""
        self._tokens: dict[str, str] = {}

    def read(self) -> Mapping[str, str]:
        """The current tokens by name; empty if the file is gone, or is no longer trusted.

        Raises:
            PolicyError: it could never be read, or must not be trusted.
        """
        try:
            self._parse(read_own(str(self._path), MAX_TOKEN_FILE_BYTES, PolicyError))
            self._fault = ""
        except (PolicyError, UnicodeDecodeError) as error:
            if self._content is None:
                raise PolicyError(f"--token-file {self._path}: {error}") from None
            self._parse(b"")
            if str(error) != self._fault:
                from pipeguard.log import say

                say(f"--token-file {self._path}: it no longer contains a valid token. {error}")
                self._fault = str(error)
        return self._tokens

    def _parse(self, content: bytes) -> None:
        if content == self._content:
            return
        lines = content.decode("utf-8").splitlines()
        pairs = [line.split(None, 1) for line in lines if line.strip()[:1] not in ("", "#")]
        self._tokens = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
        IN_USE.add(self._tokens.values())
        self._content = content


if TYPE_CHECKING:
    from pipeguard.auth.bearer import Bearer
    from pipeguard.transports.http.client.upstream import Authorization, Remote
    from pipeguard.transports.http.server.admission import Admission
    from pipeguard.transports.http.server.callers import IssuedTokens, StoredTokens, Tokens


# --- the server -----------------------------------------------------------------------------


def read_url(text: str) -> URL:
    """The URL of a server.

    Raises:
        PolicyError: it is not a URL that we support, or contains a password.
    """
    try:
        url = URL(text) if text.split() == [text] else URL()
        has_host = bool(url.host)  # raises UnicodeError for some
    except ValueError:
        url, has_host = URL(), False
    if url.scheme not in SCHEMES or not has_host:
        raise PolicyError("--upstream: give an address that begins with http, https, ws or wss.")
    if url.user is not None or url.password is not None:
        raise PolicyError(
            "--upstream: other users of this machine can read a password in an address. Use"
            " --bearer-env or --header-env."
        )
    return url.with_fragment(None)


def read_transport(options: WrapOptions, url: URL) -> str:
    """The name of a server's transport; `auto` if the server is to be asked.

    Raises:
        PolicyError: there is no such transport, or not at such an address.
    """
    return choose_transport(options.values.get("--transport", AUTO), url.scheme)


def read_remote(
    options: WrapOptions, limit_bytes: int, authorization: Authorization | None = None
) -> Remote:
    """The server that the options name, with its headers and its TLS.

    Raises:
        PolicyError: an option is wrong, or names a variable that is not set.
    """
    from pipeguard.transports.http.client.upstream import Remote  # with an HTTP library

    url = read_url(options.values["--upstream"])
    headers = _headers(options)
    has_own_login = "Authorization" in headers or authorization is not None
    return Remote(
        url,
        headers,
        None if "Authorization" in headers else authorization,
        _client_context(options) if url.scheme in ("https", "wss") else None,
        limit_bytes,
        passes_credentials=not has_own_login and not _requires_token(options),
    )


def read_login(options: WrapOptions) -> Bearer | None:
    """Our login to the server, made with `pipeguard auth login`; it need not exist yet.

    None if the options give a credential, or if tokens would be sent unencrypted.
    """
    headers = [*options.lists.get("--header", ()), *options.lists.get("--header-env", ())]
    is_given = any(header.lower().startswith("authorization") for header in headers)
    if is_given or "--bearer-env" in options.values:
        return None
    from pipeguard.auth.bearer import Bearer
    from pipeguard.auth.store import LoginStore

    url = read_url(options.values["--upstream"])
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    try:
        return Bearer(str(url.with_scheme(scheme)), LoginStore())
    except InputError:
        return None


def identify_upstream(text: str) -> Launched:
    """The server at an address, with a name such as `mcp.example.com` or `localhost-8080-mcp`.

    Raises:
        PolicyError: as `read_url`.
    """
    url = read_url(text)
    parts = [url.host or ""]
    if not url.is_default_port() and url.port is not None:
        parts.append(str(url.port))
    path = "-".join(part for part in url.path.split("/") if part not in ("", "mcp", "sse", "ws"))
    name = "-".join([*parts, *([path] if path else [])]).replace(":", "-")
    return identify_remote(str(url), name)


def _headers(options: WrapOptions) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in options.lists.get("--header", ()):
        name, value = _header_of_line(line, options)
        headers[name] = in_use(value) if is_secret_header(name) else value
    for pair in options.lists.get("--header-env", ()):
        name, equals, variable = pair.partition("=")
        if not equals or not _NAME.match(name) or not variable:
            raise PolicyError("--header-env: give NAME=VARIABLE.")
        value = _variable(variable, "--header-env", name)
        # A tenant or a mode, in plain words, is not a secret, and appears in honest results.
        is_secret = is_secret_header(name) or not _WORDS.match(value)
        headers[name] = in_use(value) if is_secret else value
    bearer = options.values.get("--bearer-env")
    if bearer is not None:
        token = in_use(_variable(bearer, "--bearer-env"))
        headers["Authorization"] = f"Bearer {token}"
    return {
        name.title() if name.lower() == "authorization" else name: value
        for name, value in headers.items()
    }


def _header_of_line(line: str, options: WrapOptions) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    name = name.strip()
    if not colon or not _NAME.match(name):
        raise PolicyError("--header: give 'NAME: VALUE'.")
    if is_secret_header(name) and "--secret-arguments" not in options.flags:
        # Every user of the machine can read a command line.
        raise PolicyError(
            f"--header {name}: other users of this machine could read its value. Put it into a"
            f" variable: --header-env {name}=VARIABLE. To pass it all the same:"
            " --secret-arguments."
        )
    return name, _value(value, f"--header {name}")


def named_variables(pairs: Iterable[str]) -> frozenset[str]:
    """The variables in options of the form `NAME=VARIABLE`; their values are only for us."""
    return frozenset(pair.rpartition("=")[2] for pair in pairs)


def _variable(name: str, option: str, header: str = "") -> str:
    """The value of a variable, or of the secret that it or the header's entry refers to."""
    value = name if name.startswith(REFERENCE) else os.environ.get(name, "")
    if not value.strip():
        raise PolicyError(f"{option} {name}: this variable is not set, or empty.")
    if refers([value]):
        from pipeguard.auth.secrets import resolve

        is_entry = header and name.startswith(REFERENCE)  # of pipeguard.yaml or a client's file
        value = resolve(value, f"the header {header}" if is_entry else f"{option} {name}")
    return _value(value, f"{option} {name}")


def _value(value: str, what: str) -> str:
    value = value.strip()
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in value):
        raise PolicyError(f"{what}: a header cannot hold a line end or a control character.")
    return value


# --- clients ----------------------------------------------------------------------------------


def read_admission(
    options: WrapOptions,
    limit_bytes: int,
    stored: StoredTokens | None = None,
    sign_ins: IssuedTokens | None = None,
) -> tuple[Admission, int]:
    """Admission of requests, and the port to listen on.

    Args:
        options: of the command line.
        limit_bytes: of one body.
        stored: tokens in the store; None if the command has none.
        sign_ins: of an issuer; None if the command accepts none.

    Raises:
        PolicyError: an option is wrong, or other machines could come in without a token.
    """
    from pipeguard.transports.http.server.admission import Admission  # as above

    host, port = _listening(options.values["--listen"])
    tokens = _tokens(options, stored, sign_ins)
    if not is_loopback(host) and (tokens is None or not tokens.are_needed()):
        ways = ["Give a token of your own:    --token-env VARIABLE or --token-file FILE"]
        if stored is not None:
            ways.insert(0, "Make and store a token:      pipeguard tokens create NAME")
        ways.append(f"Listen for this machine:     --listen 127.0.0.1:{port}")
        raise PolicyError(
            f"--listen {options.values['--listen']}: other machines can reach this address, so"
            " clients need a token, and there is none.\n  " + "\n  ".join(ways)
        )
    hosts = frozenset(name.lower() for name in options.lists.get("--allow-host", ()))
    admission = Admission(
        host,
        hosts,
        frozenset(options.lists.get("--allow-origin", ())),
        tokens,
        limit_bytes,
        Backlog(limit_bytes + SPARE_BYTES),
        passed=set(),
    )
    return admission, port


def _listening(text: str) -> tuple[str, int]:
    from pipeguard.transports.http.server.admission import parse_host  # as above

    host, port = parse_host(text)
    if host is None or port is None:
        raise PolicyError(
            f"--listen {text}: give HOST:PORT, such as 127.0.0.1:8080; port 0 is any."
        )
    return host, port


def is_own_address(url: str, listen: str) -> bool:
    """True if a server's address is the one that a guard listens on, as far as names tell.

    Args:
        url: of the server.
        listen: the value of the guard's `--listen`; empty if it does not listen.
    """
    if not listen:
        return False
    try:
        there = read_url(url)
        host, port = _listening(listen)
    except PolicyError:
        return False
    name = there.host or ""
    is_here = is_loopback(name) and (is_loopback(host) or host in ("0.0.0.0", "::"))  # noqa: S104  binds none
    return there.port == port and (name == host or is_here)


def _requires_token(options: WrapOptions) -> bool:
    return bool(options.lists.get("--token-env") or options.values.get("--token-file"))


def _tokens_of_variables(pairs: Iterable[str]) -> dict[str, str]:
    """Tokens by name, from `NAME=VARIABLE` or `VARIABLE`."""
    tokens = dict[str, str]()
    for pair in pairs:
        name, _, variable = pair.rpartition("=")
        name, token = name or variable, os.environ.get(variable, "").strip()
        if not token:
            why = "this variable is not set, or empty. Clients send the token that it holds."
            raise PolicyError(f"--token-env {pair}: {why}")
        if name in tokens:
            raise PolicyError(
                f"--token-env {pair}: another token has the name {name}. Write NAME={variable}."
            )
        tokens[name] = token
    return tokens


def _tokens(
    options: WrapOptions, stored: StoredTokens | None, sign_ins: IssuedTokens | None
) -> Tokens | None:
    from pipeguard.transports.http.server.callers import Tokens  # as above

    if not _requires_token(options):
        return None if stored is None else Tokens(stored=stored, sign_ins=sign_ins)
    tokens = _tokens_of_variables(options.lists.get("--token-env", ()))
    IN_USE.add(tokens.values())
    path = options.values.get("--token-file")
    if path is None:
        return Tokens(lambda: tokens, stored, sign_ins)
    file = _TokenFile(Path(path))
    file.read()  # errors in it are reported at the start
    return Tokens(lambda: {**tokens, **file.read()}, stored, sign_ins)


# --- TLS --------------------------------------------------------------------------------------


def server_context(options: WrapOptions) -> ssl.SSLContext | None:
    """TLS for clients; None without a certificate.

    Raises:
        PolicyError: the certificate cannot be used.
    """
    if options.values.keys().isdisjoint(("--tls-cert", "--tls-key")):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificate(context, options, "tls")
    return context


def _client_context(options: WrapOptions) -> ssl.SSLContext:
    """TLS to a server; trusts the system's authorities, or only the given one."""
    authority = options.values.get("--ca")
    if authority is not None:
        try:
            context = ssl.create_default_context(cafile=authority)
        except (OSError, ssl.SSLError) as error:
            raise PolicyError(f"--ca {authority}: cannot be used: {_why(error)}.") from None
    else:
        import truststore

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load_certificate(context, options, "client")
    return context


def _load_certificate(context: ssl.SSLContext, options: WrapOptions, whose: str) -> None:
    option = f"--{whose}-cert"
    certificate, key = options.values.get(option), options.values.get(f"--{whose}-key")
    if certificate is None:
        if key is not None:
            raise PolicyError(f"--{whose}-key: give the certificate as well, with {option}.")
        return
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise PolicyError(f"{option} {certificate}: cannot be used: {_why(error)}.") from None


def _refuse_password() -> str:
    raise ValueError("its key is locked with a password, which is not supported")


def _why(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return (reason or str(error)).rstrip(".")
