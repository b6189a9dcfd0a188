"""Skills: which files belong to one, and the digest of each (SEP-2640, "Skill Entries").

Reads a skill's entry, which is its definition; knows no messages, and reads no file.
"""

from bisect import bisect_left
from functools import lru_cache

from pipeguard.firewall.lazy_regex import lazy_regex
from pipeguard.firewall.protocol.json_values import JsonValue, as_list, as_object, read_object
from pipeguard.firewall.protocol.strict_json import parse_json
from pipeguard.firewall.protocol.uris import normal
from pipeguard.records import NamedTuple

MAIN_FILE = "SKILL.md"
MOST_STEPS = 64  # of the path of a skill's folder
MOST_MANIFESTS = 4096  # kept parsed: more than the pins of a server have room for
_MEASURED = lazy_regex(r"sha256:[0-9a-f]{64} [0-9]+")


class Manifest(NamedTuple):
    """The files of a skill.

    Attributes:
        digests: of each file, with a blank and its bytes, by its address in normal form.
        addresses: these, each with a slash at its end, sorted.
    """

    digests: dict[str, str]
    addresses: list[str]


def read_entry(entry: JsonValue) -> Manifest | None:
    """The manifest of a skill's entry; None for a dynamic skill.

    Raises:
        ValueError: a client must not load it, or clients may read it differently.
    """
    members = as_object(entry)
    main, listed = normal(str(members.get("uri"))), members.get("resources")
    name = read_object(members, "frontmatter").get("name")
    steps = main.split("/")
    if not name or steps[-2:] != [name, MAIN_FILE] or len(steps) > MOST_STEPS:
        raise ValueError("its name is not that of its folder")
    if listed == "dynamic":
        return None
    files = [*map(as_object, as_list(listed))]
    digests = {
        normal(str(file.get("uri"))): f"{file.get('digest')} {file.get('size')}" for file in files
    }
    if (
        main not in digests
        or len(digests) < len(files)
        or not all(file.startswith(main.removesuffix(MAIN_FILE)) for file in digests)
        or not all(map(_MEASURED.fullmatch, digests.values()))
    ):
        raise ValueError("its manifest does not have each of its files once, with digest and size")
    return Manifest(digests, sorted(f"{file}/" for file in digests))


@lru_cache(maxsize=MOST_MANIFESTS)
def read_manifest(definition: str) -> Manifest | None:
    """The manifest of a pinned entry, which is its JSON text."""
    return read_entry(parse_json(definition.encode()))


def has_file(manifest: Manifest | None, uri: str) -> bool:
    """True if a manifest has a file, or any file in a folder; a dynamic skill may have any."""
    if manifest is None:
        return True
    address = normal(uri).removesuffix("/") + "/"
    next_at = bisect_left(manifest.addresses, address)
    return any(file.startswith(address) for file in manifest.addresses[next_at : next_at + 1])
