"""Who is asking and under which address: links to jobs, and the network address that limits are counted for."""

import ipaddress
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr

from editor.settings import Settings


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
    """The address limits are counted for; of an IPv6 address the network, because a visitor owns all of it.

    `X-Forwarded-For` is believed only from a peer on a private network, which is where a proxy stands; then the last
    public address in it counts, because a visitor can forge only the ones before.
    """
    peer = request.client.host if request is not None and request.client else ""
    chosen = _parsed(peer)
    if chosen is not None and not chosen.is_global:
        hops = [_parsed(hop.strip()) for hop in request.headers.get("x-forwarded-for", "").split(",")]
        chosen = next((hop for hop in reversed(hops) if hop is not None and hop.is_global), chosen)
    if isinstance(chosen, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((chosen, 64), strict=False))
    return str(chosen) if chosen is not None else peer


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


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
