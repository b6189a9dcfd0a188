"""Names of packages, images and repositories, without versions and tags. Asks no registry."""

from __future__ import annotations

import re

from pipeguard.identity.arguments import absolute, unversioned

# Characters that end a name and begin a version, an extra or a tag (PEP 508, npm, OCI).
_ENDS_OF_A_NAME = "[=<>!~@;: "


def image_name(word: str) -> str:
    """An image's name without tag and digest, and without the usual registry."""
    name = word.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = f"{head}{slash}{tail.partition(':')[0]}".lower()
    for usual in ("index.docker.io/", "docker.io/", "library/"):
        name = name.removeprefix(usual)
    return name


def source_name(word: str, folder: str) -> str:
    """A package, repository or path without its version."""
    if "://" in word:
        scheme, _, rest = word.partition("://")
        address, _, fragment = rest.partition("#")
        host, slash, path = address.partition("?")[0].partition("/")
        path = path.partition("@")[0].removesuffix(".git")
        within = f"#{fragment}" if "subdirectory" in fragment else ""
        host = host.rpartition("@")[2].lower()
        return unversioned(f"{scheme.lower()}://{host}{slash}{path}{within}")
    if word.startswith((".", "/", "~")) or word[1:2] == ":":
        return unversioned(absolute(word, folder))
    for registry in ("npm:", "jsr:"):
        word = word.removeprefix(registry)
    if re.search(r".@(?:npm|file|link|git[\w+]*|github|https?):", word):
        return word  # another package under this name
    word = word.partition("#")[0] or word
    prefix, word = ("github:", word[7:]) if word.startswith("github:") else ("", word)
    first, name = word[:1], word[1:]
    for character in _ENDS_OF_A_NAME:
        name = name.partition(character)[0]
    return f"{prefix}{first}{name}"


def short_name(word: str) -> str:
    """The last part of a package's, an image's or a module's name, without its version."""
    for registry in ("npm:", "jsr:"):
        if word.startswith(registry):
            word = word.removeprefix(registry)
            if not word.startswith("@"):
                word = word.partition("/")[0]
    parts = word.split("/")
    name = parts[1] if word.startswith("@") and len(parts) > 1 else parts[-1]
    for character in _ENDS_OF_A_NAME:
        name = name.partition(character)[0] or name
    return name
