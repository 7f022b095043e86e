"""An engine without a model. What it does is written in the request's source prompt, as words:

`steps=8` emits so many steps, `at=decode` calls them another stage than `edit`, `pause=0.5` are seconds of each; `gate`
waits in every step, stoppable, until the file `<data>/gate` exists; `big=9` writes so many megabytes; `data=/path` is
where `<data>` is, for engines on another machine; `clock` sets the process's clock back by an hour; `crash`,
`crash-once`, `hang`, `freeze`, `freeze-once`, `noise`, `raise`, `refuse`, `memory`, `nothing` and `outside` misbehave.
Warming writes the worker's number into `<data>/warmed.log`, and fails where `<data>/warm-fails` exists.
It writes down when it begins and ends in `<data>/device.log`, and OVERLAP if somebody else was on the device.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from editor.events import EditError, EditResult, Emit, Preview, Progress, Stage
from editor.request import EditRequest
from editor.settings import Settings

SMALL = np.zeros((2, 16, 16, 3), np.uint8)


def run(job_dir: Path, request: EditRequest, settings: Settings, emit: Emit) -> tuple[EditResult, ...]:
    words = request.source.split()
    steps = next((int(word[6:]) for word in words if word.startswith("steps=")), 3)
    stage = next((Stage(word[3:]) for word in words if word.startswith("at=")), Stage.EDIT)
    assert (job_dir / "clip.mp4").is_file()
    data = next((Path(word[5:]) for word in words if word.startswith("data=")), settings.data)
    mark = OnDevice(data, settings.devices, job_dir)
    try:
        for step in range(steps):
            emit(Progress(stage, step, steps, float(steps - step), "Editing."))
            emit(Preview(0, step, steps, SMALL, SMALL + step % 256))
            misbehave(words, data)
            time.sleep(sum(float(word[6:]) for word in words if word.startswith("pause=")))
            while "gate" in words and not (data / "gate").exists():
                emit(Progress(stage, step, steps, float(steps - step), "Editing."))
                time.sleep(0.02)
        emit(Progress(Stage.WRITE, 1, 1))
    finally:
        mark.leave()
    if "nothing" in words:
        return ()
    folder = data if "outside" in words else job_dir / "result"
    size = next((int(word[4:]) for word in words if word.startswith("big=")), 0)
    return tuple(write(folder / str(i), target, size) for i, target in enumerate(request.targets))


def warm(settings: Settings) -> None:
    with (settings.data / "warmed.log").open("a") as log:
        log.write(f"{os.getpid()}\n")
    if (settings.data / "warm-fails").exists():
        raise EditError("The model cannot be loaded.")


def misbehave(words: list[str], data: Path) -> None:
    if "crash" in words or ("crash-once" in words and not (data / "crashed").exists()):
        (data / "crashed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "clock" in words:
        hour_ago = time.time() - 3600
        time.time = lambda: hour_ago
    if "noise" in words:
        os.write(1, b"libraries print what they like\n")
        sys.stdout.write("and so does Python\n")
        sys.stdout.flush()
    if "hang" in words:
        time.sleep(600)
    if "freeze" in words or (
        "freeze-once" in words and not (data / "frozen").exists()
    ):  # no thread of this process runs any more, heartbeats included
        (data / "frozen").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    if "refuse" in words:
        raise EditError("The clip has too few frames.")
    if "raise" in words:
        raise KeyError("secret internals")
    if "memory" in words:
        raise MemoryError


def write(folder: Path, target: str, megabytes: int) -> EditResult:
    folder.mkdir(parents=True, exist_ok=True)
    result = EditResult(target, folder, {"psnr": 30.5, "worker": os.getpid()})
    for name, path in result.files.items():
        path.write_text(json.dumps({"target": target, "name": name}))
    if megabytes:
        result.edited.write_bytes(os.urandom(2**20) * megabytes)
    return result


class OnDevice:
    """Notices when two runs are on one device at the same time, in whatever processes."""

    def __init__(self, data: Path, devices: tuple[str, ...], job_dir: Path) -> None:
        self.log = data / "device.log"
        self.holder = data / f"{''.join(devices).replace(':', '-') or 'device'}.holder"
        clip = (job_dir / "clip.mp4").read_bytes()
        self.name = clip.decode() if len(clip) == 32 else job_dir.parent.name
        if self.holder.exists() and alive(int(self.holder.read_text())):
            self.write("OVERLAP")
        self.holder.write_text(str(os.getpid()))
        self.write("begin")

    def leave(self) -> None:
        self.write("end")
        self.holder.unlink(missing_ok=True)

    def write(self, word: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{word} {self.name}\n")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
