"""The store alone: who may run what, and what becomes of a job when its server is gone. No processes, no waits."""

import json
import re
import sqlite3

import pytest

from editor.events import EditError, EditResult, Progress, Stage
from editor.jobs import JobState, UnknownJob, files, new_secret
from editor.jobs.claims import SERVER_LOST, WORKER_LOST, Claims
from editor.jobs.database import SCHEMA
from editor.jobs.store import Store
from tests.jobs.conftest import asking, settings_in

FOREVER, PAST = 3600.0, -1.0
"""Leases: one that holds during a test, and one that has run out when it is given."""


@pytest.fixture
def store(tmp_path):
    files.prepare(tmp_path)
    made = Store(tmp_path)
    yield made
    made.close()


def waiting(store, owner=None, address="", **settings):
    job_id = store.reserve(asking(), owner or new_secret(), address, settings_in(store.data, **settings))
    store.ready(job_id)
    return job_id


def result(folder):
    return EditResult("a blue car", folder, {"psnr": 30})


def test_jobs_run_in_the_order_they_came_and_one_per_slot(store):
    first, second, third = (waiting(store) for _ in range(3))
    assert [store.view(job).position for job in (first, second, third)] == [1, 2, 3]
    here, there = Claims(store, FOREVER), Claims(store, FOREVER)
    claim = here.take("device")
    assert claim.job_id == first
    assert there.take("device") is None and here.take("device") is None
    assert there.take("other device").job_id == second
    assert store.view(third).position == 1 and store.view(first).position is None
    assert here.finish(claim, (), files.job_folder(store.data, first))
    assert here.take("device").job_id == third


def served(store, claims, count):
    """Take and finish so many jobs on one device; their ids."""
    order = []
    for _ in range(count):
        claim = claims.take("device")
        claims.fail(claim, "no")
        order.append(claim.job_id)
    return order


def test_visitors_take_turns_and_each_ones_oldest_is_first(store):
    ann, ben, cid = new_secret(), new_secret(), new_secret()
    a = [waiting(store, ann) for _ in range(4)]
    claims = Claims(store, FOREVER)
    assert served(store, claims, 1) == a[:1]
    b = [waiting(store, ben) for _ in range(2)]
    c = [waiting(store, cid)]
    order = [b[0], c[0], a[1], b[1], a[2], a[3]]
    assert [store.view(job).position for job in order] == [1, 2, 3, 4, 5, 6], "the place shown is the place kept"
    assert served(store, claims, 6) == order


def test_who_asks_again_and_again_does_not_overtake(store):
    ann, ben = new_secret(), new_secret()
    b = [waiting(store, ben) for _ in range(3)]
    claims = Claims(store, FOREVER)
    again = [waiting(store, ann)]
    order = []
    while not set(b) <= set(order):
        order += served(store, claims, 1)
        if order[-1] in again:
            again.append(waiting(store, ann))
    assert [job in b for job in order] == [True, False] * 2 + [True]


def test_a_stream_of_newcomers_holds_nobody_up(store):
    """As one who takes a new secret for every job would be."""
    ben = new_secret()
    b = [waiting(store, ben) for _ in range(3)]
    order = []
    while not set(b) <= set(order):
        waiting(store)  # as many come as are served
        order += served(store, Claims(store, FOREVER), 1)
    assert [order.index(job) for job in b] == [0, 4, 10]


def test_a_program_counts_by_its_address_not_by_its_secrets(store):
    ask = {"address": "a", "settings": settings_in(store.data, jobs_per_visitor=2), "visitor": "program at a"}
    many = [store.reserve(asking(), new_secret(), **ask) for _ in range(2)]
    with pytest.raises(EditError, match="already have 2 edits"):
        store.reserve(asking(), new_secret(), **ask)
    for job in many:
        store.ready(job)
    person = waiting(store, address="a")
    assert served(store, Claims(store, FOREVER), 3) == [many[0], person, many[1]]


def test_idle_devices_serve_whoever_is_there(store):
    owner = new_secret()
    first, second = waiting(store, owner), waiting(store, owner)
    claims = Claims(store, FOREVER)
    assert [claims.take(slot).job_id for slot in ("one", "two")] == [first, second]


def test_the_time_until_it_starts_follows_from_the_order(store):
    ann, ben = new_secret(), new_secret()

    def expected(owner, seconds):
        job = waiting(store, owner)
        store.ready(job, seconds)
        return job

    a = [expected(ann, seconds) for seconds in (100.0, 200.0, 300.0)]
    assert [store.view(job).wait for job in a] == [0.0, 100.0, 300.0]
    claims = Claims(store, FOREVER)
    running = claims.take("device")
    b = expected(ben, 50.0)
    assert [store.view(job).wait for job in (b, a[1], a[2])] == [100.0, 150.0, 350.0], (
        "a visitor who came later is next"
    )
    claims.tick(running, Progress(Stage.EDIT, 3, 25, 41.0), 0)
    assert store.view(b).wait == 40.0, "what the edit itself says counts more, in steps of five seconds"
    store.devices = lambda: 2
    assert [store.view(job).wait for job in (b, a[1], a[2])] == [0.0, 40.0, 50.0]
    store.devices = lambda: 0
    assert store.view(b).wait is None, "nobody is there to do it"
    waiting(store, ben)
    assert store.view(waiting(store, ann)).wait is None, "one ahead has no estimate"


