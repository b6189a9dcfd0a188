"""From options to addresses: the server that is reached, and the place where clients come in."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from yarl import URL

from pipeguard.config.directories import read_own
from pipeguard.config.options import WrapOptions
from pipeguard.core.checks.addresses import is_loopback
from pipeguard.core.checks.credential_names import is_secret_header
from pipeguard.errors import InputError, PolicyError
from pipeguard.launch.environment import REFERENCE, refers
from pipeguard.secrets_in_use import IN_USE, in_use
from pipeguard.transports.http.client.upstream import Authorization, Remote
from pipeguard.transports.http.server.admission import Entrance, Tokens, host_of, named

if TYPE_CHECKING:
    from pipeguard.auth.bearer import Bearer

SCHEMES = ("http", "https", "ws", "wss")
TRANSPORTS = ("auto", "streamable-http", "sse", "websocket")
MAX_TOKEN_FILE_BYTES = 2**20
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110, section 5.1
_WORDS = re.compile(r"[A-Za-z]{1,20}(?:[ ,_.-][A-Za-z]{1,20})*\Z")


def url_of(text: str) -> URL:
    """The address of a server.

    Raises:
        PolicyError: it is none, or holds a password.
    """
    try:
        url = URL(text) if text.split() == [text] else URL()
    except ValueError:
        url = URL()
    if url.scheme not in SCHEMES or not url.host:
        raise PolicyError("--upstream: give an address that begins with http, https, ws or wss.")
    if url.user is not None or url.password is not None:
        raise PolicyError(
            "--upstream: an address with a password in it can be read by others on this machine."
            " Use --bearer-env or --header-env."
        )
    return url.with_fragment(None)


def transport_of(options: WrapOptions, url: URL) -> str:
    """Which transport is spoken; `auto` where the server is to be asked.

    Raises:
        PolicyError: there is no such one, or not at such an address.
    """
    given = options.values.get("--transport", "auto")
    if given not in TRANSPORTS:
        raise PolicyError(f"--transport {given}: there are {', '.join(TRANSPORTS)}.")
    is_socket = url.scheme in ("ws", "wss")
    if is_socket != (given == "websocket") and given != "auto":
        raise PolicyError(f"--transport {given}: not at an address that begins with {url.scheme}.")
    return "websocket" if is_socket else given


def remote_of(
    options: WrapOptions,
    environment: Mapping[str, str],
    limit_bytes: int,
    authorization: Authorization | None = None,
) -> Remote:
    """The server that the options name, with its headers and its TLS.

    Raises:
        PolicyError: an option is wrong, or names a variable that is not set.
    """
    url = url_of(options.values["--upstream"])
    headers = _headers(options, environment)
    own = "Authorization" in headers or authorization is not None
    return Remote(
        url,
        headers,
        None if "Authorization" in headers else authorization,
        _context(options) if url.scheme in ("https", "wss") else None,
        limit_bytes,
        passes_credentials=not own and not _asks_for_token(options),
    )


def login_of(options: WrapOptions) -> Bearer | None:
    """A login of ours for the server, made with `pipeguard auth login`; it may not exist yet.

    None where the options give a credential, or where tokens would go there in clear.
    """
    given = [*options.lists.get("--header", ()), *options.lists.get("--header-env", ())]
    named = any(one.lower().startswith("authorization") for one in given)
    if named or "--bearer-env" in options.values:
        return None
    from pipeguard.auth.bearer import Bearer
    from pipeguard.auth.store import LoginStore

    url = url_of(options.values["--upstream"])
    scheme = {"ws": "http", "wss": "https"}.get(url.scheme, url.scheme)
    try:
        return Bearer(str(url.with_scheme(scheme)), LoginStore())
    except InputError:
        return None


def entrance_of(
    options: WrapOptions, environment: Mapping[str, str], limit_bytes: int
) -> tuple[Entrance, int]:
    """Who may come in, and at which port.

    Raises:
        PolicyError: an option is wrong, or others than this machine could come in unasked.
    """
    host, port = _listening(options.values["--listen"])
    tokens = _tokens(options, environment)
    if tokens is None and not is_loopback(host):
        raise PolicyError(
            f"--listen {options.values['--listen']}: others could reach this address, so a token"
            " is needed. Give --token-env VARIABLE or --token-file FILE, or listen on 127.0.0.1."
        )
    hosts = frozenset(name.lower() for name in options.lists.get("--allow-host", ()))
    origins = frozenset(options.lists.get("--allow-origin", ()))
    return Entrance(host, hosts, origins, tokens, limit_bytes), port


def server_context(options: WrapOptions) -> ssl.SSLContext | None:
    """TLS for clients that come in; None for none.

    Raises:
        PolicyError: the certificate cannot be used.
    """
    certificate, key = options.values.get("--tls-cert"), options.values.get("--tls-key")
    if certificate is None:
        if key is not None:
            raise PolicyError("--tls-key: give the certificate as well, with --tls-cert.")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, certificate, key, "--tls-cert")
    return context


def named_variables(pairs: Iterable[str]) -> frozenset[str]:
    """Of options as `NAME=VARIABLE`, the variables: what they hold is for us alone."""
    return frozenset(pair.rpartition("=")[2] for pair in pairs)


def name_of(url: URL) -> str:
    """A name for a server at an address, as `mcp.example.com` or `localhost-8080-mcp`."""
    parts = [url.host or ""]
    if not url.is_default_port() and url.port is not None:
        parts.append(str(url.port))
    path = "-".join(part for part in url.path.split("/") if part not in ("", "mcp", "sse", "ws"))
    return "-".join([*parts, *([path] if path else [])]).replace(":", "-")


def _headers(options: WrapOptions, environment: Mapping[str, str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for given in options.lists.get("--header", ()):
        name, colon, value = given.partition(":")
        if not colon or not _NAME.match(name.strip()):
            raise PolicyError("--header: give 'NAME: VALUE'.")
        if is_secret_header(name) and "--secret-arguments" not in options.flags:
            raise PolicyError(
                f"--header {name.strip()}: its value could be read by others on this machine. Put"
                f" it into a variable: --header-env {name.strip()}=VARIABLE. If you insist:"
                " --secret-arguments."
            )
        value = _value(value, f"--header {name.strip()}")
        headers[name.strip()] = in_use(value) if is_secret_header(name) else value
    for given in options.lists.get("--header-env", ()):
        name, equals, variable = given.partition("=")
        if not equals or not _NAME.match(name) or not variable:
            raise PolicyError("--header-env: give NAME=VARIABLE.")
        value = _variable(variable, environment, "--header-env")
        # A tenant or a mode by its name is no secret, and stands in honest results.
        headers[name] = (
            in_use(value) if is_secret_header(name) or not _WORDS.match(value) else value
        )
    bearer = options.values.get("--bearer-env")
    if bearer is not None:
        headers["Authorization"] = "Bearer " + in_use(
            _variable(bearer, environment, "--bearer-env")
        )
    return {
        name.title() if name.lower() == "authorization" else name: value
        for name, value in headers.items()
    }


def _variable(name: str, environment: Mapping[str, str], option: str) -> str:
    """The value of a variable, or of the secret that it or the option refers to."""
    value = name if name.startswith(REFERENCE) else environment.get(name, "")
    if not value.strip():
        raise PolicyError(f"{option} {name}: this variable is not set, or empty.")
    if refers({name: value}):
        from pipeguard.auth.secrets import resolved

        value = resolved(value, f"{option} {name}")
    return _value(value, f"{option} {name}")


def _value(value: str, what: str) -> str:
    value = value.strip()
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in value):
        raise PolicyError(f"{what}: a header cannot hold a line end or a control character.")
    return value


def _context(options: WrapOptions) -> ssl.SSLContext:
    """TLS that trusts what the system trusts, or just the given authority."""
    authority = options.values.get("--ca")
    if authority is not None:
        try:
            context = ssl.create_default_context(cafile=authority)
        except (OSError, ssl.SSLError) as error:
            raise PolicyError(f"--ca {authority}: cannot be used: {_why(error)}.") from None
    else:
        import truststore

        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificate, key = options.values.get("--client-cert"), options.values.get("--client-key")
    if certificate is not None:
        _load(context, certificate, key, "--client-cert")
    elif key is not None:
        raise PolicyError("--client-key: give the certificate as well, with --client-cert.")
    return context


def _load(context: ssl.SSLContext, certificate: str, key: str | None, option: str) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise PolicyError(f"{option} {certificate}: cannot be used: {_why(error)}.") from None


def _no_password() -> str:
    raise ValueError("its key is locked with a password, which is not supported")


def _why(error: Exception) -> str:
    told = error.strerror if isinstance(error, OSError) else None
    return (told or str(error)).rstrip(".")


def _listening(text: str) -> tuple[str, int]:
    host, (_, colon, port) = host_of(text), text.rpartition(":")
    if host is None or not colon or not port.isdigit():
        raise PolicyError(f"--listen {text}: give HOST:PORT, as 127.0.0.1:8080; port 0 is any.")
    return host, int(port)


def _asks_for_token(options: WrapOptions) -> bool:
    return bool(options.lists.get("--token-env") or options.values.get("--token-file"))


def _tokens(options: WrapOptions, environment: Mapping[str, str]) -> Tokens | None:
    if not _asks_for_token(options):
        return None
    pairs = options.lists.get("--token-env", ())
    held = named(pairs, environment)
    if len(held) != len(pairs):
        raise PolicyError("--token-env: a variable is not set or empty, or two have one name.")
    IN_USE.add(held.values())
    path = options.values.get("--token-file")
    if path is None:
        return Tokens(lambda: held)
    file = _TokenFile(Path(path), held)
    file()  # a file that is wrong is told at the start
    return Tokens(file)


class _TokenFile:
    """Tokens of a file, one on a line as `NAME TOKEN`, read anew each time they are asked for.

    No stamp of the file is gone by: an edit can keep its size and its times.
    """

    def __init__(self, path: Path, held: Mapping[str, str]) -> None:
        self._path = path
        self._held = held
        self._content: bytes | None = None  # as it was read last
        self._fault = ""
        self._tokens: dict[str, str] = {}

    def __call__(self) -> Mapping[str, str]:
        """The tokens as they are now; of a file that is gone or not believed by now, none.

        Raises:
            PolicyError: it could not be read, or believed, from the start.
        """
        try:
            self._take(read_own(str(self._path), MAX_TOKEN_FILE_BYTES, PolicyError))
            self._fault = ""
        except (PolicyError, UnicodeDecodeError) as error:
            if self._content is None:
                raise PolicyError(f"--token-file {self._path}: {error}") from None
            self._take(b"")
            if str(error) != self._fault:
                from pipeguard.log import say

                say(f"--token-file {self._path}: no token in it lets in any more. {error}")
                self._fault = str(error)
        return {**self._held, **self._tokens}

    def _take(self, content: bytes) -> None:
        if content == self._content:
            return
        lines = content.decode("utf-8").splitlines()
        pairs = [line.split(None, 1) for line in lines if line.strip()[:1] not in ("", "#")]
        self._tokens = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}
        IN_USE.add(self._tokens.values())
        self._content = content
