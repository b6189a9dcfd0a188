"""Small changes of the user's policy file, which keep its comments and order.

Each is read again before it is returned, and must have the intended meaning.
"""

import datetime
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeguard.config.container import Container
from pipeguard.config.policy_file import (
    PolicyFile,
    PolicyScope,
    parse_policy,
    policy_text,
    written_exceptions,
)
from pipeguard.config.tree import (
    Edit,
    UneditableError,
    UnreadableError,
    apply_edits,
    next_line,
)
from pipeguard.config.yaml_text import Yaml
from pipeguard.errors import PolicyError
from pipeguard.firewall.policy import Mode

_KEY = "exceptions"


def read_policy(path: str, today: datetime.date) -> tuple[str, PolicyFile]:
    """Read the user's policy file, which need not exist: its text and its settings.

    Raises:
        PolicyError: the file is invalid.
    """
    text = policy_text(path, PolicyScope.USER) if Path(path).exists() else ""
    return text, parse_policy(text, path, PolicyScope.USER, today=today)


def prove(
    path: str, today: datetime.date, change: Callable[[], str], means: Callable[[PolicyFile], bool]
) -> str | None:
    """Make a change, and check the text that it makes.

    Args:
        path: of the file.
        today: the date.
        change: makes the text.
        means: True for the settings that the text must have.

    Returns:
        The text; None if its settings differ, or the file's layout leaves no safe way.
    """
    with suppress(UneditableError, UnreadableError, PolicyError):
        changed = change()
        if means(parse_policy(changed, path, PolicyScope.USER, today=today)):
            return changed
    return None


def says(wanted: PolicyFile) -> Callable[[PolicyFile], bool]:
    """Compare a file's settings with the intended ones, for `prove`."""
    return lambda file: file == wanted._replace(notes=file.notes)


def without_exception(path: str, position: int, today: datetime.date) -> str:
    """Remove an exception from a policy file's text; nothing is written.

    Args:
        path: of the user's policy file.
        position: of the exception in its list, from 0.
        today: the date.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe way to remove it.
    """
    text, before = read_policy(path, today)
    written = written_exceptions(text, path, today)
    left = [each.exempt for each in written if each.position != position]
    active = [each for each in left if each.until is None or each.until > 0.0]
    wanted = before._replace(layer=before.layer._replace(exceptions=tuple(active)))

    def remove() -> str:
        container = Container(text, Yaml(), (_KEY,))
        return container.replace_entries([position], []) if left else _without_key(text)

    if (changed := prove(path, today, remove, says(wanted))) is not None:
        return changed
    line = next((each.line for each in written if each.position == position), 0)
    if not line:
        raise PolicyError(f"{path} no longer has this exception.")
    raise PolicyError(
        f"{path} is written so that nothing can be removed safely.\n"
        f"  Remove the exception in line {line} by hand."
    )


def with_mode(path: str, mode: Mode, today: datetime.date) -> str:
    """Change the mode in a policy file's text; nothing is written.

    Args:
        path: of the user's policy file, which need not exist.
        mode: the new one.
        today: the date.

    Raises:
        PolicyError: the file is invalid, or its layout leaves no safe way to change it.
    """
    text, before = read_policy(path, today)
    changed = prove(path, today, lambda: _with_mode(text, mode), says(before._replace(mode=mode)))
    if changed is not None:
        return changed
    raise PolicyError(
        f"{path} is written so that its mode cannot be changed safely.\n"
        f"  Write `mode: {mode.value}` into it by hand."
    )


def _with_mode(text: str, mode: Mode) -> str:
    root = Yaml().read(text)
    member = root.member("mode")
    if member:
        return apply_edits(text, [Edit(member.value.start, member.value.end, mode.value)])
    start = root.members[0].start if root.members else len(text)
    gap = "" if not text[:start] or text[:start].endswith("\n") else "\n"
    return apply_edits(text, [Edit(start, start, f"{gap}mode: {mode.value}\n")])


def _without_key(text: str) -> str:
    """The text without its exceptions, which may be its only key."""
    root = Yaml().read(text)
    member = root.member(_KEY)
    if not member:
        raise UneditableError("the key is not there.")
    if len(root.members) > 1:
        return apply_edits(text, Yaml().remove(root, [member], text))
    return apply_edits(text, [Edit(member.start, next_line(text, member.end), "")])
