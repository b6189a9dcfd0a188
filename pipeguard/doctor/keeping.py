"""Checks of stored data: the state folder, the store, audit, pins, logins and their keyring."""

import secrets
import tempfile
import threading
import time
from collections.abc import Iterable

from pipeguard.auth.store import LoginStore
from pipeguard.clients.machine import Machine
from pipeguard.clients.masking import masked_url
from pipeguard.config.directories import Trusted, closing_command, other_writer
from pipeguard.doctor.diagnosis import Diagnosis, InstallationCheck, good, note, wrong
from pipeguard.errors import AuthError
from pipeguard.installation import INSTALL_AGAIN, installed_extras
from pipeguard.state.paths import STATE_DIR_VARIABLE, existing_store, state_folder
from pipeguard.state.store import open_existing_store
from pipeguard.unicode.display import pluralize

STATE_UNUSABLE = 4  # StateError.exit_code
KEYRING_SECONDS = 10.0  # for an answer; after that, it waits for somebody to unlock it
LEAST_BYTES = 2**17  # of room: a new store has 80 KiB
_SERVICE = "pipeguard doctor"


def state(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that pins and audit have a folder that only we can access."""
    folder = state_folder()  # StateError says what to do
    status = folder.stat()
    if who := other_writer(status, Trusted.ONLY_US):
        fix = closing_command(str(folder), status, Trusted.ONLY_US)
        yield wrong(f"{who} could change {folder}", fix)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(LEAST_BYTES))  # a full disk takes an empty file
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        fix = f"Name a folder with some room in {STATE_DIR_VARIABLE}."
        yield wrong(f"{folder} cannot be written: {why}", fix)
        return
    if not who:
        yield good(str(folder))


def store(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that the store can be read and written, and is not damaged."""
    from pipeguard.state.database import move_away

    opened = open_existing_store()
    if opened is None:
        yield good("none yet: the first guarded server creates it")
        return
    path = opened.path
    with opened:
        damage = opened.damage()
        if damage:
            yield wrong(f"{path} is damaged: {' '.join(damage.split())}", move_away(path))
            return
        with opened.transaction():
            pins = opened.count_pins()
    yield good(f"{path}: {pluralize(pins, 'pin')}")


def audit(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that no row of the audit was changed, moved or removed."""
    from pipeguard.state.verification import examine

    path = existing_store()
    if path is None:
        yield good("nothing has happened yet")
        return
    problems, listed, _ = examine(path)
    if problems:
        first = problems[0]
        count = len(problems)
        yield wrong(
            f"the audit was changed: {pluralize(count, 'problem')}, the first: "
            f"{first.chain or 'chains'}: {first.what}",
            "pipeguard audit verify",
        )
        return
    rows = sum(chain.length for chain in listed)
    yield good(f"{pluralize(rows, 'row')} in {pluralize(len(listed), 'chain')}, unchanged")


def pins(_machine: Machine) -> Iterable[Diagnosis]:
    """Check whether a definition waits for a person."""
    from pipeguard.state.review import held_definitions

    opened = open_existing_store()
    if opened is None:
        yield good("nothing has been seen yet")
        return
    with opened:
        waiting = held_definitions(opened)
        servers = len(opened.servers())
    if not waiting:
        yield good(f"{pluralize(servers, 'server')}; nothing waits for your approval")
        return
    names = ", ".join(entry.target for entry in waiting[:3]) + (", …" if len(waiting) > 3 else "")
    what = f"{pluralize(len(waiting), 'definition')} held until you approve: {names}"
    yield note(what, "pipeguard diff")


def keyring(_machine: Machine) -> Iterable[Diagnosis]:
    """Check that the system's keyring returns the logins and secrets that are stored in it."""
    from pipeguard.auth.place import Place

    needed = any(login.place is Place.KEYRING for login in LoginStore().logins())
    problem = _try_keyring()
    fix = "Unlock it, or give `auth login` and `secrets set` the option --store file."
    if not problem:
        yield good("it returns what was stored")
    elif needed:
        yield wrong(f"{problem}, and logins are stored in it", fix)
    else:
        yield note(f"{problem}; only logins and secrets need it", fix)


def logins(machine: Machine) -> Iterable[Diagnosis]:
    """Check for logins that have expired, cannot be renewed, or lack what their server requires."""
    from pipeguard.auth.server import login_command

    stored = LoginStore().logins()
    if stored and "oauth" not in installed_extras():
        yield wrong("no login can be renewed without the extra 'oauth'", INSTALL_AGAIN)
    for login in stored:
        where = f"{login.name} ({masked_url(login.server)})"
        # An address with a secret is not shown; the login's name means the same.
        hidden = masked_url(login.server) != login.server
        again = login_command(login.name if hidden else login.server)
        if login.has_ended(time.time()):
            yield wrong(f"the login to {where} has expired", again)
        elif login.wanted:
            yield note(f"{where} asks for more than was granted: {login.wanted}", again)
    if not stored:
        yield good("none")
    elif not any(login.has_ended(time.time()) for login in stored):
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


def _try_keyring() -> str:
    """Explain why the keyring cannot be used; empty if it works.

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
