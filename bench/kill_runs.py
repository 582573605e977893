"""Is anything lost when a run is killed? `python -m bench.kill_runs --kills 50` kills one, resumes it, and so on.

The runs are `minigpt4v train` on a small text, on conversations, or of a preset with all its stages (--kind), in
processes of their own, and die by SIGKILL: two of three exactly before something is done to a file (`PLACES` in
`bench.killed_run`), one of three at a random time. All moments are drawn from a seed. What must hold, or the command
fails:

- `--resume` goes on from a whole checkpoint, and at most the steps from one checkpoint to the next are lost;
- the model in the folder, once there is one, is a whole one;
- in the end, model and history are those of a run that nobody killed, bit by bit (but for seconds).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

from bench.killed_run import INTERVAL, KINDS, LOG, OUTPUT, PLACES, RUN, Place, train, write_data
from minigpt4v.gpt4v import GPT4V
from minigpt4v.language_model import LanguageModel, is_language_model

_TIMES = 3  # up to so many times a run passes a place before it dies there


class Lost(Exception):
    """A run did not go on as promised."""


def kill_runs(kind: str, kills: int, seed: int, folder: Path) -> dict[str, Any]:
    """Kill runs of a kind so many times, in new folders inside of `folder`. Raises Lost where a promise is broken.

    Returns how often at which place, how many runs came to their end, and the most steps that were lost at once.
    """
    whole = new_folder(folder, "whole")
    start(kind, new_folder(folder, "first")).join()  # it also loads everything, which the next does not
    started = time.perf_counter()
    start(kind, whole).join()
    duration = time.perf_counter() - started
    expected = outcome(whole)
    moments = _moments(random.Random(seed))
    killed: Counter[str] = Counter()
    lost, ended = 0, 0
    for number in count():
        here = new_folder(folder, f"run-{number}")
        while killed.total() < kills and (moment := _kill_once(kind, here, next(moments), duration)):
            killed[moment] += 1
            check_model(here)
        start(kind, here).join()  # in peace
        if outcome(here) != expected:
            raise Lost(f"{here}: model or history are not those of a run that nobody killed")
        lost, ended = max(lost, most_lost(here)), ended + 1
        if killed.total() == kills:
            return {"killed": dict(killed), "ended": ended, "lost": lost}
    raise AssertionError


def new_folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    write_data(folder / name)
    return folder / name


def _moments(random_: random.Random) -> Iterator[tuple[Place | None, float]]:
    """Places with how many times to pass them; every third is a share of a run's time. The first two begin."""
    places = cycle([*PLACES[:2], *random_.sample(PLACES[2:], len(PLACES) - 2)])
    while True:
        for _ in range(2):
            yield next(places), random_.randint(1, _TIMES)
        yield None, random_.random()


def _kill_once(kind: str, here: Path, moment: tuple[Place | None, float], duration: float) -> str | None:
    """Start or resume the run and kill it; returns the name of the moment, None where the run was over before."""
    place, share = moment
    process = start(kind, here, place, int(share))
    process.join(None if place else share * duration)
    if process.exitcode is None:
        process.kill()
        process.join()
    if process.exitcode == -signal.SIGKILL:
        return place.name if place else "a random time"
    _check_exit(here, process)
    return None


def start(kind: str, here: Path, place: Place | None = None, times: int = 1) -> Any:
    """The run in a process of its own: resumed, where it got as far as its record."""
    return start_process(train, kind, here, (here / RUN / "run.json").exists(), place, times)


def start_process(target: Callable[..., None], *arguments: Any) -> Any:
    """A process that starts within moments: a server that has loaded everything makes it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.killed_run", "torch._dynamo", "minigpt4v.plot"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def _check_exit(here: Path, process: Any) -> None:
    if process.exitcode != 0:
        raise Lost(f"{here}: exit code {process.exitcode}: {output(here)}")


def output(here: Path) -> str:
    """What the run said last."""
    return (here / OUTPUT).read_text(encoding="utf-8")


def check_model(here: Path) -> None:
    """A folder with a config.json is a whole model."""
    if (here / RUN / "config.json").exists():
        try:
            load = LanguageModel.load if is_language_model(here / RUN) else GPT4V.from_pretrained
            load(here / RUN)
        except ValueError as error:
            raise Lost(f"{here}: the model is not whole: {error}") from error


def outcome(here: Path) -> tuple[bytes, dict[str, list[dict[str, Any]]]]:
    """The weights of a run that is over, and the histories of its stages by their folders."""
    try:
        weights = (here / RUN / "model.safetensors").read_bytes()
    except OSError as error:
        raise Lost(f"{here}: {error}: {output(here)}") from error
    return weights, {str(path.parent.relative_to(here)): _history(path) for path in here.rglob("history.jsonl")}


def _history(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "seconds"} for line in lines]


def most_lost(here: Path) -> int:
    """The most steps that had to be done again after a kill. Raises Lost where it is more than the interval."""
    done: Counter[str] = Counter()  # of each stage
    lost = 0
    for line in (here / LOG).read_text(encoding="utf-8").splitlines():
        stage, *begins, step = line.split()
        if begins:
            lost = max(lost, done[stage] - int(step))
        done[stage] = int(step)
    if lost > INTERVAL:
        raise Lost(f"{here}: {lost} steps were lost at once, though every {INTERVAL} there is a checkpoint")
    return lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, default="text")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = kill_runs(options.kind, options.kills, options.seed, Path(folder))
        except Lost as error:
            sys.exit(f"Lost: {error}")
    for name, times in found["killed"].items():
        print(f"{times:4} x {name}")
    print(f"{options.kills} kills survived in {found['ended']} runs; at most {found['lost']} steps lost at once.")


if __name__ == "__main__":
    main()
