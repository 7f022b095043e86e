"""Who is asking and under which address: proxies that are believed, names the page has, links to jobs."""

import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr
from starlette.datastructures import Headers
from starlette.types import Scope

from editor.settings import Settings
from editor.web.door.limits import Refusal

SHARED = ".gradio.live"
"""Where Gradio's share links lead from; the tunnel ends on this machine."""
LOOPBACK = ("127.0.0.0/8", "::1/128")
_FORWARDED = b"x-forwarded-"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Network:
    """Which proxies are believed, and under which names this page may be reached."""

    def __init__(self, settings: Settings) -> None:
        trusted = (*settings.trusted_proxies, *(LOOPBACK if settings.share else ()))
        self._trusted = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in trusted)
        named = {host_of(urlsplit(settings.public_url).netloc), *map(str.lower, settings.allowed_hosts)} - {""}
        self._any = "*" in named
        self._foreign = frozenset(named)
        own = socket.gethostname().lower()
        self._names = self._foreign | {"localhost", settings.host.lower(), own, f"{own}.local"}
        self._shared = settings.share

    def trusts(self, peer: str) -> bool:
        """Whether this peer is a proxy whose word on the visitor's address is taken."""
        address = _parsed(peer)
        return address is not None and any(address in network for network in self._trusted)

    def seen_through(self, scope: Scope) -> Scope:
        """The request as a believed proxy describes it; from anybody else what only a proxy may say is removed."""
        peer = (scope.get("client") or ("", 0))[0]
        headers = Headers(scope=scope)
        if not self.trusts(peer):
            kept = [(name, value) for name, value in scope["headers"] if not name.startswith(_FORWARDED)]
            return {**scope, "headers": kept}
        hops = [hop.strip() for line in headers.getlist("x-forwarded-for") for hop in line.split(",")]
        visitor = next((hop for hop in reversed(hops) if _parsed(hop) and not self.trusts(hop)), peer)
        scheme = _first(headers.get("x-forwarded-proto"))
        scheme = scheme if scheme in ("http", "https") else scope.get("scheme", "http")
        return {**scope, "client": (visitor, 0), "scheme": scheme}

    def check(self, scope: Scope) -> None:
        """Refuse a name that is not this page's (another site's name may lead here), and posts from other pages."""
        headers = Headers(scope=scope)
        host = _first(headers.get("x-forwarded-host")) or headers.get("host", "")
        if host and not self._is_ours(host_of(host)):
            raise Refusal(
                403,
                f"This page is not served under the name '{host[:80]}'. Whoever runs it can allow the name with "
                "EDITOR_ALLOWED_HOSTS or EDITOR_PUBLIC_URL.",
            )
        origin = headers.get("origin")
        if origin is None or scope["method"] in ("GET", "HEAD"):
            return
        there = urlsplit(origin).netloc.lower()
        if there != host.lower() and not self._is_named(host_of(there)):
            raise Refusal(403, "Requests that come from another site's page are not taken.")

    def _is_ours(self, host: str) -> bool:
        """A number is nobody's name, so no other site can lead here under it."""
        return self._is_named(host) or host in self._names or _parsed(host.strip("[]")) is not None

    def _is_named(self, host: str) -> bool:
        return self._any or host in self._foreign or (self._shared and host.endswith(SHARED))


def host_of(netloc: str) -> str:
    """The host without its port, in lower case."""
    head, _, port = netloc.lower().rpartition(":")
    return head if head and port.isdigit() else netloc.lower()


def job_link(job_id: str, settings: Settings, request: gr.Request | None) -> str:
    """The address at which anybody can look at a job.

    Built from `public_url` where that is set (a Space sets it by itself), else from the address the visitor used, so
    that it also holds behind a share link.
    """
    base = settings.public_url or seen_address(request)
    return f"{base.rstrip('/')}/?job={job_id}"


def seen_address(request: gr.Request | None) -> str:
    """Scheme and host as the visitor's browser sees them; empty when that is unknown."""
    if request is None:
        return ""
    headers: Mapping[str, str] = request.headers
    origin = urlsplit(headers.get("origin") or headers.get("referer") or "")
    if origin.scheme in ("http", "https") and origin.netloc:
        return f"{origin.scheme}://{origin.netloc}"
    host = _first(headers.get("x-forwarded-host")) or headers.get("host", "")
    scheme = _first(headers.get("x-forwarded-proto")) or "http"
    return f"{scheme}://{host}" if host else ""


def network_address(request: gr.Request | None) -> str:
    """The address limits are counted for. The guard has put the visitor's own in the place of a believed proxy's."""
    return counted_address(request.client.host if request is not None and request.client else "")


def counted_address(peer: str) -> str:
    """Of an IPv6 address the network, because a visitor owns all of it; an IPv4 address within IPv6 is itself."""
    address = _parsed(peer)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address) if address is not None else peer


def page_secret(data: Path) -> str:
    """The key that seals what the page keeps in browsers; made once, so that visitors keep their edits on a restart."""
    file = data / "page-secret"
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    with os.fdopen(handle, "w") as out:
        secret = secrets.token_urlsafe(32)
        out.write(secret)
    return secret


def _first(header: str | None) -> str:
    return (header or "").split(",")[0].strip()


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
