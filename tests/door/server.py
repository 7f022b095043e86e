"""The page in a process of its own: `python -m tests.door.server <settings and bounds as JSON>`.

It serves until its standard input closes, so that it never outlives the test.
"""

import json
import logging
import sys
from pathlib import Path

from editor.jobs import JobService
from editor.settings import Settings
from editor.web.app import WebApp
from editor.web.door.limits import Bounds
from tests.web.serving import ENGINE, QUICK


def main() -> None:
    told = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    settings = Settings(**{**told["settings"], "data": Path(told["settings"]["data"])})
    service = JobService(settings, engine=ENGINE, timing=QUICK).start()
    app = WebApp(service, examples=Path(told["shelf"]), bounds=Bounds(**told["bounds"]))
    try:
        app.launch(wait=False)
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        service.stop()


if __name__ == "__main__":
    main()
