"""What every request passes: is it meant for this server, and does it come from its own page?

A server on one's own machine can be reached by any web site that its owner visits. Two ways are closed here: a site
that lets its own name point at this machine (DNS rebinding) sends that name as Host; a site that posts a form or a
file across sends its own Origin.
"""

import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thinslice.web.refusal import Refusal

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
        "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}
"""Sent with every answer that does not set its own."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def known_hosts(names: Iterable[str] = ()) -> frozenset[str]:
    """Return the names under which this machine may be addressed; addresses in numbers need no entry.

    Args:
        names: further names, such as that of a reverse proxy.
    """
    own = socket.gethostname().lower()
    return frozenset({"localhost", own, own.partition(".")[0], f"{own}.local", *(name.lower() for name in names)})


class Guard:
    """Refuses foreign hosts and origins, and adds the security headers.

    Args:
        app: what is guarded.
        hosts: names under which the server may be addressed, as `known_hosts` gives them.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = refuse(scope["method"], Headers(scope=scope), self.hosts)
        if refusal is not None:
            await refusal.response()(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)


def refuse(method: str, headers: Headers, hosts: frozenset[str]) -> Refusal | None:
    """Return why a request is not for this server or not from its page; None where it is."""
    host = headers.get("host", "")
    name = host_name(host)
    if not (name in hosts or _is_address(name)):
        return Refusal(421, f"this server does not answer to the name {name[:80]!r}; allow it with --allow-host")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return Refusal(403, "requests from other web sites are refused")
    if method not in SAFE_METHODS and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return Refusal(403, "requests from other web sites are refused")
    return None


def host_name(host: str) -> str:
    """Return a Host header without its port, in lower case: "localhost:7860" is "localhost", "[::1]:80" is "::1"."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    """Return whether a host is an address in numbers: no name, so nobody can have it point here."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
