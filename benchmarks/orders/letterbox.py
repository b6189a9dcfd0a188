"""An SMTP server that lets anybody in and files each message: `letterbox.py FOLDER PORT`.

The environment of the mail server's package runs it, because that has aiosmtpd.
"""

import sys

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult


def main() -> None:
    """Serve until the standard input ends."""
    folder, port = sys.argv[1], int(sys.argv[2])
    Controller(
        Mailbox(folder),  # it notes each recipient in a header, X-RcptTo
        hostname="127.0.0.1",
        port=port,
        auth_require_tls=False,
        authenticator=lambda *_: AuthResult(success=True),
    ).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
