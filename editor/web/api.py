"""The functions that programs call: `submit`, `follow`, `result` and `cancel`. Names and fields stay stable.

Jobs are named by the `job` of `submit`'s answer; the `owner` secret in it is needed to cancel, and never shown again.
`editor.web.agents` offers the same to agents; what a tool answers there is described here.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from editor.events import EditError
from editor.jobs import JobView, new_secret
from editor.request import EditRequest
from editor.web.desk import Desk
from editor.web.door.uploads import drop_upload, uploaded
from editor.web.door.visitor import job_link, network_address, seen_address
from editor.web.told import told
from editor.web.view import page_view

NAMES = ("submit", "follow", "result", "cancel")


class Started(BaseModel):
    """An edit that waits for its turn."""

    job: str = Field(description="Names the edit in the other tools.")
    owner: str = Field(description="The secret that cancel needs; it is not shown again.")
    link: str = Field(description="Where anybody can watch the edit and its result.")


class Progress(BaseModel):
    """How far an edit is."""

    state: Literal["queued", "running", "done", "failed", "cancelled"]
    final: bool = Field(description="Whether nothing more will happen.")
    fraction: float = Field(description="How much is done, 0 to 1.")
    line: str = Field(description="What happens now, or why it failed.")
    left: str | None = Field(description="The time it will still take, where that is known.")
    preview: str | None = Field(description="The address of a picture of the edit under way.")


class Files(BaseModel):
    """The addresses of one result's files."""

    target: str
    edited: str = Field(description="The edited video, an MP4.")
    side_by_side: str = Field(description="Clip and edit beside each other, an MP4.")
    poster: str = Field(description="One picture of it, a WebP.")
    manifest: str = Field(description="Everything needed to make it again, as JSON.")


class Results(BaseModel):
    """What came of an edit: one result for each target."""

    results: list[Files]


class Cancelled(BaseModel):
    """What became of an edit that was to be stopped."""

    job: str
    state: str = Field(description="A running edit is cancelled within seconds: follow tells when.")


def add(desk: Desk) -> None:
    """Register the functions in the current `gr.Blocks`."""
    service, settings = desk.service, desk.settings

    def submit(
        clip: gr.FileData, source: str, targets: list[str], preset: str, options: dict[str, Any], request: gr.Request
    ) -> dict[str, Any]:
        """Queue an edit. `clip`: an uploaded video; `source`: what it shows; `targets`: what it should show instead,
        one result each; `preset`: fast, balanced or paper; `options`: further fields of a request by name, for example
        {"end": 2.0, "steps": 30}, or {}. Returns {"job", "owner", "link"}: keep `owner` to be able to cancel."""
        with told():
            edit = asked(source, targets, preset, options)
            raw = uploaded(clip, settings)
            try:
                return started(desk, raw, edit, request)
            finally:
                drop_upload(raw)

    async def follow(job: str, request: gr.Request) -> AsyncIterator[dict[str, Any]]:
        """Report a job's progress, at once and after every change, until it is final. Each answer has `state` (queued,
        running, done, failed, cancelled), `fraction` 0..1, `line` (a sentence), `left` (time) and `preview`."""
        with told():
            # Where the device is lent to an event, this is the one; Spaces knows whose it is by the context.
            computing = asyncio.create_task(asyncio.to_thread(service.compute, job)) if service.executor.lent else None
            async for view in service.follow(job):
                yield await run_in_threadpool(shown, view, request)
            if computing is not None:
                await computing

    def result(job: str, request: gr.Request) -> list[dict[str, Any]]:
        """The finished files of a job, one entry per target: `target`, and the addresses of `edited`, `side_by_side`,
        `poster` and `manifest`. Says why if there are none."""
        with told():
            service.result(job)
            return shown(service.view(job), request)["results"]

    def cancel(job: str, owner: str) -> dict[str, Any]:
        """Stop a job. `owner` is the secret that `submit` returned. Returns {"job", "state"}."""
        with told():
            view = service.cancel(job, owner)
        return {"job": view.id, "state": str(view.state)}

    gr.api(submit, api_name="submit", concurrency_limit=2)
    gr.api(follow, api_name="follow", concurrency_limit=None)
    gr.api(result, api_name="result", concurrency_limit=4)
    gr.api(cancel, api_name="cancel", concurrency_limit=4)


def started(desk: Desk, raw: Path, edit: EditRequest, request: gr.Request | Request) -> dict[str, str]:
    """Queue the edit of a file for a program: what `submit` answers. Raises `EditError`."""
    address, owner = network_address(request), new_secret()  # every job has an owner of its own
    job = desk.service.submit(raw, edit, owner, address, f"program at {address}")
    return {"job": job.id, "owner": owner, "link": job_link(job.id, desk.settings, request)}


def asked(source: Any, targets: Any, preset: Any, options: Any) -> EditRequest:  # noqa: ANN401
    """The request a program asks for. Raises `EditError`."""
    if not isinstance(source, str) or not isinstance(preset, str):
        raise EditError("source and preset must be text.")
    if isinstance(targets, str):
        targets = [targets]
    if not isinstance(targets, list) or not all(isinstance(target, str) for target in targets):
        raise EditError("targets must be a list of sentences.")
    if not isinstance(options, dict):
        raise EditError('options must be fields of a request by name, for example {"steps": 30}, or {}.')
    fixed = {"source", "targets", "preset"} & set(options)
    if fixed:
        raise EditError(f"{', '.join(sorted(fixed))} cannot be among the options: pass it as an argument of its own.")
    EditRequest.from_dict(options)  # before they become arguments: a name such as "cls" is no setting either
    return EditRequest.from_preset(preset, source=source, targets=tuple(targets), **options)


def shown(job: JobView, request: gr.Request | Request) -> dict[str, Any]:
    """A job as the page shows it, with full addresses of its files. Words are compared for it: call it in a thread."""
    return _absolute(page_view(job), seen_address(request))


def _absolute(view: dict[str, Any], base: str) -> dict[str, Any]:
    """File names below the page become full addresses."""

    def full(path: str | None) -> str | None:
        return f"{base}/{path}" if path else path

    view = {**view, "clip": full(view["clip"]), "preview": full(view["preview"])}
    files = ("edited", "side_by_side", "poster", "manifest", "strip", "word_maps")
    view["results"] = [{k: full(v) if k in files else v for k, v in row.items()} for row in view["results"]]
    return view
