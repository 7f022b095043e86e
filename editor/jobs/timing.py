"""Every waiting time of the job system, in seconds, in one place; tests shorten them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """How long things may take before somebody acts."""

    tick: float = 0.25
    """Between two looks at a running job: lease renewed, progress stored, cancel noticed."""
    lease: float = 15.0
    """A server not heard of for this long has lost its running job."""
    poll: float = 0.5
    """Between two looks for a waiting job when nobody wakes the runner (a job handed in by another server)."""
    grace: float = 1.2
    """Time that a running edit has to honour a stop before its worker is killed: whoever pressed Stop sees it stop
    within two seconds. An edit looks at every layer of a network; what takes longer is loading, or one huge layer."""
    shutdown: float = 8.0
    """Most time that `JobService.stop` waits for the running edit to be handed back."""
    beat: float = 1.0
    """Between two heartbeats of the worker process."""
    silence: float = 120.0
    """A worker without heartbeat for this long is taken for hung. Loading big libraries can hold it for a while."""
    news: float = 0.2
    """Between two looks at a worker on another machine; what it said in between is overtaken and never sent."""
    scout: float = 2.0
    """Between two looks at which machines a cluster has."""
    rest: float = 10.0
    """Time for which a machine that lost its worker gets no job: as long as a cluster may take to notice its end."""
    begin: float = 60.0
    """Time that a worker on another machine has to start."""
    preview: float = 1.0
    """Least time between two previews: they are files."""
    follow: float = 0.5
    """Between two looks of a follower."""
    sweep: float = 60.0
    """Between two rounds of the janitor."""
    raw_upload: float = 300.0
    """Age at which an upload that nothing was made of is deleted, in seconds since its last byte."""
    upload: float = 2 * 3600.0
    """Age at which clips that were put into a form are deleted."""
    reservation: float = 300.0
    """Age at which a place in the queue whose upload was never finished is given free (its server died)."""
