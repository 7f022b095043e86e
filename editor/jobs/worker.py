"""The worker process: `python -m editor.jobs.worker`, started and supervised by `editor/jobs/process.py`.

It computes one run after another and keeps whatever the engine keeps (models) warm in between. It listens on stdin
and speaks on stdout; when stdin closes, the server is gone, and so is the worker.
"""

import os
import queue
import signal
import threading
import time
from typing import BinaryIO

from editor.console import log_to_terminal
from editor.jobs.perform import Performer
from editor.jobs.remote import RemotePerformer
from editor.jobs.wire import Beat, Message, Run, Setup, Stop, Warm, decode, encode


class Line:
    """The worker's end of the two pipes."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self.runs: queue.SimpleQueue[Run | Warm] = queue.SimpleQueue()
        self.stop = threading.Event()
        self._incoming = incoming
        self._outgoing = outgoing
        self._sending = threading.Lock()

    def setup(self) -> Setup:
        """The first message."""
        message = decode(self._incoming.readline())
        if not isinstance(message, Setup):
            raise TypeError(f"the first message must be Setup, not {type(message).__name__}")
        return message

    def send(self, message: Message) -> None:
        """Say something to the server. Events come from the engine's thread, heartbeats from another."""
        with self._sending:
            self._outgoing.write(encode(message))
            self._outgoing.flush()

    def listen(self) -> None:
        """Take orders until the server closes the pipe, then end this process at once, even amid a computation."""
        try:
            for line in self._incoming:
                message = decode(line)
                if isinstance(message, Run):
                    self.stop.clear()  # here, in the order of arrival: a stop that follows its run is never lost
                if isinstance(message, Run | Warm):
                    self.runs.put(message)
                elif isinstance(message, Stop):
                    self.stop.set()
        finally:  # a worker that does not hear must not live either
            leave()

    def beat(self, interval: float) -> None:
        """Send heartbeats until this process ends."""
        while True:
            try:
                self.send(Beat())
            except OSError:
                leave()
            time.sleep(interval)


def leave() -> None:
    """End this process and those it started (ffmpeg), without cleaning up: nothing here outlives a run by design."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(0)


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes behind stdin and stdout, for us alone.

    From now on libraries print to stderr, and programs they start read nothing.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(incoming, "rb"), os.fdopen(outgoing, "wb")


def performer_for(setup: Setup) -> Performer | RemotePerformer:
    """What computes here, or has it computed elsewhere."""
    if setup.settings.executor == "ray":
        return RemotePerformer(setup)
    return Performer(setup.engine, setup.settings, setup.timing.preview)


def main() -> None:
    """Serve until the server closes the pipe."""
    line = Line(*private_pipes())
    setup = line.setup()
    log_to_terminal("worker", setup.settings.log)
    performer = performer_for(setup)
    threading.Thread(target=line.beat, args=(setup.timing.beat,), daemon=True).start()
    threading.Thread(target=line.listen, daemon=True).start()
    while True:
        order = line.runs.get()
        if isinstance(order, Warm):
            performer.warm()
        else:
            line.send(performer.run(order.slot, order.task, line.send, line.stop.is_set))


if __name__ == "__main__":
    main()
