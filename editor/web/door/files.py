"""What the guard answers itself: the files of jobs, the example clips, and the health of the server.

No request path ever becomes a file path: names are looked up in what the job service says exists.
"""

import asyncio
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from editor.events import EditError
from editor.jobs import JobService, JobState, JobView, UnknownJob
from editor.media import contact_sheet, probe, spread_frames
from editor.web.door.guard import Handler
from editor.web.door.limits import Bounds
from editor.web.door.uploads import Uploads
from editor.web.estimate import Pace
from editor.web.examples import Example
from editor.web.view import page_view, stored_request, unknown_view

PREVIEW = "preview.webp"
STRIP_HEIGHT = 96
STRIP_FRAMES = 8
MEDIA_TYPES = {".mp4": "video/mp4", ".webp": "image/webp", ".json": "application/json"}
_drawing = asyncio.Semaphore(2)
"""Strips are drawn by ffmpeg: two at a time leave the processor to the edit."""


def handlers(service: JobService, pace: Pace, examples: tuple[Example, ...], bounds: Bounds) -> dict[str, Handler]:
    """The guard's own answers, by the first part of the path."""

    async def healthz(request: Request, values: dict[str, str]) -> Response:
        health = await run_in_threadpool(service.health)
        return JSONResponse(_public_health(health), 200 if health.ok else 503, headers=_fresh())

    async def job(request: Request, values: dict[str, str]) -> Response:
        try:
            view = await run_in_threadpool(service.view, values["job_id"])
        except (UnknownJob, ValueError) as error:
            message = str(error) if isinstance(error, UnknownJob) else "There is no such edit."
            return JSONResponse(unknown_view("", message), 404, headers=_fresh())
        name = values["name"]
        if name == "view.json":
            return JSONResponse(await run_in_threadpool(_told, view, pace), headers=_fresh())
        if name.endswith("/strip.webp"):
            return await _strip(view, name)
        path = job_files(view).get(name)
        if path is None:
            return _not_here()
        return await _preview(path) if name == PREVIEW else _file(path, view, name, request)

    async def example(request: Request, values: dict[str, str]) -> Response:
        number, _, suffix = values["name"].partition(".")
        if not number.isascii() or not number.isdigit() or int(number[:4]) >= len(examples):
            return _not_here()
        clip = examples[int(number[:4])]
        if suffix == "mp4":
            return FileResponse(clip.file, media_type="video/mp4", headers={"Cache-Control": "public, max-age=3600"})
        if suffix != "webp":
            return _not_here()
        poster = await run_in_threadpool(clip.poster)
        return Response(poster, media_type="image/webp", headers={"Cache-Control": "public, max-age=3600"})

    upload = Uploads(service.settings, bounds)
    return {"healthz": healthz, "job": job, "example": example, "upload": upload}


def _told(view: JobView, pace: Pace) -> dict[str, Any]:
    """A job as the page shows it. Sentences are compared for that, so never on the event loop."""
    learn_from(view, pace)
    return page_view(view)


def job_files(view: JobView) -> Mapping[str, Path]:
    """The files of a job that may be fetched, by the name they have below `job/<id>/`."""
    files = {"clip.mp4": view.clip, PREVIEW: view.preview}
    for number, result in enumerate(view.results):
        files |= {f"{number}/{path.name}": path for path in result.files.values()}
    return {name: path for name, path in files.items() if path is not None}


def learn_from(view: JobView, pace: Pace) -> None:
    """Remember how long a finished job took."""
    if view.state is not JobState.DONE or view.started is None or view.ended is None or not view.results:
        return
    summary = view.results[0].summary
    keyframes = summary.get("keyframes")
    if isinstance(keyframes, int) and keyframes > 0:
        request, reused = stored_request(view), bool(summary.get("inversion_cached"))
        if request is not None:
            pace.learn(view.id, request, keyframes, view.ended - view.started, reused)


def _file(path: Path, view: JobView, name: str, request: Request) -> Response:
    """A file of a finished job, with ranges (a player seeks), kept by the browser: its content cannot change."""
    headers = {"Cache-Control": "private, max-age=86400"}
    if "download" in request.query_params:
        headers["Content-Disposition"] = f'attachment; filename="{_download_name(view, name)}"'
    if not path.is_file():  # deleted since the view was made
        return _not_here()
    return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"), headers=headers)


async def _preview(path: Path) -> Response:
    """The preview, read at once: it is small, and the next one may take its place while it is sent."""
    try:
        picture = await run_in_threadpool(path.read_bytes)
    except FileNotFoundError:
        return _not_here()
    return Response(picture, media_type="image/webp", headers=_fresh())


def _download_name(view: JobView, name: str) -> str:
    number, _, file = name.rpartition("/")
    several = len(view.results) > 1 and number
    return f"recast-{view.id[:8]}-" + (f"{int(number) + 1}-{file}" if several else file)


async def _strip(view: JobView, name: str) -> Response:
    number = name.partition("/")[0]
    if not number.isascii() or not number.isdigit() or int(number[:4]) >= len(view.results) or view.clip is None:
        return _not_here()
    request = stored_request(view)
    start = request.start if request else 0.0
    async with _drawing:
        try:
            edited = view.results[int(number[:4])].edited
            picture = await run_in_threadpool(_draw_strip, view.clip, edited, start)
        except (EditError, OSError):
            return _not_here()
    return Response(picture, media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


@lru_cache(maxsize=64)
def _draw_strip(clip: Path, edited: Path, start: float) -> bytes:
    """Original above edited at the same moments, as webp."""
    end = min(start + probe(edited).seconds, probe(clip).seconds)
    above = spread_frames(clip, STRIP_FRAMES, STRIP_HEIGHT, start, end)
    below = spread_frames(edited, STRIP_FRAMES, STRIP_HEIGHT)
    out = io.BytesIO()
    sheet = contact_sheet({"original": above, "edited": below}, STRIP_FRAMES, STRIP_HEIGHT)
    Image.fromarray(sheet).save(out, "webp", quality=85)
    return out.getvalue()


def _public_health(health: Any) -> dict[str, Any]:  # noqa: ANN401 - a frozen dataclass of plain values
    return {"ok": health.ok, "worker": health.worker, "queued": health.queued, "accepting": health.accepting}


def _fresh() -> dict[str, str]:
    return {"Cache-Control": "no-store"}


def _not_here() -> Response:
    return JSONResponse({"error": "There is nothing at this address."}, 404, headers=_fresh())
