"""Start Recast: settings, job service, page. `make run` calls this; so do the container and a Space."""

import logging
import sys

from editor.events import EditError
from editor.jobs import JobService
from editor.jobs.service import stop_on_sigterm
from editor.settings import Settings
from editor.web.app import WebApp

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        service = JobService(Settings.from_env()).start()
    except EditError as error:
        sys.exit(str(error))
    stop_on_sigterm(service)
    try:
        WebApp(service).launch()
    finally:
        service.stop()
