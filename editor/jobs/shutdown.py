"""Leave in order when the machine asks: containers and Spaces stop a server with SIGTERM."""

import logging
import os
import signal
import threading
from types import FrameType

from editor.jobs.service import JobService

log = logging.getLogger(__name__)


def stop_on_sigterm(service: JobService) -> None:
    """On SIGTERM stop `service` and end the process within 10 seconds. Call it in the main thread.

    Stopping happens in a thread of its own: a signal handler may interrupt the main thread while that holds a lock
    which stopping needs. The process then ends at once, because web servers wait for open connections much longer.
    """

    def leave() -> None:
        try:
            service.stop()
        finally:
            logging.shutdown()
            os._exit(0)

    def handle(number: int, frame: FrameType | None) -> None:
        log.info("SIGTERM: handing the running job back")
        last_resort = threading.Timer(9.5, os._exit, args=(1,))
        last_resort.daemon = True
        last_resort.start()
        threading.Thread(target=leave, daemon=True).start()

    signal.signal(signal.SIGTERM, handle)
