"""What a monitor is told: `/healthz` for whoever restarts a server that cannot work, `/metrics` for Prometheus."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from editor.jobs import Health, JobService
from editor.jobs.metrics import Metrics
from editor.web.door.guard import Handler, local_path
from editor.web.door.limits import Refusal
from editor.web.door.visitor import Network

_FRESH = {"Cache-Control": "no-store"}
_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def healthz(service: JobService) -> Handler:
    """The guard's answer to `/healthz`."""

    async def answer(request: Request, values: dict[str, str]) -> Response:
        health = await run_in_threadpool(service.health)
        return JSONResponse(_public(health), 200 if health.ok else 503, headers=_FRESH)

    return answer


class MetricsPage:
    """ASGI middleware that answers `/metrics` under the host names that the page has."""

    def __init__(self, app: ASGIApp, metrics: Metrics, network: Network) -> None:
        self.app = app
        self.metrics = metrics
        self.network = network

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or local_path(scope) != "/metrics":
            await self.app(scope, receive, send)
            return
        try:
            self.network.check(self.network.seen_through(scope))
            answer = Response(await run_in_threadpool(self.metrics.page), headers=_FRESH, media_type=_TEXT)
        except Refusal as refusal:
            answer = Response(refusal.message, refusal.status)
        await answer(scope, receive, send)


def _public(health: Health) -> dict[str, Any]:
    workers = [{"device": worker.device, "state": worker.state} for worker in health.workers]
    told = {"ok": health.ok, "worker": health.worker, "workers": workers}
    return {**told, "queued": health.queued, "accepting": health.accepting}
