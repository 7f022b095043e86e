"""A server process for tests: `python -m tests.jobs.server <data folder>` works on the jobs there until told to go."""

import dataclasses
import logging
import sys
import threading
from pathlib import Path

from editor.jobs import JobService
from editor.jobs.service import stop_on_sigterm
from tests.jobs.conftest import ENGINE, QUICK, settings_in


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    timing = dataclasses.replace(QUICK, lease=3.0)
    service = JobService(settings_in(Path(sys.argv[1])), ENGINE, timing=timing).start()
    stop_on_sigterm(service)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
