"""Look at a job until it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable

from editor.jobs.view import JobView


async def follow(
    view: Callable[[str, str | None], JobView], job_id: str, owner: str | None, interval: float
) -> AsyncIterator[JobView]:
    """Yield `view(job_id, owner)` at once and after every change, up to and including the final state.

    The store is asked rather than the runner told: the job may run in another server process. Asking happens in a
    thread, so the event loop never waits for the disk.
    """
    last: JobView | None = None
    while last is None or not last.state.final:
        now = await asyncio.to_thread(view, job_id, owner)
        if now != last:
            yield now
        last = now
        if not now.state.final:
            await asyncio.sleep(interval)
