"""Uploads, taken by the guard in Gradio's place: one file, in a folder of its own, bounded in size, time and number.

Gradio stores uploads by their content, so equal files of two visitors are one file there, and the first of them to
finish takes it away from the other. Here every upload is its own, and one that is cut short leaves nothing.
"""

import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from gradio.route_utils import GradioMultiPartParser, MultiPartException
from gradio.routes import file_upload_statuses
from gradio_client.utils import strip_invalid_filename_characters
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from editor.events import EditError
from editor.jobs import upload_folder
from editor.settings import Settings
from editor.web.door.bodies import declared_length, punctual
from editor.web.door.limits import Allowance, Bounds, Refusal
from editor.web.door.visitor import counted_address

FORM_OVERHEAD_BYTES = 64 * 1024
"""Room for the multipart borders and headers around an upload of the largest size allowed."""
MB = 1_000_000
NO_SPACE = "The server's disk is nearly full, so it takes no uploads now. Please try again later."
TOO_MANY = "Your network has uploaded as much as is allowed within an hour. Please try again later."


class Uploads:
    """The handler of `POST /upload`. Answers as Gradio does: a list with the path of the stored file."""

    def __init__(self, settings: Settings, bounds: Bounds) -> None:
        self._settings = settings
        self._bounds = bounds
        self._folder = upload_folder(settings)
        self._requests = Allowance(bounds.uploads)
        self._bytes = Allowance(settings.upload_mb_per_hour * MB)
        self._arriving = 0
        """Bytes of the uploads under way, which the disk does not show yet."""

    async def __call__(self, request: Request, values: dict[str, str]) -> Response:
        """Store one uploaded file. Raises `Refusal`."""
        length = self._checked_length(request)
        address = counted_address(request.client.host if request.client else "")
        if not (self._requests.take(address) and self._bytes.take(address, length)):
            raise Refusal(429, TOO_MANY)
        folder = self._folder / secrets.token_hex(16)
        self._arriving += length
        try:
            folder.mkdir(parents=True, mode=0o700)
            return JSONResponse([str(await self._stored(request, folder))])
        except BaseException:
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
            raise
        finally:
            self._arriving -= length

    def _checked_length(self, request: Request) -> int:
        """The declared length of an upload that may come."""
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise Refusal(415, "Uploads are sent as multipart/form-data.")
        length = declared_length(request.headers)
        if length > self._settings.max_upload_mb * MB + FORM_OVERHEAD_BYTES:
            raise Refusal(413, f"The file is too large. The limit is {self._settings.max_upload_mb} MB.")
        free = shutil.disk_usage(self._settings.data).free - self._arriving
        if free - length < self._settings.disk_floor_mb * MB:
            raise Refusal(507, NO_SPACE)
        return length

    async def _stored(self, request: Request, folder: Path) -> Path:
        progress = request.query_params.get("upload_id", "")[:100] or None
        parser = GradioMultiPartParser(
            request.headers,
            _chunks(request, self._bounds),
            max_files=1,
            max_fields=1,
            upload_dir=folder,
            upload_id=progress,
            upload_progress=file_upload_statuses if progress else None,
            max_file_size=self._settings.max_upload_mb * MB,
        )
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise _refused(error.message, self._settings.max_upload_mb) from None
        except (ClientDisconnect, AttributeError, KeyError, ValueError):  # what the parser meets in forms that are none
            raise Refusal(400, "The upload was cut short or is no form. Please send it again.") from None
        finally:
            if progress:
                file_upload_statuses.set_done(progress)
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise Refusal(400, "The form has no file. Send one file in a field named 'files'.")
        await files[0].close()
        name = strip_invalid_filename_characters(Path(files[0].filename or "").name)
        return Path(files[0].file.name).rename(folder / (name or "upload"))


async def _chunks(request: Request, bounds: Bounds) -> AsyncIterator[bytes]:
    """The body as it comes, on time."""
    receive = punctual(request.receive, bounds)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _refused(message: str, most_mb: int) -> Refusal:
    """What is wrong with a form, for a person."""
    if "maximum allowed size" in message and "Headers" not in message:
        return Refusal(413, f"The file is too large. The limit is {most_mb} MB.")
    if "Too many" in message:
        return Refusal(400, "Please upload one file at a time.")
    return Refusal(400, "The upload is not a form that can be read. Please send it again.")


def uploaded(file: object, settings: Settings) -> Path:
    """The path of an upload that an event names. Raises `EditError` for anything that was not uploaded here."""
    path = file.get("path") if isinstance(file, dict) else getattr(file, "path", file)
    if isinstance(path, str) and "\0" not in path:
        found = Path(path).resolve()
        if found.parent.parent == upload_folder(settings).resolve() and found.is_file():
            return found
    raise EditError("The clip must be a file uploaded here; with gradio_client, pass handle_file(path).")


def drop_upload(raw: Path) -> None:
    """Remove an upload that `uploaded` named, with the folder that is its own."""
    shutil.rmtree(raw.parent, ignore_errors=True)
