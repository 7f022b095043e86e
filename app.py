"""Start Recast: settings, job service, page. `make run` calls this; so do the container and a Space."""

import sys

from editor.console import log_to_terminal
from editor.events import EditError
from editor.jobs import JobService
from editor.jobs.service import stop_on_sigterm
from editor.settings import Settings
from editor.web.app import WebApp

if __name__ == "__main__":
    try:
        settings = Settings.from_env()
        log_to_terminal(form=settings.log)
        service = JobService(settings).start()
    except EditError as error:
        sys.exit(str(error))
    stop_on_sigterm(service)
    try:
        WebApp(service).launch()
    except EditError as error:
        sys.exit(str(error))
    finally:
        service.stop()
