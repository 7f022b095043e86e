"""The web app of one installation: page, guard and theme, ready to launch."""

import logging
import os
from copy import copy
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder
from starlette.middleware import Middleware

from editor.jobs import JobService, temporary_folder
from editor.settings import Settings
from editor.web.admission import Admission
from editor.web.agents import Agents
from editor.web.api import NAMES
from editor.web.desk import Desk
from editor.web.door.files import handlers
from editor.web.door.guard import Guard
from editor.web.door.limits import SESSIONS, Bounds
from editor.web.door.links import Links
from editor.web.door.server import Connections, bound_server, throttle_server_logs
from editor.web.door.visitor import Network, counted_address
from editor.web.estimate import Pace
from editor.web.examples import load_examples
from editor.web.monitor import Metrics, MetricsPage, healthz
from editor.web.page import Page
from editor.web.parts import STATIC, head, theme

log = logging.getLogger(__name__)

HUGGING_FACE = "https://huggingface.co"
"""Shows Spaces inside its own pages."""
THREADS = 200
"""Threads for events, and queued events under way. Not Gradio's 40: those are shared with files and `/healthz`, and
events that follow a job hold a place each."""
DIRECT = "predict"
"""The name under which the page posts every event that is not queued and no API."""


class WebApp:
    """Page and guard around one `JobService`. Building it starts nothing. Raises `EditError` as `Agents` does."""

    def __init__(self, service: JobService, examples: Path | None = None, bounds: Bounds | None = None) -> None:
        self.service = service
        self.bounds = bounds or Bounds()
        self.settings = service.settings
        # Gradio reads this when components are made; its own default is shared with every other app of the machine.
        os.environ["GRADIO_TEMP_DIR"] = str(temporary_folder(self.settings))
        # Gradio sums up all events so far after each one, with pandas, for a page that is closed here.
        os.environ |= {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9), "GRADIO_ANALYTICS_MAX_EVENTS": "1"}
        # uvicorn would believe X-Forwarded-For from this machine; who is believed is decided in one place, `Network`.
        os.environ["FORWARDED_ALLOW_IPS"] = ""
        self.network = Network(self.settings)
        self.pace = Pace(self.settings.data, cuda=_has_cuda(self.settings))
        service.admit = Admission(self.pace, self.settings, len(service.executor.slots))
        shipped = load_examples(examples) if examples else load_examples()
        self.desk = Desk(service, self.pace, shipped)
        self.tools = Agents(self.desk) if self.settings.mcp == "on" else None
        self.blocks = Page(self.desk).build()
        # How many may wait is decided by the guard, which tells whose they are and answers with a sentence.
        self.blocks.queue(max_size=None, api_open=False, default_concurrency_limit=4)

    def launch(self, wait: bool = True) -> str:
        """Serve the page; returns its local address. With `wait`, only when the server ends."""
        throttle_server_logs()
        connections = Connections(self.settings, self.network)
        _, local, shared = self.blocks.launch(
            server_name=self.settings.host,
            server_port=self.settings.port,
            share=self.settings.share,
            prevent_thread_lock=True,
            quiet=True,
            **self.options(),
        )
        bound_server(self.blocks.server, connections, self.bounds)
        self.blocks.app.state_holder = CopiedSessions(self.blocks)
        log.info("Recast is at %s (Ctrl-C stops it)", " and ".join(filter(None, (local, shared))))
        self.service.executor.warm()
        if self.tools is not None:
            log.info("Agents find their tools at %sgradio_api/mcp", local)
        if wait:
            self.blocks.block_thread()
        return local

    def options(self) -> dict[str, Any]:
        """What Gradio is launched with, beside the address."""
        return {
            "show_error": False,
            "max_file_size": f"{self.settings.max_upload_mb}mb",
            "enable_monitoring": False,
            "ssr_mode": False,
            "run_history": False,
            "state_session_capacity": SESSIONS,
            "max_threads": THREADS,
            "strict_cors": True,
            "blocked_paths": [str(self.settings.data / name) for name in ("jobs", "inversions", "jobs.sqlite")],
            "app_kwargs": {"middleware": [*self.monitors(), self.guard()], "docs_url": None, "redoc_url": None},
            "footer_links": ["api"],
            "theme": theme(),
            "head": head(),
            "favicon_path": STATIC / "favicon.svg",
        }

    def monitors(self) -> list[Middleware]:
        """What answers before the guard does."""
        if self.settings.metrics == "off":
            return []
        return [Middleware(MetricsPage, metrics=Metrics(self.service), network=self.network)]

    def guard(self) -> Middleware:
        """The guard of this app. The page posts its unqueued events to `run/predict` and names them by number."""
        return Middleware(
            Guard,
            network=self.network,
            bounds=self.bounds,
            events=QueuedEvents(self.blocks),
            run_names=(DIRECT,),
            call_names=NAMES,
            tags=Links(self.service, bool(self.desk.examples)),
            handlers=handlers(self.service, self.pace, self.desk.examples, self.bounds)
            | {"healthz": healthz(self.service)},
            framed_by=(HUGGING_FACE,) if self.settings.public_url.endswith(".hf.space") else (),
            tools=self.tools,
        )


class QueuedEvents:
    """Gradio's queue and sessions as the guard needs them. The only place that looks inside either."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._blocks = blocks

    def of(self, address: str) -> tuple[int, int]:
        """Waiting and running events of one address, and of everybody."""
        clients = [event.request.client for event in list(self._blocks._queue.event_ids_to_events.values())]
        return sum(client is not None and counted_address(client.host) == address for client in clients), len(clients)

    def known(self, number: object) -> bool:
        """Whether this is the number of one of the page's events."""
        return isinstance(number, int) and number in self._blocks.fns

    def unread(self, session: str) -> int:
        """Answers to queued events of a session that nobody has fetched yet."""
        messages = self._blocks._queue.pending_messages_per_session
        return messages[session].qsize() if session in messages else 0

    def forget(self, session: str) -> None:
        """Drop what Gradio keeps for a page session; a page that is still open starts with an empty form."""
        sessions, queue = self._blocks.state_holder, self._blocks._queue
        for event in list(queue.event_ids_to_events.values()):
            if event.session_hash == session:
                event.alive = False  # it would answer to the messages that go now
        for kept in (
            sessions.session_data,
            sessions.time_last_used,
            queue.pending_messages_per_session,
            queue.pending_event_ids_session,
        ):
            kept.pop(session, None)


class CopiedSessions(StateHolder):
    """Gradio's page sessions, each a copy of one that was made before. To make one anew takes Gradio 10 ms of the event
    loop, in which nobody is answered, and anybody can ask for any number."""

    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__()
        self.set_blocks(blocks)
        self._first = SessionState(blocks)

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = self._begun()
        return super().__getitem__(session_id)

    def _begun(self) -> SessionState:
        """A session in which nothing has happened. An event replaces whole entries and the `value` among `props`."""
        state = copy(self._first)
        state.blocks_config = copy(self._first.blocks_config)
        state.config_values = {
            number: {**config, "props": {**config["props"]}} for number, config in self._first.config_values.items()
        }
        state.state_data, state._state_ttl = {}, {}
        return state


def _has_cuda(settings: Settings) -> bool:
    """Whether edits will probably run on an NVIDIA card; only the first guess of a duration depends on it."""
    if settings.executor == "zerogpu":
        return True
    asked = settings.devices or (settings.device,)
    present = "auto" in asked and Path("/proc/driver/nvidia/version").exists()
    return present or any(name.startswith("cuda") for name in asked)