def test_a_reserved_place_counts_but_cannot_run(store):
    owner = new_secret()
    reserved = store.reserve(asking(), owner, "", settings_in(store.data))
    assert Claims(store, FOREVER).take("device") is None
    assert store.history(owner, 10) == ()
    with pytest.raises(UnknownJob):
        store.view(reserved)
    with pytest.raises(EditError, match="already have 1 edits"):
        waiting(store, owner, jobs_per_visitor=1)
    store.discard(reserved)
    assert waiting(store, owner)


def test_a_lost_job_runs_again_once_at_its_old_place_and_then_fails(store):
    lost, other = waiting(store), waiting(store)
    dying = Claims(store, PAST)
    assert dying.take("device").job_id == lost
    again = dying.take("device")
    assert (again.job_id, again.run) == (lost, 2)
    assert "being run again" in store.view(lost).message
    assert dying.take("device").job_id == other
    assert store.view(lost).state is JobState.FAILED
    assert store.view(lost).error == SERVER_LOST
    assert store.view(lost).ended is not None


def test_a_job_lost_twice_says_what_happened_the_last_time(store):
    """Was: told to be a matter of memory, also when the server had been killed."""
    by_server, by_worker = waiting(store), waiting(store)
    dying = Claims(store, PAST)
    for _ in range(2):
        dying.take("device")
    claims = Claims(store, FOREVER)
    first = claims.take("device")
    assert first.job_id == by_worker
    assert store.view(by_server).error == SERVER_LOST and "memory" not in SERVER_LOST
    claims.lose(first)
    claims.lose(claims.take("device"))
    assert store.view(by_worker).error == WORKER_LOST and "memory" in WORKER_LOST


def test_a_job_handed_back_is_not_held_against(store):
    job = waiting(store)
    claims = Claims(store, FOREVER)
    for run in (1, 2, 3):
        claim = claims.take("device")
        assert (claim.job_id, claim.run) == (job, run)
        claims.hand_back(claim)
        assert store.view(job).state is JobState.QUEUED
    claims.lose(claims.take("device"))
    assert store.view(job).state is JobState.QUEUED


@pytest.mark.parametrize("ending", ["hand_back", "lose", "lease"])
def test_a_job_that_should_stop_is_not_run_again(store, ending):
    owner = new_secret()
    job = waiting(store, owner)
    claims = Claims(store, PAST if ending == "lease" else FOREVER)
    claim = claims.take("device")
    store.cancel(job, owner)
    assert store.view(job).stopping
    if ending == "lease":
        assert claims.take("device") is None
    else:
        getattr(claims, ending)(claim)
    assert store.view(job).state is JobState.CANCELLED
    assert not store.view(job).stopping


def test_whoever_slept_through_the_lease_has_no_say(store):
    job = waiting(store)
    slow, quick = Claims(store, PAST), Claims(store, FOREVER)
    old = slow.take("device")
    new = quick.take("device")
    assert (new.job_id, new.run) == (job, 2)
    folder = files.job_folder(store.data, job)
    assert slow.tick(old, None, 1) is None
    assert not slow.finish(old, (result(folder),), folder)
    assert not slow.fail(old, "no") and not slow.cancelled(old)
    slow.hand_back(old)
    slow.lose(old)
    now = store.view(job)
    assert (now.state, now.results, now.preview_version) == (JobState.RUNNING, (), 0)
    assert quick.finish(new, (result(folder / "run-2"),), folder)
    assert store.view(job).results == (result(folder / "run-2"),)


def test_a_tick_renews_the_lease_and_tells_how_far_it_is(store):
    owner = new_secret()
    job = waiting(store, owner)
    claims = Claims(store, FOREVER)
    claim = claims.take("device")
    assert claims.tick(claim, Progress(Stage.EDIT, 3, 25, 40.0, "Editing."), 2) is False
    assert claims.tick(claim, None, 1) is False
    now = store.view(job)
    assert (now.stage, now.done, now.total, now.seconds_left, now.message) == (Stage.EDIT, 3, 25, 40.0, "Editing.")
    assert now.preview_version == 3
    assert now.preview is None, "no file was written, so none is shown"
    store.cancel(job, owner)
    assert claims.tick(claim, None, 0) is True
    short = Claims(store, PAST)
    short.server = claims.server
    assert short.tick(claim, None, 0) is True
    assert claims.take("device") is None, "the cancelled job is over"
    assert store.view(job).state is JobState.CANCELLED, "because its lease had run out"


