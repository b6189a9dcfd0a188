"""Answers a client whose server could not be guarded, so that it does not wait."""

import threading
from contextlib import suppress

from pipeguard.errors import LaunchError, PipeGuardError, Refusal
from pipeguard.firewall.protocol import codes
from pipeguard.firewall.protocol.framing import legible_ids
from pipeguard.firewall.protocol.ids import request_ids
from pipeguard.firewall.protocol.message import Message, parse
from pipeguard.firewall.session import replies
from pipeguard.secrets_in_use import IN_USE
from pipeguard.transports.channel import ChannelClosed
from pipeguard.transports.stdio import LineChannel

DECLINE_SECONDS = 1.0  # for the client's first requests


def decline(error: PipeGuardError, client_fd: int) -> None:
    """Answer the client's first requests over stdio with an error."""
    channel = LineChannel(0, client_fd)
    timer = threading.Timer(DECLINE_SECONDS, channel.finish_reading)
    timer.daemon = True
    timer.start()
    code = codes.PEER_GONE if isinstance(error, LaunchError) else codes.INTERNAL
    why = IN_USE.mask(f"PipeGuard: {replies.what_happened(str(error))}")
    with suppress(ChannelClosed):
        while (frame := channel.read()) is not None:
            for id_token in _ids_of_requests(frame):
                channel.write(replies.own_error(id_token, code, why))
    timer.cancel()


def _ids_of_requests(frame: bytes) -> list[str]:
    """The ids of the requests in a frame, as far as they are legible."""
    try:
        message = parse(frame)
    except Refusal:
        return [id_token for id_token, is_request in legible_ids(frame) if is_request]
    return request_ids(message.value if isinstance(message, Message) else message)
