"""Twenty visitors at once against a queue of eight."""

import threading
from concurrent.futures import ThreadPoolExecutor

from editor.events import EditError
from editor.jobs import JobState
from tests.jobs.conftest import wait_for, wait_until


def test_twenty_visitors_against_a_queue_of_eight(house):
    service = house.service(queue_size=8).start()
    first = house.submit(service, "steps=3 gate")
    wait_for(lambda: house.runs(first.id))
    together = threading.Barrier(20)

    def visit(number):
        together.wait()
        try:
            return house.submit(service, f"steps={2 + number % 3}")
        except EditError as refusal:
            return str(refusal)

    with ThreadPoolExecutor(20) as visitors:
        answers = list(visitors.map(visit, range(20)))
    refusals = [answer for answer in answers if isinstance(answer, str)]
    jobs = [answer for answer in answers if not isinstance(answer, str)]
    assert len(jobs) == 8 and len(refusals) == 12
    assert all(text.startswith("The queue is full: 8 edits are waiting.") for text in refusals)
    assert service.view(first.id).state is JobState.RUNNING, "all were answered while the first job still ran"
    house.open_gate()
    for job in (first, *jobs):
        wait_until(service, job, JobState.DONE)
    log = house.on_device()
    assert [word for word, _ in log] == ["begin", "end"] * 9, "never two jobs on the device"
    places = sorted(jobs, key=lambda job: service.view(job.id).started)
    assert [job.id for job in places] == [name for word, name in log[2:] if word == "begin"]
