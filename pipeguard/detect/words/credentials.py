"""Words in the names of credentials: those that are common to all users, and what each adds.

Each table is COMMON, or COMMON_PARTS, and what its user adds. A word that names a credential
everywhere belongs in COMMON; one that does so in some places only, in the tables of those.

| table | used by | to find | adds |
|---|---|---|---|
| KEYS | detect.text.sensitive_keys | keys that are read with their values | short forms, German |
| NAMED | detect.flows.secret_values | values that a text calls a secret | short forms |
| ARGUMENTS | detect.checks.credential_names | arguments for a credential | ten languages |
| BEFORE_VALUE | detect.flows.text_values | what a command logs in with | `_key`, `auth` |
| OPTIONS | detect.checks.benign_commands | the same; without COMMON, as it lets commands pass | |
| SHOWN | clients.masking | settings whose values are masked | sessions, ids |
| SETTINGS | detect.checks.credential_names | secrets in clients' files | `jwt`, `pat`, `cookie` |
| IN_URLS | identity.words | parameters that are left out of a server's identity | signatures |
| LAST_WORDS | identity.words | options that are left out of it | `bearer` |
| VARIABLES | runtime.start | variables that a server may have missed | addresses |
| HEADERS | detect.checks.credential_names | headers that a command line must not have | cookies |

Tools that read or keep secrets are in detect.words.tools: SECRETS, SECRET_STORES.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_set

# Words, each whole.
COMMON = ("token", "secret", "password", "passwd")
# Parts of names that are written together, as `dbpassword` and `APIKEY`.
COMMON_PARTS = ("key", "token", "secret", "passw")

# -- before a value ------------------------------------------------------------------------------

# Schemes of `Authorization` (RFC 6750, RFC 7617), and GitHub's `token`.
SCHEMES = ("bearer", "basic", "token")
KEYS = (
    *COMMON_PARTS,
    *("pass", "pwd", "auth", "cred", "seed", "pat(?![a-z])", "bearer", "dsn", "cookie", "session"),
    *("phrase", "mnemonic", "private", "wort", "senha", "contras"),
)
NAMED = (*COMMON, "pass", "passphrase", "key", "credentials?", "dsn")
BEFORE_VALUE = (*COMMON, "pass", "auth", "_key", "api[_-]?key")
OPTIONS = ("p", "u", "user", "password", "token", "auth")

# -- names ---------------------------------------------------------------------------------------

ARGUMENTS = (
    *(*COMMON, "passphrase", "pwd", "api_?key", "dsn", "authorization", "auth", "credentials?"),
    *("private_key", "x-api-key", "connection_string", "passcode"),
    *("passwort", "kennwort", "geheimnis", "mot_?de_?passe", "mdp", "contraseña", "contrasena"),
    *("clave", "senha", "wachtwoord", "hasło", "haslo", "lösenord", "пароль", "密码"),
    *("パスワード", "비밀번호"),
)
SHOWN = (
    *(*COMMON_PARTS, "pwd", "auth", "bearer", "cookie", "session", "credential", "signature"),
    *(r"\bsig\b", "api-?id", "client-?id", "dsn", "connection"),
)
# The same where a text assigns a value: less, since any word may come before `=`.
SHOWN_BEFORE_VALUE = (*COMMON_PARTS, "pwd", "auth")
SETTINGS = frozenset(COMMON) | word_set(
    "passphrase pwd apikey credential credentials bearer cookie dsn authorization pat jwt"
)
SETTINGS_OF_TWO_WORDS = word_set(
    "api_key access_key private_key secret_key auth_token session_key session_id client_secret "
    "connection_string auth_key signing_key encryption_key account_key"
)
IN_URLS = (*COMMON_PARTS, "auth", "pass", "sig", "cred", "session")
LAST_WORDS = (*COMMON, "key", "auth", "credentials?", "bearer")
VARIABLES = (*COMMON_PARTS, "pass", "url", "host", "user")
HEADERS = (*COMMON_PARTS, "auth", "cookie")

# -- names of what is no credential --------------------------------------------------------------

# With `key` or `token` in a name, these say that the value is public. Used by
# detect.checks.randomness.
PUBLIC = word_set(
    "public pub publishable primary foreign partition sort cache idempotency next prev "
    "previous page paging pagination continuation cursor sync csrf xsrf nonce state etag hash "
    "hashed checksum digest sha fingerprint thumbprint object shard group routing map dict "
    "lookup index unique composite surrogate natural node react theme color locale feature "
    "path file dir folder uri endpoint field column schema prefix suffix length size count "
    "limit max min num total ttl sequence seq query list device push resume progress cancel "
    "correlation trace span request commit tree blob build version revision placeholder regex "
    "change lock starting lifecycle purchase update refund pattern license test site "
    "integrity resolved encrypted sealed websocket"
)
# The same before `api_key` and `api_token`, where other words are the names of services.
PUBLIC_OF_APIS = word_set(
    "public pub publishable csrf xsrf cache idempotency hash hashed digest placeholder test site "
    "encrypted sealed resolved"
)
# The same for settings in a client's file; used by detect.checks.credential_names.
OTHER_KEYS = word_set("public sort primary partition cache foreign index group hot object project")
# Last words of names that are about a secret: `token_count`.
ABOUT_SECRETS = word_set(
    "limit max min count size length ttl type mode name file path dir url uri endpoint host prefix "
    "suffix header method expiry lifetime timeout budget id algorithm format enabled required "
    "command helper provider store model tokens"
)
