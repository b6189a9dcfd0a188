"""Checks of stored data: the state folder, the store, audit, pins, logins and their keyring."""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from pipeguard.clients.masking import masked_url
from pipeguard.doctor.diagnosis import Case, Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.errors import AuthError
from pipeguard.installation import installed_extras, reinstall_command
from pipeguard.state.paths import STATE_DIR_VARIABLE, STORE_NAME, state_folder
from pipeguard.unicode.display import pluralize

STATE_UNUSABLE = 4  # StateError.exit_code
KEYRING_SECONDS = 10.0  # for an answer; after that, it waits for somebody to unlock it
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
LEAST_BYTES = 2**17  # of room: a new store has 80 KiB
_SERVICE = "pipeguard doctor"


def state(case: Case) -> Iterable[Diagnosis]:
    """True if pins and audit have a folder that only we can access."""
    folder = state_folder()  # StateError says what to do
    fix = _owning_command(folder)
    if fix and fix.startswith("sudo"):
        yield wrong(f"{folder} belongs to another user, who could change its pins", fix)
    elif fix:
        yield note(f"others may list {folder}; its files are closed to them", fix)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(LEAST_BYTES))  # a full disk takes an empty file
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        way = "free some space" if is_full else f"chmod u+rwx {shlex.quote(str(folder))}"
        yield wrong(
            f"{folder} cannot be written: {(error.strerror or 'no reason given').lower()}",
            f"{way}, or name another in {STATE_DIR_VARIABLE}",
        )
        return
    named = f", as {STATE_DIR_VARIABLE} says" if case.environment.get(STATE_DIR_VARIABLE) else ""
    if not fix:
        yield good(f"{folder}{named}")


def store(_case: Case) -> Iterable[Diagnosis]:
    """True if the store can be read and written, and is not damaged."""
    from pipeguard.state.database import move_away
    from pipeguard.state.store import Store

    path = _store_path()
    if path is None:
        yield good("none yet: the first guarded server creates it")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    with Store.open(path) as opened:
        if mode & _OTHERS and stat.S_IMODE(path.stat().st_mode) & _OTHERS == 0:
            yield note(f"others could read {path} (mode {mode:o}); that is fixed now")
        damage = opened.damage()
        if damage:
            yield wrong(
                f"{path} is damaged: {' '.join(damage.split())}. Its pins and audit are lost",
                move_away(path),
            )
            return
        with opened.transaction():
            pins = opened.count_pins()
    yield good(f"{path}: {pluralize(pins, 'pin')}, {_megabytes(path)}")


def audit(_case: Case) -> Iterable[Diagnosis]:
    """True if no row of the audit was changed, moved or removed."""
    from pipeguard.state.audit import chains
    from pipeguard.state.store import Store
    from pipeguard.state.verification import verify

    path = _store_path()
    if path is None:
        yield good("nothing has happened yet")
        return
    problems = verify(path)
    if problems:
        first, count = problems[0], len(problems)
        yield wrong(
            f"the audit was changed: {pluralize(count, 'problem')}, the first: "
            f"{first.chain or 'chains'}: {first.what}",
            "pipeguard audit verify",
        )
        return
    with Store.open(path) as opened:
        listed = list(chains(opened))
    rows = sum(chain.length for chain in listed)
    yield good(f"{pluralize(rows, 'row')} in {pluralize(len(listed), 'chain')}, unchanged")


def pins(_case: Case) -> Iterable[Diagnosis]:
    """True if a definition waits for a person."""
    from pipeguard.state.review import held_definitions
    from pipeguard.state.store import Store

    path = _store_path()
    if path is None:
        yield good("nothing has been seen yet")
        return
    with Store.open(path) as opened:
        waiting = held_definitions(opened)
        servers = len(opened.servers())
    if not waiting:
        yield good(f"{pluralize(servers, 'server')}; nothing waits for your approval")
        return
    names = ", ".join(entry.target for entry in waiting[:3]) + (", …" if len(waiting) > 3 else "")
    count = "1 definition waits" if len(waiting) == 1 else f"{len(waiting)} definitions wait"
    yield note(f"{count} for your approval, and cannot be used: {names}", "pipeguard diff")


