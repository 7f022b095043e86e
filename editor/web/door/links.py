"""The head of the page: what a link shows of itself in chats and on social pages (Open Graph and Twitter tags), and the
language of the page with the words that its scripts need.

Gradio's own page says "Gradio" there; its tags are replaced. Sentences of visitors are escaped. A card speaks the
language of whoever fetches it; most sites name none and get English.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Send

from editor.jobs import JobService, JobState, JobView, UnknownJob
from editor.web import texts
from editor.web.parts import words
from editor.web.texts import _

_GRADIOS = re.compile(r"<meta\s+(?:property=\"og:|name=\"twitter:)[^>]*>\s*")
_CHARSET = '<meta charset="utf-8" />'
_LANGUAGE = 'lang="en"'
LONGEST = 200
"""Characters of a sentence that a card repeats; the sites cut it much earlier."""

Tags = list[tuple[str, str]]


@dataclass(frozen=True)
class Links:
    """Writes the tags for the page of one installation. `example`: whether there is an example clip to show."""

    service: JobService
    example: bool

    async def __call__(self, request: Request) -> str:
        """The tags for one request of the page, as HTML. An unknown or unusable job gets those of the page itself."""
        return _html(await run_in_threadpool(self._tags, request)) + words(texts.language.get())

    def _tags(self, request: Request) -> Tags:
        base, query = self._base(request), request.query_params
        try:
            job = self.service.view(query["job"])
        except (KeyError, UnknownJob, ValueError):
            return self._of_the_page(base)
        number = query.get("target", "1")
        wanted = int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 4 else 0
        return _of_a_job(base, job, wanted if 0 <= wanted < len(job.results) else 0)

    def _of_the_page(self, base: str) -> Tags:
        tags = [*_common(f"{texts.TITLE}: {_(texts.TAGLINE)}", _(texts.CARD_PAGE), f"{base}/"), ("og:type", "website")]
        return tags + (_picture(f"{base}/example/0.webp", _(texts.TAGLINE)) if self.example else [])

    def _base(self, request: Request) -> str:
        """The page's address without a slash. Not from a referrer, which may be any site that has the link."""
        if self.service.settings.public_url:
            return self.service.settings.public_url.rstrip("/")
        headers = Headers(scope=request.scope)
        host = (headers.get("x-forwarded-host") or headers.get("host", "")).split(",")[0].strip()
        return f"{request.scope.get('scheme', 'http')}://{host}"


def _of_a_job(base: str, job: JobView, number: int) -> Tags:
    targets = job.request.get("targets") or [""]
    source, target = (_short(text) for text in (job.request.get("source"), targets[min(number, len(targets) - 1)]))
    said = {JobState.DONE: texts.CARD_DONE}.get(job.state, texts.CARD_OTHER if job.state.final else texts.CARD_RUNNING)
    place = f"&target={number + 1}" if number else ""
    tags = _common(f"{target} · {texts.TITLE}", _(said, source=source), f"{base}/?job={job.id}{place}")
    if not job.results:
        return [*tags, ("og:type", "website")]
    files = f"{base}/job/{job.id}/{number}"
    return [*tags, *_picture(f"{files}/card.jpg", target), *_video(f"{files}/edited.mp4", job, number)]


def _video(address: str, job: JobView, number: int) -> Tags:
    """The video, with the poster's size where it can be read: the sites need the proportions."""
    try:
        with Image.open(job.results[number].poster) as poster:
            size = [("og:video:width", str(poster.width)), ("og:video:height", str(poster.height))]
    except OSError:  # deleted a moment ago
        size = []
    secure = [("og:video:secure_url", address)] if address.startswith("https:") else []
    return [("og:type", "video.other"), ("og:video", address), *secure, ("og:video:type", "video/mp4"), *size]


def _picture(address: str, described: str) -> Tags:
    return [
        *(("og:image", address), ("og:image:alt", described)),
        *(("twitter:card", "summary_large_image"), ("twitter:image", address), ("twitter:image:alt", described)),
    ]


def _common(title: str, description: str, address: str) -> Tags:
    return [
        *(("og:site_name", texts.TITLE), ("og:title", title), ("og:description", description), ("og:url", address)),
        *(("twitter:title", title), ("twitter:description", description)),
    ]


def _short(text: object) -> str:
    """One line of a sentence, of whatever kind an older version stored."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _html(tags: Iterable[tuple[str, str]]) -> str:
    def one(name: str, value: str) -> str:
        kind = "name" if name.startswith("twitter:") else "property"
        return f'<meta {kind}="{name}" content="{escape(value, quote=True)}">'

    return "".join(one(*tag) for tag in tags)


def tagged(send: Send, tags: str) -> Send:
    """A `send` that puts `tags` into the head of an HTML page in the place of Gradio's own."""
    start: Message | None = None
    page = bytearray()

    async def sender(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        page.extend(message.get("body", b""))
        if message.get("more_body", False) or start is None:
            return
        body = _with_tags(bytes(page), tags) if start["status"] == 200 else bytes(page)
        kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        ours = [(b"content-length", str(len(body)).encode()), (b"vary", b"Accept-Language")]
        await send({**start, "headers": [*kept, *ours]})
        await send({"type": "http.response.body", "body": body})

    return sender


def _with_tags(page: bytes, tags: str) -> bytes:
    head, end, rest = page.decode("utf-8").partition("</head>")
    head = _GRADIOS.sub("", head).replace(_CHARSET, _CHARSET + tags, 1)
    head = head.replace(_LANGUAGE, f'lang="{texts.language.get()}"', 1)
    return (head + end + rest).encode()
