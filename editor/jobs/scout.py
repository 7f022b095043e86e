"""The process that looks at which nodes a Ray cluster has, started by `cluster.Scout`."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from editor.console import log_to_terminal
from editor.jobs.node import fingerprint
from editor.jobs.remote import connect, slots_of
from editor.jobs.wire import Setup, decode

log = logging.getLogger(__name__)


def looks(setup: Setup) -> Iterator[list[str]]:
    """The cluster's slots, again and again. A node with another version of the program is refused, and said once."""
    ray = connect(setup.settings)
    asked: dict[str, Any] = {}
    known: dict[str, bool] = {}
    while True:
        slots = slots_of(ray.nodes(), setup.settings.ray_cpus)
        for node in set(slots.values()) - set(known):
            answer = asked[node] = asked.get(node) or _version_of(ray, node)
            if ray.wait([answer], timeout=0)[0]:
                known[node] = _same_version(ray, node, answer)
        yield [slot for slot, node in slots.items() if known.get(node)]
        time.sleep(setup.timing.scout)


def _version_of(ray: Any, node: str) -> Any:  # noqa: ANN401 - the module, and a reference to the answer
    """Ask a node which version of the program it has."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(fingerprint).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote()


def _same_version(ray: Any, node: str, answer: Any) -> bool:  # noqa: ANN401
    """Whether the node would do what this machine would do."""
    try:
        found = ray.get(answer)
    except ray.exceptions.RayError as error:
        log.warning("node %s is refused, it cannot load the program: %s", node[:8], str(error).strip().splitlines()[-1])
        return False
    if found != fingerprint():
        log.warning("node %s is refused: it has another version of the program", node[:8])
    return found == fingerprint()


def _end_with_the_server() -> None:
    """Thread: its end of the pipe closes; the main thread may hang in a call to a cluster that is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """The scout's process: one line of JSON for every look."""
    setup: Setup = decode(sys.stdin.buffer.readline())
    log_to_terminal("scout", setup.settings.log)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stderr
    try:
        for slots in looks(setup):
            out.write(json.dumps(slots) + "\n")
            out.flush()
    except ConnectionError as error:
        log.warning("%s", error)


if __name__ == "__main__":
    main()
