"""The rule packs: those that are shipped, and the user's own. Finds and reads them; runs no rule.

Shipped packs are in the installed package, or in the repository next to it. The user's are in the
configuration folder, `rules/*.yaml` or `*.yml`; they add rules, and cannot change a shipped one.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

from pipeguard.config.directories import Trusted, config_folder, read_own
from pipeguard.errors import EngineError, RuleError
from pipeguard.records import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeguard.detect.rules.rule import Rule

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_PACK_BYTES = 4 * 1024 * 1024
_SUFFIXES = ".yaml", ".yml"


class PackFile(NamedTuple):
    """A pack's file.

    Attributes:
        path: of the file.
        content: its bytes.
        shipped: True if it comes with PipeGuard.
    """

    path: str
    content: bytes
    shipped: bool


def shipped_folder() -> str:
    """The folder of the packs that come with PipeGuard.

    Raises:
        RuleError: it does not exist, so nothing could be judged.
    """
    for above in (PACKAGE, os.path.dirname(PACKAGE)):
        folder = os.path.join(above, "rules")
        if os.path.isdir(folder):
            return folder
    raise RuleError("the rules are missing from this installation. Install PipeGuard again.")


def mapped_model(name: str) -> memoryview:
    """Map a classifier's file, which is next to the shipped packs.

    Processes share its pages, and read only the pages that they need.

    Like mapped code, it must not be truncated in place, which would end the process (SIGBUS):
    installers and version control replace the file instead.

    Raises:
        RuleError: it cannot be read.
    """
    import mmap

    try:
        with open(os.path.join(shipped_folder(), name), "rb", buffering=0) as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # ValueError: it is empty
        raise RuleError(f"{name} is missing from the rules: {error}") from None


def model(name: str) -> bytes:
    """Read a classifier's file.

    Raises:
        RuleError: it cannot be read.
    """
    return bytes(mapped_model(name))


def user_folder() -> str:
    """The folder of the user's own packs; it need not exist."""
    return os.path.join(config_folder(), "rules")


def sources() -> tuple[PackFile, ...]:
    """Every pack's file, the shipped ones first, each in the order of their names.

    Of two rules that are equally sure, the first is reported: a secret's format before its name.

    Raises:
        RuleError: a file cannot be read, or another user could have written it.
    """
    return *shipped_sources(), *_read_folder(user_folder(), is_shipped=False)


def shipped_sources() -> tuple[PackFile, ...]:
    """The files of the packs that come with PipeGuard, in the order of their names.

    Raises:
        RuleError: a file cannot be read, or another user could have written it.
    """
    packs = _read_folder(shipped_folder(), is_shipped=True)
    if not packs:
        raise RuleError("the rules are missing from this installation. Install PipeGuard again.")
    return packs


def load_rules(packs: Iterable[PackFile] | None = None) -> tuple[Rule, ...]:
    """Read the rules of every pack.

    Args:
        packs: their files; None to find them.

    Raises:
        RuleError: naming the pack, the rule and the error.
    """
    from pipeguard.detect.rules.rule import load_pack, locate

    rules = {}
    first: dict[str, str] = {}
    for source in sources() if packs is None else packs:
        try:
            text = source.content.decode()
        except UnicodeDecodeError:
            raise RuleError(f"{source.path} is not UTF-8.") from None
        # Tests try the expressions of shipped packs, which takes most of a second.
        pack = load_pack(text, source.path, proven=source.shipped)
        recipes = () if source.shipped else map(_find_wrong_recipe, pack, count())
        if wrong := [error for error in recipes if error is not None]:
            raise locate(wrong, text, source.path)
        for rule in pack:
            if rule.id in rules:
                raise RuleError(
                    f"{source.path}: {rule.id} is already in {first[rule.id]}.\n"
                    "  Give yours another id, or its pack another name."
                )
            rules[rule.id] = rule if source.shipped else rule._replace(own=True)
            first[rule.id] = source.path
    return tuple(rules.values())


def try_patterns(packs: Iterable[PackFile]) -> None:
    """Try each pattern by itself in the scan engine, in some milliseconds.

    Raises:
        RuleError: it does not take one, naming the pack, the line and the rule.
        EngineError: Hyperscan is missing.
    """
    from pipeguard.detect.matching.pattern_set import binding
    from pipeguard.detect.rules.rule import load_pack, locate

    binding()
    for source in packs:
        text = source.content.decode()
        tried = map(_find_rejected, load_pack(text, source.path, proven=source.shipped), count())
        if wrong := [error for error in tried if error is not None]:
            raise locate(wrong, text, source.path)


def _find_rejected(rule: Rule, index: int) -> RuleError | None:
    from pipeguard.detect.matching.pattern_set import PatternGroup, compile_group
    from pipeguard.detect.scanning.rule_groups import squeezed_pattern

    patterns = {"sign": rule.sign, "pattern": rule.pattern, "squeezed": squeezed_pattern(rule)[0]}
    for field, pattern in patterns.items():
        try:
            if pattern:
                compile_group(PatternGroup((0,), ((pattern, rule.ignore_case),)))
        except EngineError as error:
            name, keys = rule.id.partition(".")[2], ("rules", index)
            if field == "squeezed":
                return RuleError(f"{name}: without blanks, {error}", *keys, "views")
            return RuleError(f"{name}: `{field}`: {error}", *keys, field)
    return None


def _find_wrong_recipe(rule: Rule, index: int) -> RuleError | None:
    from pipeguard.rulebook.samples import expand

    for field in ("matches", "passes"):
        for number, sample in enumerate(getattr(rule, field)):
            try:
                expand(sample, 0)
            except RuleError as error:
                return RuleError(f"{rule.id}: {error}", "rules", index, field, number)
    return None


def _read_folder(folder: str, *, is_shipped: bool) -> tuple[PackFile, ...]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise RuleError(f"{folder} cannot be read: {error.strerror}.") from None
    trusted = Trusted.ANY_GROUP if is_shipped else Trusted.OWN_GROUP
    packs = []
    for name in sorted(names, key=lambda name: (os.path.splitext(name)[0], name)):
        if name.endswith(_SUFFIXES) and not name.startswith("."):
            path = os.path.join(folder, name)
            content = read_own(path, MAX_PACK_BYTES, RuleError, trusted=trusted)
            packs.append(PackFile(path, content, is_shipped))
    return tuple(packs)
