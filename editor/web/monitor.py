"""What a monitor is told: `/healthz` for whoever restarts a server that cannot work, `/metrics` for Prometheus."""

from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from editor.events import EditError
from editor.jobs import Health, JobService, files
from editor.jobs.runner import Ended
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


class Metrics:
    """What Prometheus is told of one service; counts begin anew with the server, as it expects.

    Raises `EditError` where `prometheus_client` is not installed.
    """

    def __init__(self, service: JobService) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge
        except ModuleNotFoundError:
            raise EditError("EDITOR_METRICS=on needs the package prometheus_client. Run make setup.") from None
        self._service = service
        self._registry = own = CollectorRegistry()
        self._jobs = Gauge("recast_jobs", "Jobs that wait or run.", ["state"], registry=own)
        self._busy = Gauge("recast_device_busy", "Whether the device computes now.", ["device"], registry=own)
        self._disk = Gauge("recast_disk_bytes", "Free disk, and what jobs and cache take.", ["what"], registry=own)
        self._ended = Counter("recast_runs", "Runs by how they ended.", ["how"], registry=own)
        self._spent = Counter("recast_device_seconds", "Seconds at work.", ["device"], registry=own)
        self._stages = Counter("recast_stage_seconds", "Seconds of finished edits, by stage.", ["stage"], registry=own)
        self._work = Counter("recast_unet_evaluations", "UNet evaluations of one frame.", registry=own)
        self._frames = Counter("recast_frames", "Frames of finished edits.", ["kind"], registry=own)
        self._reused = Counter("recast_inversions_reused", "Edits whose inversion came from the cache.", registry=own)
        service.runner.listeners.append(self.count)

    def count(self, ended: Ended) -> None:
        """Take the end of a run into account. All targets of an edit share its seconds and its evaluations."""
        self._ended.labels(ended.how).inc()
        self._spent.labels(ended.device).inc(ended.seconds)
        if ended.how != "done":
            return
        for result in ended.results:
            self._frames.labels("written").inc(_number(result.summary.get("frames")))
        first = ended.results[0].read_manifest()
        frames, keyframes = _number(first.get("frames")), _number(first.get("keyframes"))
        self._frames.labels("edited").inc(keyframes * len(ended.results))
        self._work.inc(_number(first.get("unet_evaluations_per_frame")) * frames)
        self._reused.inc(bool(first.get("inversion_cached")))
        for stage, seconds in first.get("stage_seconds", {}).items():
            self._stages.labels(stage).inc(seconds)

    def page(self) -> bytes:
        """All figures in Prometheus' text form."""
        from prometheus_client import generate_latest

        health, data = self._service.health(), self._service.settings.data
        self._jobs.labels("waiting").set(health.queued)
        self._jobs.labels("running").set(health.running)
        self._busy.clear()
        for worker in health.workers:
            self._busy.labels(worker.device).set(worker.state == "busy")
        self._disk.labels("free").set(health.free_disk_mb * 1e6)
        for what in ("jobs", "inversions"):
            self._disk.labels(what).set(_size(data / what))
        return generate_latest(self._registry)


def _size(folder: Path) -> int:
    return files.size(folder) if folder.is_dir() else 0


def _number(value: object) -> float:
    """A figure of a manifest; 0 where an engine does not give it."""
    return float(value) if isinstance(value, int | float) else 0.0


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