def keyring(_case: Case) -> Iterable[Diagnosis]:
    """True if the system's keyring returns what is stored in it, for logins and secrets."""
    from pipeguard.auth.place import Place
    from pipeguard.auth.store import LoginStore

    needed = any(login.place is Place.KEYRING for login in LoginStore().logins())
    problem = _try_keyring()
    file = "pipeguard auth login URL --store file"
    if not problem:
        yield good("it returns what was stored")
    elif needed:
        yield wrong(f"{problem}, and logins are stored in it", f"Unlock it, or:  {file}")
    else:
        fix = "Unlock one, or give `auth login` and `secrets set` the option --store file."
        yield note(f"{problem}; only logins and secrets need it", fix)


def logins(case: Case) -> Iterable[Diagnosis]:
    """True if a login has ended, cannot be renewed, or lacks what its server asks for."""
    from pipeguard.auth.server import login_command
    from pipeguard.auth.store import LoginStore

    stored = LoginStore().logins()
    if stored and "oauth" not in installed_extras():
        yield wrong("no login can be renewed without the extra 'oauth'", reinstall_command("oauth"))
    for login in stored:
        where = f"{login.name} ({masked_url(login.server)})"
        # An address with a secret is not shown; the login's name means the same.
        hidden = masked_url(login.server) != login.server
        again = login_command(login.name if hidden else login.server)
        if login.has_ended(case.now):
            yield wrong(f"the login to {where} has expired", again)
        elif login.wanted:
            yield note(f"{where} asks for more than was granted: {login.wanted}", again)
    if not stored:
        yield good("none")
    elif not any(login.has_ended(case.now) for login in stored):
        yield good(f"{pluralize(len(stored), 'login')}, none expired")


CHECKS = (
    InstallationCheck("state", "state folder", state, exit_code=STATE_UNUSABLE),
    InstallationCheck("store", "store", store, needs="state", exit_code=STATE_UNUSABLE),
    InstallationCheck(
        "audit", "audit", audit, needs="store", waits="following the chains of the audit"
    ),
    InstallationCheck("pins", "pins", pins, needs="store"),
    InstallationCheck("keyring", "keyring", keyring, needs="state", waits="asking the keyring"),
    InstallationCheck("logins", "logins", logins, needs="state"),
)


def _owning_command(folder: Path) -> str:
    """The command that makes a folder ours, and unreadable to others; empty if it is."""
    if os.name != "posix":
        return ""
    status, quoted = folder.stat(), shlex.quote(str(folder))
    if status.st_uid != os.geteuid():
        return f"sudo chown {os.geteuid()} {quoted}"
    return f"chmod 700 {quoted}" if status.st_mode & _OTHERS else ""


def _store_path() -> Path | None:
    """The store, or None if there is none yet; does not create it."""
    path = state_folder() / STORE_NAME
    return path if path.exists() else None


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"


def _try_keyring() -> str:
    """Why the keyring cannot be used; empty if it works.

    Tried in a thread, because a locked keyring may wait for a person for ever.
    """
    problems: list[str] = []
    trial = threading.Thread(target=lambda: problems.append(_keyring_problem()), daemon=True)
    trial.start()
    trial.join(KEYRING_SECONDS)
    return problems[0] if problems else f"it did not answer within {KEYRING_SECONDS:.0f} s"


def _keyring_problem() -> str:
    from pipeguard.auth import ring

    text = secrets.token_hex(8)
    try:
        ring.must_work()
        accounts = ring.put(_SERVICE, text)
        returned = ring.read_text(_SERVICE, accounts)
        ring.drop(_SERVICE, accounts)
    except AuthError as error:
        return str(error).splitlines()[0].rstrip(".")
    except ImportError as error:
        return f"{error.name or 'a module of it'} cannot be imported"
    return "" if returned == text else "it does not return what was stored"
