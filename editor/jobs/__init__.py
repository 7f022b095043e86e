"""What outlives a request: the store, the worker process, following and cancelling. Imports no torch.

`JobService` is the door; `JobView` is what it shows.
"""

from editor.jobs.files import temporary_folder, upload_folder
from editor.jobs.intake import as_allowed, check_lengths
from editor.jobs.service import JobService, new_secret
from editor.jobs.view import Health, JobState, JobView, UnknownJob

__all__ = [
    "Health",
    "JobService",
    "JobState",
    "JobView",
    "UnknownJob",
    "as_allowed",
    "check_lengths",
    "new_secret",
    "temporary_folder",
    "upload_folder",
]