def test_results_appear_whole(store):
    job = waiting(store)
    claims = Claims(store, FOREVER)
    claim = claims.take("device")
    folder = files.job_folder(store.data, job)
    assert store.view(job).results == ()
    assert claims.finish(claim, (result(folder / "run-1"), result(folder / "run-1")), folder)
    assert store.view(job).results == (result(folder / "run-1"), result(folder / "run-1"))
    assert not claims.fail(claim, "too late"), "a final state stays"


def test_results_that_an_older_version_stored_are_still_found(store):
    job = waiting(store)
    claims, folder = Claims(store, FOREVER), files.job_folder(store.data, job)
    claims.finish(claims.take("device"), (result(folder / "run-1" / "0"),), folder)
    old = [{"target": "a blue car", "edited": "run-1/0/edited.mp4", "manifest": "run-1/0/manifest.json", "summary": {}}]
    with store.database.transaction() as db:
        db.execute("UPDATE jobs SET results = ?", (json.dumps(old),))
    (found,) = store.view(job).results
    assert found.edited == folder / "run-1" / "0" / "edited.mp4"


def test_secrets_and_addresses_are_not_kept(store):
    owner = new_secret()
    job = waiting(store, owner, address="203.0.113.9")
    claims = Claims(store, FOREVER)
    claims.fail(claims.take("device"), "no")
    stored = "\n".join(sqlite3.connect(store.data / "jobs.sqlite").iterdump())
    assert job in stored
    assert owner not in stored
    assert "203.0.113.9" not in stored


def test_only_the_owner_may_stop_or_delete(store):
    owner = new_secret()
    job = waiting(store, owner)
    for act in (store.cancel, store.delete):
        for wrong in (new_secret(), "", owner[:-1], "\ud800", None, 7, {"owner": owner}):
            with pytest.raises(EditError, match="Only the browser"):
                act(job, wrong)
    assert store.view(job).state is JobState.QUEUED
    assert store.view(job, owner).mine
    assert not store.view(job).mine and not store.view(job, new_secret()).mine
    claim = Claims(store, FOREVER).take("device")
    with pytest.raises(EditError, match="Stop it first"):
        store.delete(job, owner)
    assert claim.job_id == job
    store.cancel(job, owner)
    Claims.cancelled(Claims(store, FOREVER), claim)
    store.delete(job, owner)
    with pytest.raises(UnknownJob, match="no such edit"):
        store.view(job)


def test_limits_are_refused_in_plain_words(store):
    owner = new_secret()
    waiting(store, owner, address="a")
    with pytest.raises(EditError, match="already have 1 edits waiting or running; the limit is 1"):
        waiting(store, owner, address="b", jobs_per_visitor=1)
    waiting(store, address="a", jobs_per_address=2)
    with pytest.raises(EditError, match="2 edits from your network"):
        waiting(store, address="a", jobs_per_address=2)
    waiting(store, queue_size=3)
    with pytest.raises(EditError, match="The queue is full: 3 edits"):
        waiting(store, queue_size=3)


def test_running_jobs_count_for_the_address_and_not_for_the_queue(store):
    waiting(store, address="a")
    Claims(store, FOREVER).take("device")
    with pytest.raises(EditError, match="from your network"):
        waiting(store, address="a", jobs_per_address=1)
    waiting(store, address="b", queue_size=1)


def test_ids_cannot_be_guessed_or_name_other_places(store):
    ids = {waiting(store) for _ in range(5)}
    assert len(ids) == 5
    assert all(len(bytes.fromhex(job)) == 16 for job in ids), "128 random bits"
    for name in ("", "..", "../x", "a" * 31, "A" * 32, "a" * 32 + "\n", "g" * 32, "\ud800" * 32, None, 7, ["a" * 32]):
        with pytest.raises(ValueError, match="not a job id"):
            files.job_folder(store.data, name)
        with pytest.raises(UnknownJob):
            store.view(name)


def test_a_store_of_the_first_format_is_brought_up_to_date(tmp_path):
    old = SCHEMA.replace("turn, seq", "seq")
    for column in ("visitor", "turn", "estimate"):
        old = re.sub(rf"\n    {column} [^\n]*", "", old)
    old = old.replace("error TEXT,\n", "error TEXT\n")
    with sqlite3.connect(tmp_path / "jobs.sqlite") as db:
        db.executescript(f"{old}PRAGMA user_version = 1")
        db.execute(
            "INSERT INTO jobs (id, state, ready, owner, address, request, created)"
            f" VALUES ('{'a' * 32}', 'queued', 1, 'x', '', '{{}}', 1.0)"
        )
    db.close()
    store = Store(tmp_path)
    new = waiting(store)
    assert [store.view(job).position for job in ("a" * 32, new)] == [1, 2]
    store.close()
    Store(tmp_path).close()


def test_a_store_of_another_format_is_refused(store, tmp_path):
    with sqlite3.connect(store.data / "jobs.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(EditError, match="format 99"):
        Store(tmp_path)
