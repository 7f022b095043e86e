"""What a visitor is told when an event fails, and what the log gets."""

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

import gradio as gr

from editor.events import DISK_FULL, EditError, is_disk_full
from editor.jobs.perform import without_paths
from editor.options import quoted
from editor.web import texts
from editor.web.texts import _, heard

log = logging.getLogger(__name__)


class Told(gr.Blocks):
    """A page whose events fail in a sentence, and which speaks the visitor's language.

    Gradio's tracebacks hold all that a visitor sent, and anybody can cause them with values that no page sends; here
    the log gets one short line.
    """

    translated: Mapping[str, Mapping[str, Any]] = {}
    """Language -> what differs in the config that Gradio serves: see `Page.build`."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The page as Gradio hands it to the browser, for the visitor who is being answered."""
        return {**self._config, **self.translated.get(texts.language.get(), {})}

    @config.setter
    def config(self, value: Mapping[str, Any]) -> None:
        self._config = value

    async def process_api(self, block_fn: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        """One event, from its inputs to its outputs. Raises `gr.Error`."""
        try:
            # A queued event runs apart from the request that brought it.
            with texts.speaking(_language_of(kwargs.get("request"))), told():
                return await super().process_api(block_fn, *args, **kwargs)
        except Exception as error:
            if isinstance(error, gr.Error) and not error.print_exception:
                raise
            event = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
            places = ", ".join(f"{Path(at.filename).name}:{at.lineno}" for at in extract_tb(error.__traceback__)[-3:])
            # Of each kind a few are written: `editor.web.door.server.Throttle` goes by the text before the arguments.
            log.error(f"the event {event.name} failed: {type(error).__name__} at {places}: %s", quoted(error))
            raise gr.Error(_(texts.FAILED), title=_(texts.DIDNT), print_exception=False) from None


def _language_of(request: gr.Request | list[gr.Request] | None) -> str:
    headers = getattr(request, "headers", None)
    return texts.language.get() if headers is None else texts.preferred(headers.get("accept-language"))


@contextmanager
def told() -> Iterator[None]:
    """An `EditError` inside, or a full disk, becomes Gradio's message to the visitor; the log gets no traceback."""
    try:
        yield
    except EditError as error:
        message = heard(without_paths(str(error)))
    except (OSError, sqlite3.OperationalError) as error:
        if not is_disk_full(error) and "disk is full" not in str(error):
            raise
        log.warning("an event failed: %s", quoted(error))
        message = heard(DISK_FULL)
    else:
        return
    raise gr.Error(message, title=_(texts.DIDNT), print_exception=False)
