"""The web app of one installation: page, guard and theme, ready to launch."""

import logging
import os
from pathlib import Path
from typing import Any

from starlette.middleware import Middleware

from editor.jobs import JobService, temporary_folder
from editor.settings import Settings
from editor.web.api import NAMES
from editor.web.desk import Desk
from editor.web.door.files import handlers
from editor.web.door.guard import Guard
from editor.web.estimate import Pace
from editor.web.examples import load_examples
from editor.web.page import Page
from editor.web.parts import STATIC, head, theme

log = logging.getLogger(__name__)

DIRECT = "predict"
"""The name under which the page posts every event that is not queued and no API."""


class WebApp:
    """Page and guard around one `JobService`. Building it starts nothing."""

    def __init__(self, service: JobService, examples: Path | None = None) -> None:
        self.service = service
        self.settings = service.settings
        # Gradio reads this when components are made; its own default is shared with every other app of the machine.
        os.environ["GRADIO_TEMP_DIR"] = str(temporary_folder(self.settings))
        self.pace = Pace(self.settings.data, cuda=_has_cuda(self.settings))
        shipped = load_examples(examples) if examples else load_examples()
        self.desk = Desk(service, self.pace, shipped)
        self.blocks = Page(self.desk).build()
        self.blocks.queue(max_size=30, api_open=False, default_concurrency_limit=4)

    def launch(self, wait: bool = True) -> str:
        """Serve the page; returns its local address. With `wait`, only when the server ends."""
        _, local, shared = self.blocks.launch(
            server_name=self.settings.host,
            server_port=self.settings.port,
            share=self.settings.share,
            prevent_thread_lock=True,
            quiet=True,
            **self.options(),
        )
        log.info("Recast is at %s (Ctrl-C stops it)", " and ".join(filter(None, (local, shared))))
        log.info("The model %s is loaded with the first edit", self.settings.model)
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
            "strict_cors": True,
            "blocked_paths": [str(self.settings.data / name) for name in ("jobs", "inversions", "jobs.sqlite")],
            "app_kwargs": {"middleware": [self.guard()], "docs_url": None, "redoc_url": None},
            "footer_links": ["api"],
            "theme": theme(),
            "head": head(),
            "favicon_path": STATIC / "favicon.svg",
        }

    def guard(self) -> Middleware:
        """The guard of this app. The page posts its unqueued events to `run/predict` and names them by number."""
        return Middleware(
            Guard,
            upload_bytes=self.settings.max_upload_mb * 1_000_000,
            run_names=(DIRECT,),
            call_names=NAMES,
            handlers=handlers(self.service, self.pace, self.desk.examples),
        )


def _has_cuda(settings: Settings) -> bool:
    """Whether edits will probably run on an NVIDIA card; only the first guess of a duration depends on it."""
    return settings.device == "cuda" or (settings.device == "auto" and Path("/proc/driver/nvidia/version").exists())
