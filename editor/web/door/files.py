"""What the guard answers itself: the files of jobs, the example clips, and uploads.

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
from editor.media import contact_sheet, probe, side_by_side, spread_frames, video_gif
from editor.media.tag import read_tag, tagged_gif
from editor.web.door.guard import Handler
from editor.web.door.limits import Bounds
from editor.web.door.uploads import Uploads
from editor.web.estimate import Pace
from editor.web.examples import Example
from editor.web.texts import _, heard
from editor.web.view import page_view, stored_request, unknown_view

PREVIEW = "preview.webp"
STRIP_HEIGHT = 96
STRIP_FRAMES = 8
CARD = (1200, 630)
"""Most pixels of the picture that a link shows: what social pages ask for."""
GIF_BYTES = 3_000_000
"""Most of a GIF: what places take that show only pictures."""
DRAWN = ("/strip.webp", "/card.jpg", "/edited.gif")
"""Pictures that are drawn of a finished result when they are asked for."""
MEDIA_TYPES = {
    **{".mp4": "video/mp4", ".webp": "image/webp", ".jpg": "image/jpeg", ".gif": "image/gif"},
    ".json": "application/json",
}
_drawing = asyncio.Semaphore(2)
"""Strips are drawn by ffmpeg: two at a time leave the processor to the edit."""


def handlers(service: JobService, pace: Pace, examples: tuple[Example, ...], bounds: Bounds) -> dict[str, Handler]:
    """The guard's own answers, by the first part of the path."""

    async def job(request: Request, values: dict[str, str]) -> Response:
        try:
            view = await run_in_threadpool(service.view, values["job_id"])
        except (UnknownJob, ValueError) as error:
            message = heard(str(error)) if isinstance(error, UnknownJob) else _("There is no such edit.")
            return JSONResponse(unknown_view("", message), 404, headers=_fresh())
        name = values["name"]
        if name == "view.json":
            return JSONResponse(await run_in_threadpool(_told, view, pace), headers=_fresh())
        if name.endswith(DRAWN):
            return await _drawn(view, name)
        path = job_files(view).get(name)
        if path is None:
            return _not_here()
        return await _preview(path) if name == PREVIEW else _file(path, view, name, request)

    async def example(request: Request, values: dict[str, str]) -> Response:
        number, _, suffix = values["name"].partition(".")
        if not number.isascii() or not number.isdigit() or int(number[:4]) >= len(examples):
            return _not_here()
        clip, kept = examples[int(number[:4])], {"Cache-Control": "public, max-age=3600"}
        film = {"mp4": clip.file, "edited.mp4": clip.edited}.get(suffix)
        if film is not None:
            return FileResponse(film, media_type="video/mp4", headers=kept)
        if suffix == "webp":
            return Response(await run_in_threadpool(clip.poster), media_type="image/webp", headers=kept)
        if f"/{suffix}" in DRAWN and clip.edited is not None:
            return await _drawing_of(suffix, clip.file, clip.edited, 0.0, kept)
        return _not_here()

    upload = Uploads(service.settings, bounds)
    return {"job": job, "example": example, "upload": upload}


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


async def _drawn(view: JobView, name: str) -> Response:
    """A picture of result `<number>/` that is not kept as a file."""
    number, _, picture = name.partition("/")
    if not number.isascii() or not number.isdigit() or int(number[:4]) >= len(view.results) or view.clip is None:
        return _not_here()
    request = stored_request(view)
    start, edited = request.start if request else 0.0, view.results[int(number[:4])].edited
    return await _drawing_of(picture, view.clip, edited, start, {"Cache-Control": "private, max-age=86400"})


async def _drawing_of(picture: str, clip: Path, edited: Path, start: float, headers: dict[str, str]) -> Response:
    draw = {"strip.webp": _draw_strip, "card.jpg": _draw_card, "edited.gif": _draw_gif}[picture]
    async with _drawing:
        try:
            content = await run_in_threadpool(draw, clip, edited, start)
        except (EditError, OSError):
            return _not_here()
    return Response(content, media_type=MEDIA_TYPES[Path(picture).suffix], headers=headers)


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


@lru_cache(maxsize=16)
def _draw_card(clip: Path, edited: Path, start: float) -> bytes:
    """Original beside edited in the middle of the interval, as JPEG, which every site shows."""
    after = probe(edited)
    width, height = after.size
    height = min(CARD[1], CARD[0] * height // (2 * width))
    end = min(start + after.seconds, probe(clip).seconds)
    frames = spread_frames(clip, 3, height, start, end), spread_frames(edited, 3, height)
    pair = (three[len(three) // 2] for three in frames)
    out = io.BytesIO()
    Image.fromarray(side_by_side(*pair)).save(out, "jpeg", quality=88)
    return out.getvalue()


@lru_cache(maxsize=4)
def _draw_gif(clip: Path, edited: Path, start: float) -> bytes:
    """The edited clip as a GIF, with the settings that stand in the video."""
    settings = read_tag(edited) or ""
    gif = video_gif(edited, GIF_BYTES - 2 * len(settings.encode()))
    return tagged_gif(gif, settings) if settings else gif


def _fresh() -> dict[str, str]:
    return {"Cache-Control": "no-store"}


def _not_here() -> Response:
    return JSONResponse({"error": "There is nothing at this address."}, 404, headers=_fresh())
