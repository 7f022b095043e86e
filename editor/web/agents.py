"""The functions of `editor.web.api` as tools for agents, over the Model Context Protocol (MCP); off unless asked for.

Gradio would offer them itself, but it fetches clips from whatever address it is given, calls a queued function over a
connection of its own, so that all agents would be one visitor to the limits, and answers in Python's notation. Here a
tool runs within the request that calls it, behind the same guard as the page's events, and answers in JSON.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import fields
from inspect import getdoc
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import gradio as gr
from pydantic import BaseModel, Field, TypeAdapter, WithJsonSchema, validate_call
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from editor.events import EditError
from editor.jobs import JobView
from editor.options import quoted
from editor.request import PRESETS, EditRequest
from editor.web import texts
from editor.web.api import Cancelled, Files, Progress, Results, Started, asked, shown, started
from editor.web.desk import Desk
from editor.web.door.uploads import drop_upload, uploaded
from editor.web.door.visitor import seen_address
from editor.web.told import told

if TYPE_CHECKING:
    from mcp.types import Tool

log = logging.getLogger(__name__)

INSTRUCTIONS = (
    "Recast edits a short video as a sentence says. Call submit, then follow until final is true, then result. An edit "
    "takes from seconds to many minutes and goes on while nobody follows it; its link shows it in a browser."
)
CLIP = (
    "The clip to edit. Either the name of an example: {examples}. Or a file that was uploaded before: post it to "
    "{address}/gradio_api/upload as multipart/form-data in a field named files, for example with "
    "`curl -F files=@clip.mp4 {address}/gradio_api/upload`, and pass the path that it answers in a list; it serves for "
    "one submit. Addresses are not fetched, and data: addresses are not taken."
)
OPTIONS = (
    *("start", "end", "strength", "model", "steps", "key_fps", "max_frames", "size", "negative_prompt"),
    *("guidance_scale", "word_weights"),
)
"""Fields of a request that agents are told of by name; the others are taken as well."""
LENT = (
    "EDITOR_MCP is 'on', but this installation computes on GPUs that are lent to visitors of the page "
    "(EDITOR_EXECUTOR=zerogpu), and an agent is lent none. Set EDITOR_MCP=off."
)
MISSING = (
    "EDITOR_MCP is 'on', but the package '{package}' is not installed. Install what it needs with: "
    "pip install -r requirements-mcp.txt. Or set EDITOR_MCP=off."
)
LONGEST = 50.0
"""Seconds that `follow` waits at most: clients commonly give up after a minute."""
NORMALISED = 2
"""Clips of agents that are rewritten together, as of other programs."""


def _options_schema() -> dict[str, Any]:
    """What the optional fields of a request are, as a JSON Schema."""
    properties = {}
    for f in (f for f in fields(EditRequest) if f.name in OPTIONS):
        meta = f.metadata
        bounds = {"minimum": meta["low"], "maximum": meta["high"], "enum": list(meta["choices"]) or None}
        found = TypeAdapter(f.type).json_schema()
        if found.get("type") == "object":  # a mapping's values have the range
            bounds = {}
        properties[f.name] = {
            **found,
            **{k: v for k, v in bounds.items() if v is not None},
            "description": meta["help"],
        }
    meaning = "Further settings by name; those that are left out have good values."
    return {"type": "object", "properties": properties, "additionalProperties": True, "description": meaning}


Job = Annotated[str, Field(description="The job, as submit answered.")]
Sentence = Annotated[str, Field(description="What the clip shows, in one sentence: a red car on the road.")]
Targets = Annotated[
    list[str], Field(description="What it should show instead, one sentence per result: a blue car on the road.")
]
Preset = Annotated[
    Literal[*PRESETS],
    Field(description="fast for a quick look, balanced for good quality, paper for the published method, the slowest."),
]
Options = Annotated[dict[str, Any], WithJsonSchema(_options_schema())]
Seconds = Annotated[float, Field(ge=0, le=LONGEST, description="How long to wait for the end, at most.")]


class Agents:
    """An ASGI app that answers one message of an agent per request and keeps nothing between them.

    Raises `EditError` where there can be none.
    """

    def __init__(self, desk: Desk) -> None:
        if desk.service.executor.lent:
            raise EditError(LENT)
        try:
            from mcp.server.lowlevel import Server
        except ModuleNotFoundError as error:
            raise EditError(MISSING.format(package=error.name)) from error
        self._desk = desk
        self._service = desk.service
        self._examples = {example.file.stem: example for example in desk.examples}
        self._turns = asyncio.Semaphore(NORMALISED)
        self._server = Server("Recast", instructions=INSTRUCTIONS)
        offered = (self.submit, self.follow, self.result, self.cancel)
        self._calls = {tool.__name__: validate_call(tool) for tool in offered}
        self._offered = [_described(tool) for tool in offered]
        self._server.list_tools()(self._listed)
        self._server.call_tool()(self._called)
        # The package logs what is sent to it, sometimes as nobody, and anybody may send anything. What fails in here is
        # logged below.
        logging.getLogger("mcp").setLevel(logging.CRITICAL)
        logging.getLogger().addFilter(_of_others)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message."""
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        manager = StreamableHTTPSessionManager(self._server, json_response=True, stateless=True)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    async def submit(
        self,
        clip: str,
        source: Sentence,
        targets: Targets,
        preset: Preset = "balanced",
        options: Options = {},  # noqa: B006 - shown as the default, and never changed
    ) -> Started:
        """Start the edit of a short video: it is queued, and made while you follow it or not."""
        edit = asked(source, targets, preset, {"model": self._desk.settings.model, **options})
        if (example := self._examples.get(clip)) is not None:
            return Started(**await self._start(example.file, edit))
        raw = self._uploaded(clip)
        try:
            return Started(**await self._start(raw, edit))
        finally:
            drop_upload(raw)

    async def follow(self, job: Job, seconds: Seconds = 20.0) -> Progress:
        """Tell how far an edit is, when it is final or after some seconds. Call it again until final is true."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), aclosing(self._service.follow(job)) as views:
                async for _ in views:
                    pass
        view = await self._shown(await run_in_threadpool(self._service.view, job))
        return Progress(**{name: view[name] for name in Progress.model_fields})

    async def result(self, job: Job) -> Results:
        """The files of a finished edit; why there are none, where it has none."""
        await run_in_threadpool(self._service.result, job)
        view = await self._shown(await run_in_threadpool(self._service.view, job))
        return Results(results=[Files(**{name: row[name] for name in Files.model_fields}) for row in view["results"]])

    async def cancel(self, job: Job, owner: Annotated[str, Field(description="The secret from submit.")]) -> Cancelled:
        """Stop an edit of your own, whether it waits or runs."""
        view = await run_in_threadpool(self._service.cancel, job, owner)
        return Cancelled(job=view.id, state=str(view.state))

    @property
    def _request(self) -> Request:
        """The request that is being answered; the guard has put the visitor's address into it."""
        return self._server.request_context.request

    async def _start(self, raw: Path, edit: EditRequest) -> dict[str, str]:
        async with self._turns:
            return await run_in_threadpool(started, self._desk, raw, edit, self._request)

    async def _shown(self, view: JobView) -> dict[str, Any]:
        return await run_in_threadpool(shown, view, self._request)

    def _uploaded(self, clip: str) -> Path:
        try:
            return uploaded(clip, self._desk.settings)
        except EditError:
            raise EditError(
                f"There is no clip '{quoted(clip)}'. Give the path of an upload, which serves once, or the name of an "
                f"example: {', '.join(self._examples) or 'there are none here'}. Addresses are not fetched."
            ) from None

    async def _listed(self) -> "list[Tool]":
        """The tools, with the address that an upload goes to as this agent sees it."""
        address = self._desk.settings.public_url.rstrip("/") or seen_address(self._request)
        named = "; ".join(f"{name} ({example.source})" for name, example in self._examples.items()) or "none here"
        submit, *others = (tool.model_copy(deep=True) for tool in self._offered)
        taken = submit.inputSchema["properties"]
        taken["clip"]["description"] = CLIP.format(examples=named, address=address)
        models = {"enum": list(self._desk.models), "default": self._desk.settings.model}
        taken["options"]["properties"]["model"] |= models | {"description": "Which model edits."}
        return [submit, *others]

    async def _called(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """One call of a tool. What it raises is told to the agent, so it says nothing of this machine."""
        if name not in self._calls:
            raise ValueError(f"There is no tool '{quoted(name)}'. There are: {', '.join(self._calls)}.")
        try:
            with told():
                answer = await self._calls[name](**arguments)
        except gr.Error as error:
            raise ValueError(error.message) from None
        except Exception as error:
            places = ", ".join(f"{Path(at.filename).name}:{at.lineno}" for at in extract_tb(error.__traceback__)[-3:])
            log.error(f"the tool {name} failed: {type(error).__name__} at {places}: %s", quoted(error))
            raise ValueError(texts.FAILED) from None
        return answer.model_dump(mode="json")


def _of_others(record: logging.LogRecord) -> bool:
    """Whether a line of the log is not the package's."""
    return "mcp" not in Path(record.pathname).parts


def _described(tool: Callable[..., Awaitable[BaseModel]]) -> "Tool":
    """A tool as agents are told of it, by its signature and its docstring."""
    from mcp.types import Tool, ToolAnnotations

    answer = get_type_hints(tool)["return"]
    name = tool.__name__
    return Tool(
        name=name,
        description=getdoc(tool),
        inputSchema=TypeAdapter(tool).json_schema(),
        outputSchema=answer.model_json_schema(mode="serialization"),
        annotations=ToolAnnotations(
            readOnlyHint=name in ("follow", "result"), destructiveHint=name == "cancel", openWorldHint=False
        ),
    )
