"""An application on a port, until it is interrupted."""

import signal
import socket
import sys

from starlette.applications import Starlette

from thinslice.errors import UsageError

STOP_S = 3
"""How long requests may go on after SIGTERM or Ctrl-C, seconds."""


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UsageError: the address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {host} port {port} ({reason}); choose another --port or --host") from None
    return listener


def run(app: Starlette, listener: socket.socket) -> None:
    """Serve an application until SIGTERM or Ctrl-C; both leave through the caller, who clears up."""
    import uvicorn

    # uvicorn stops in order and then raises the signal again, which would end the process before it has cleared up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))

    config = uvicorn.Config(
        app, log_level="warning", timeout_graceful_shutdown=STOP_S, server_header=False, proxy_headers=False
    )
    uvicorn.Server(config).run(sockets=[listener])


def address(host: str, port: int) -> str:
    """Return the URL under which a browser on this machine finds the server."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
