"""The extra that a login needs: the official SDK's OAuth client, which most people never run."""

from __future__ import annotations

from pipeguard.errors import AuthError
from pipeguard.installation import installed_extras, reinstall_command

EXTRA = "oauth"


def must_be_installed(what: str) -> None:
    """Refuse what needs the extra, with the command that installs it.

    Args:
        what: needs it, in the plural, as `logins`.

    Raises:
        AuthError: it is not installed.
    """
    if EXTRA not in installed_extras():
        raise AuthError(
            f"{what} need the extra {EXTRA!r}, which is not installed.\n"
            f"  Install it:  {reinstall_command(EXTRA)}"
        )
