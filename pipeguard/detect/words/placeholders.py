"""Words that are written in a secret's place; used by detect.checks.placeholders.

An entry here hides what it matches from the rules for secrets, so each is a word that no issuer
puts into a token. Entries are expressions, of any case.
"""

from __future__ import annotations

from pipeguard.detect.words.notation import word_set

# Long words, wherever they are: the rest of the text must be too short for a secret.
ANYWHERE = (
    *("examples?", "sample", "dummy", "test(?:ing)?", "fake", "placeholder"),
    *("change[-_ ]?(?:me|this|it)", "your", "insert", "replace", "redacted", "removed", "hidden"),
    *("masked", "todo", "none", "null", "undefined", "secret", "password", "passwd", "foobar"),
    *("lorem", "ipsum", "qwerty", "asdf", "mock", "demo", "default", "string", "token", "apikey"),
    *("access", "private", "credential", "value", "enter", "paste", "here", "something"),
    *("whatever", "invalid", "not[-_ ]?(?:a[-_ ]?)?real", "deadbeef", "cafebabe"),
)
# Short words, only where neither letters nor digits touch them.
ALONE = (
    *("my", "key", "api", "foo", "bar", "baz", "me", "the", "a", "an", "is", "abc", "pass", "user"),
    *("name", "todo", "tbd", "n/a", "id", "as", "x", "of", "for", "and"),
)
# Objects of programs and templates whose members are references: `process.env.TOKEN`.
OBJECTS = (
    *(r"process\.env", r"import\.meta\.env", r"os\.environ", "ENV", "env", "secrets", "vars?"),
    *("local", "data", "self", "this", "config", "settings", "process", "options", "args"),
    *("params", "props"),
)
# Schemes of vaults whose paths are references: `op://vault/item`.
VAULTS = ("vault", "op", "ssm", r"ref\+\w+", "secretsmanager", "keyvault")
# Endings of the names in capitals that manuals put in a secret's place: `KEYSTONE_DBPASS`.
NAME_ENDINGS = ("PASS(?:WD|WORD)?", "PWD", "SECRET", "TOKEN", "KEY")

# What people type first for a password, and what is in every example; whole and of any case.
WEAK_PASSWORDS = word_set(
    "postgres mysql mariadb mongo mongodb redis rabbitmq root admin administrator guest user "
    "username letmein qwerty qwerty123 welcome test testing changeit toor docker sa scott "
    "tiger hunter2 passw0rd p@ssw0rd p@ssword pass@word1 trustno1 foo bar baz pw pwd "
    "developer local localhost postgrespw supersecret topsecret"
)
