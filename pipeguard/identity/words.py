"""The words of a command, without their versions: programs, packages, images, addresses and paths.

Knows the forms of words, not their meaning to a program. Reads no file and connects to no address.
"""

import os.path
import re
from collections.abc import Sequence

from pipeguard.detect.words import credentials
from pipeguard.identity.launchers import WORDS

# Expressions as texts: most commands need none of them, and compiling all takes 4 ms.
_VERSION = r"(?<![A-Za-z0-9])v?\d+(?:\.\d+)+(?:[-+.]?(?:rc|alpha|beta|dev|post)[\w.]*)?"
# A random-looking text is a key, which changes when it is renewed.
_KEY = r"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[\w+=-]{20,}|[0-9a-f]{32,}"
_NAME_OF_A_KEY = rf"(?i)(?:{credentials.alternatives('LAST_WORDS')})\Z"
# Folders of programs installed for all projects of a user: their path does not identify a server.
_INSTALLED = (
    r"(?:/usr(?:/local)?)?/s?bin/|/opt/homebrew/|/home/linuxbrew/|/nix/store/|/snap/|"
    r"~/(?:\.local/bin|\.cargo/bin|go/bin|\.nvm|\.volta|\.bun|\.deno|\.asdf)/"
)
# Characters that end a name and begin a version, an extra or a tag (PEP 508, npm, OCI).
_ENDS_OF_A_NAME = "[=<>!~@;: "
URL = r"(?i:https?|wss?)://([^/?#]*)([^?#]*)(?:\?([^#]*))?"
_SCHEMES = ("http://", "https://", "ws://", "wss://")
LONG_VALUE = 20  # characters: a value of the query as long as that counts as a key


def distinguishing_words(
    rest: Sequence[str], folder: str, *, with_folders: bool = True
) -> list[str]:
    """The arguments that may identify the server: all but settings, numbers and keys.

    Args:
        rest: a program's arguments.
        folder: the folder that it starts in.
        with_folders: False for a program that has a path of its own, because it is the same server
            whatever folders it works on.
    """
    distinguishing: list[str] = []
    is_skipped = False
    for word, behind in zip(rest, [*rest[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        option = name.lstrip("-") if word.startswith("-") and not equals else ""
        if is_skipped:
            is_skipped = False
        elif re.search(_NAME_OF_A_KEY, name):
            is_skipped = bool(option) and not behind.startswith("-")
        elif option in WORDS.SETTINGS or (option == "p" and behind.isdigit()):
            is_skipped = True
        elif WORDS.SAY_LITTLE.isdisjoint((word, option)):
            own = value if equals else word
            if with_folders or not own.startswith((".", "/", "~")) or is_file(own):
                text = _normalize(own, folder)
                distinguishing.append(f"{name}={text}" if equals else text)
            elif equals:
                distinguishing.append(name)
    return [word for word in distinguishing if word]


def _normalize(word: str, folder: str) -> str:
    """A word without keys and versions, with `#` for a number at its end, and absolute paths."""
    if is_url(word):
        return identity_of_url(word)
    if re.fullmatch(_KEY, word):
        return ""
    if word.startswith((".", "~")) or is_file(word) or ending(word) in WORDS.SCRIPT_ENDINGS:
        word = absolute(word, folder)
    return strip_versions(re.sub(r"(?<![^:])\d+\Z", "#", word))


# --- paths and programs ---


def is_file(word: str) -> bool:
    """True for a word with the form of a file's path."""
    return "/" in word and not is_url(word) and re.search(r"[^/]\.\w{1,6}\Z", word) is not None


def absolute(word: str, folder: str) -> str:
    """An absolute path; a Windows path stays as it is, with slashes."""
    path = word.replace("\\", "/")
    if path[1:2] == ":":
        return path
    return os.path.abspath(os.path.join(folder, os.path.expanduser(word)))


def strip_versions(path: str) -> str:
    """A path without the versions in it: `ext-1.2.3` is the same as `ext-1.3.0`."""
    return re.sub(_VERSION, "*", path)


def base(word: str) -> str:
    """The last part of a path."""
    return word.replace("\\", "/").rsplit("/", 1)[-1]


def ending(word: str) -> str:
    """The text after the last dot, in lower case."""
    return base(word).rpartition(".")[2].lower()


def program_name(word: str) -> str:
    """The program that a word names: `python` for `/usr/bin/python3.12`, `npx` for `npx.cmd`."""
    name = base(word)
    if ending(name) in WORDS.PROGRAM_ENDINGS:
        name = name.rpartition(".")[0] or name
    return "python" if name.rstrip("0123456789.") == "python" else name


def find_stem(word: str) -> str:
    """The last part of a path, without the ending of a script or program."""
    is_known = ending(word) in WORDS.SCRIPT_ENDINGS | WORDS.PROGRAM_ENDINGS
    return base(word).rpartition(".")[0] if is_known else base(word)


def is_installed(path: str) -> bool:
    """True for a program in a folder of installed programs, and not of a project."""
    home_folder = os.path.expanduser("~").rstrip("/")
    if home_folder:
        path = path.replace(f"{home_folder}/", "~/", 1)
    return bool(re.match(_INSTALLED, path))


# --- packages, images and addresses ---


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
        return strip_versions(f"{scheme.lower()}://{host}{slash}{path}{within}")
    if word.startswith((".", "/", "~")) or word[1:2] == ":":
        return strip_versions(absolute(word, folder))
    for registry in ("npm:", "jsr:"):
        word = word.removeprefix(registry)
    if re.search(r".@(?:npm|file|link|git[\w+]*|github|https?):", word):
        return word  # a different package under this name
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


def is_url(word: str) -> bool:
    """True for an http(s) or ws(s) address."""
    return word[:8].lower().startswith(_SCHEMES)


def identity_of_url(url: str) -> str:
    """The host, the path, and the query without values that look like keys."""
    matched = re.match(URL, url)
    if not matched:
        return url
    host = matched[1].rpartition("@")[2].lower().removesuffix(":443").removesuffix(":80")
    path = "/".join(part for part in matched[2].split("/") if part)
    for ending in ("mcp", "sse", "ws"):
        path = path.removesuffix(ending).rstrip("/")
    pairs = [pair for pair in (matched[3] or "").split("&") if pair]
    of_keys = credentials.in_order("IN_URLS")
    public = [
        pair
        for pair in sorted(pairs)
        if not any(part in pair.partition("=")[0].lower() for part in of_keys)
        and len(pair.partition("=")[2]) < LONG_VALUE
    ]
    return "?".join(filter(None, (f"{host}/{path}", "&".join(public))))
