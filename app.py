"""Start Recast: settings, job service, page. `make run` calls this; so do the container and a Space."""

import sys

from editor.console import log_to_terminal
from editor.events import EditError
from editor.jobs import JobService
from editor.jobs.service import stop_on_sigterm
from editor.settings import Settings
from editor.web.app import WebApp

if __name__ == "__main__":
    log_to_terminal()
    try:
        service = JobService(Settings.from_env()).start()
    except EditError as error:
        sys.exit(str(error))
    stop_on_sigterm(service)
    try:
        WebApp(service).launch()
    finally:
        service.stop()
