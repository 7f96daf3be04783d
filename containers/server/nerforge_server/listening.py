"""The listening socket: had once, shared by all processes, and closed without a connection reset."""

import contextlib
import ctypes
import socket
import struct

from nerforge_contract import names
from nerforge_contract.errors import UserError

BACKLOG = 1024  # connections that the kernel holds until they are accepted

# A socket filter for Linux that drops what asks for a new connection and passes all else: load the byte with
# TCP's flags; if SYN (2) is among them, keep 0 bytes of the packet, else all of it.
_SO_ATTACH_FILTER = 26
_NO_NEW_CONNECTIONS = struct.pack(
    "=" + 4 * "HBBI", 0x30, 0, 0, 13, 0x45, 0, 1, 2, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF
)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at this address; UserError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host}:{port}: {error.strerror or error}",
            f"{names.ENV_HOST}, {names.ENV_PORT}",
            "Name an address of this machine and a port that is free.",
        ) from error


def drop_new_connections(listener: socket.socket) -> None:
    """Let the kernel ignore who asks for a connection, in all processes that share the socket.

    Whoever was ignored asks again a second later, and is refused then, as the socket is closed. Without this,
    a connection made between the last accept and the close would be reset.
    """
    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    pointer = struct.pack("HP", 4, ctypes.addressof(program))
    with contextlib.suppress(OSError):  # a kernel without such filters
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
