"""The training loop (chapter 12): one readable loop on Accelerate for a CPU, a GPU, or several processes.

What is trained is an *objective*: a module that takes a batch and returns its summed loss and how much of it the model
gets right. What it is trained on is a *stream*: batch number `step` is a pure function of a seed and `step`, so that a
run can stop and go on exactly where it was, and processes share the work without talking about it. The "count" of a
batch says what its loss is the sum of: answers, tokens or names.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import nn
from tqdm.auto import tqdm

from minigpt4v.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from minigpt4v.divergence import likely_cause, rates_too_high
from minigpt4v.foreign_files import is_finite, plain
from minigpt4v.history import Entry, add_entry, entries_until, replace_entries
from minigpt4v.memory import keep_freed_memory
from minigpt4v.recipe import TrainingSettings, make_optimizers, rate_at
from minigpt4v.run_lock import only_run

__all__ = ["Interrupted", "Stream", "Trainer", "TrainingSettings", "make_optimizers", "rate_at"]


Place = tuple[int, int, int]
"""What names a part of a batch, the arguments of `Stream.batch`: the step, the part, how many parts."""


class Stream(Protocol):
    """Batches by number."""

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, Any]:
        """Part number `part` of the `parts` equal parts of batch number `step`."""


class Interrupted(Exception):
    """Training was stopped by Ctrl-C after the state was saved; `step` steps are done."""

    def __init__(self, step: int):
        super().__init__(f"stopped after step {step}")
        self.step = step


class Trainer:
    """Trains an objective on a stream.

    folder: where history.jsonl and checkpoints go; None keeps nothing. evaluate: called with the step, returns numbers
    for the history. on_save: called at every checkpoint, to write the model itself.
    """

    def __init__(
        self,
        objective: nn.Module,
        stream: Stream,
        settings: TrainingSettings,
        *,
        folder: Path | None = None,
        evaluate: Callable[[], dict[str, Any]] | None = None,
        on_save: Callable[[], None] | None = None,
        title: str = "training",
    ):
        self.accelerator = _new_accelerator(settings.precision, next(objective.parameters()).device)
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        optimizers = make_optimizers(objective, settings)
        self.objective, *self.optimizers = self.accelerator.prepare(objective, *optimizers)
        self._full_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.stream, self.settings, self.folder = stream, settings, folder
        self.evaluate, self.on_save, self.title = evaluate, on_save, title
        self.step, self.seconds = 0, 0.0
        self.history: list[Entry] = []
        # summed loss, right and count since the last entry of the history
        self._totals = torch.zeros(3, device=self.accelerator.device)
        self._interrupted = False

    # -- one step -----------------------------------------------------------------------------------------------

    def train_step(self) -> torch.Tensor:
        """One update of the weights. Returns (summed loss, right, count) of this process, float32 [3].

        The loss is the mean over the whole batch, wherever its parts are: cutting a batch into parts or sharing it
        among processes changes nothing but rounding. (But for batch norm, as in `vision.ConvEncoder`: it normalises
        each part by itself.)
        """
        self._seed_step()
        processes, mine = self.accelerator.num_processes, self.accelerator.process_index
        parts = self.settings.accumulate
        places = [(self.step, mine * parts + part, processes * parts) for part in range(parts)]
        batches = [self.stream.batch(*place) for place in places]
        count = torch.tensor(float(sum(batch["count"] for batch in batches)), device=self.accelerator.device)
        if not any(batch["count"] for batch in batches):
            raise ValueError(f"batch {self.step} has nothing to learn from: every part of a batch needs an answer")
        scale = processes / self.accelerator.reduce(count, "sum")
        totals = torch.zeros(3, device=self.accelerator.device)
        for number, batch in enumerate(batches, start=1):
            with self.accelerator.no_sync(self.objective) if number < parts else nullcontext():
                loss, right = self.objective(batch)
                self.accelerator.backward(loss * scale)
            totals += torch.stack([loss.detach(), right.float(), torch.as_tensor(float(batch["count"])).to(loss)])
        norm = self.accelerator.clip_grad_norm_(self.objective.parameters(), self.settings.clip)
        if not (totals[0] + norm).isfinite():
            what = "a gradient" if totals[0].isfinite() else "the loss"
            raise self._broken_step(what, batches, places)
        self._set_rates()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        return totals

    def _seed_step(self) -> None:
        torch.manual_seed(self.settings.seed * 1_000_003 + self.step)  # dropout: the same when a run is resumed

    def _broken_step(self, what: str, batches: list[dict[str, Any]], places: list[Place]) -> FloatingPointError:
        """What went wrong in a step of which nothing is kept: weights are as before it, gradients are cleared."""
        objective = self._plain_objective()
        objective.zero_grad()
        self._seed_step()
        with self.accelerator.autocast():
            causes = [likely_cause(objective, batch, self.settings) for batch in batches]
        number = next((number for number, cause in enumerate(causes) if cause), 0)
        cause = causes[number] or rates_too_high(self.settings)
        step, part, parts = places[number]
        return FloatingPointError(
            f"{what} of step {step + 1} is not a finite number: {cause}; its batch is stream.batch({step}, {part},"
            f" {parts}) of seed {self.settings.seed}, and the last checkpoint is untouched"
        )

    def _set_rates(self) -> None:
        factor = rate_at(self.progress, self.step, self.settings)
        for optimizer, rates in zip(self.optimizers, self._full_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    @property
    def progress(self) -> float:
        """How much of the training is done, 0..1, by steps or by the clock, whichever is further."""
        by_steps = self.step / self.settings.steps if self.settings.steps else 0.0
        by_clock = self.seconds / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    @property
    def is_over(self) -> bool:
        """Whether training has come to its end, or has learned enough."""
        latest = next((entry for entry in reversed(self.history) if "training_accuracy" in entry), None)
        enough = self.settings.enough
        return self.progress >= 1 or (
            enough is not None and latest is not None and latest["training_accuracy"] >= enough
        )

    # -- the loop -----------------------------------------------------------------------------------------------

    def run(self) -> list[Entry]:
        """Train to the end; returns the history.

        Raises `Interrupted` after Ctrl-C, FloatingPointError on NaN, `FolderInUse` where another run has the folder.
        """
        with only_run(self.folder) if self.folder and self.accelerator.is_main_process else nullcontext():
            return self._run()

    def _run(self) -> list[Entry]:
        self._interrupted = False
        if self.folder and self.step == 0:
            self._restore_history(self.folder)  # forget what a run that died before its first checkpoint has left
        if self.is_over:  # it may have died between its last checkpoint and the model
            self._write_model()
        self.objective.train()
        with (
            # only where somebody watches: tqdm's own disable=None shows a bar in notebooks, whose outputs are compared
            tqdm(total=100, desc=self.title, unit="%", disable=not sys.stderr.isatty(), bar_format=_BAR) as bar,
            self._catch_interrupt(),
        ):
            while not self.is_over:
                started = time.perf_counter()
                self._totals += self.train_step()
                self.seconds += time.perf_counter() - started
                stop = self._agree()
                if self.step % self.settings.log_every == 0 or self.is_over:
                    self._log(bar)
                done = self.is_over
                if self.evaluate and (self.step % self.settings.evaluate_every == 0 or done):
                    self._evaluate(self.evaluate)
                if self.step % self.settings.checkpoint_every == 0 or done or stop:
                    self.save()
                if stop and not done:
                    raise Interrupted(self.step)
        self.objective.eval()
        return self.history

    def _log(self, bar: tqdm) -> None:
        loss, right, count = self.accelerator.reduce(self._totals.clone(), "sum").tolist()
        self._totals.zero_()
        loss, accuracy = loss / max(count, 1), right / max(count, 1)
        self._record({"loss": round(loss, 5), "training_accuracy": round(accuracy, 5)})
        bar.set_postfix_str(f"step {self.step}, loss {loss:.3f}, right {accuracy:.1%}", refresh=False)
        bar.update(100 * self.progress - bar.n)

    def _evaluate(self, measure: Callable[[], dict[str, Any]]) -> None:
        self.objective.eval()
        self._record(measure())
        self.objective.train()

    def _record(self, numbers: dict[str, Any]) -> None:
        entry = {"step": self.step, "seconds": round(self.seconds, 2)} | numbers
        self.history.append(entry)
        if self.folder and self.accelerator.is_main_process:
            add_entry(self.folder, entry)

    def _agree(self) -> bool:
        """Whether to stop. All processes get one answer and one clock: else their rates and last steps would differ."""
        stop = float(self._interrupted)
        if self.accelerator.num_processes > 1:
            mine = torch.tensor([self.seconds, stop], dtype=torch.float64, device=self.accelerator.device)
            self.seconds, stop = self.accelerator.reduce(mine, "mean").tolist()
        return stop > 0

    # -- checkpoints --------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint and the model, if the run has a folder.

        Raises FloatingPointError where a weight is no longer a finite number: the checkpoint before it stays.
        """
        if self.folder is None:
            return
        if not all(parameter.isfinite().all() for parameter in self.objective.parameters()):
            raise FloatingPointError(
                f"a weight is not a finite number after step {self.step}: {rates_too_high(self.settings)}; the last"
                " checkpoint is untouched"
            )
        totals = self.accelerator.reduce(self._totals.clone(), "sum").tolist()
        if not self.accelerator.is_main_process:
            return
        state = {"seconds": self.seconds, "totals": totals, "settings": asdict(self.settings)}
        save_checkpoint(self.folder, self.step, self._plain_objective(), self.optimizers, state)
        self._write_model()

    def _write_model(self) -> None:
        if self.folder and self.on_save and self.accelerator.is_main_process:
            self.on_save()

    def resume(self) -> int:
        """Go on from the newest checkpoint in the folder, if there is one; returns the number of steps done.

        Raises ValueError where the checkpoint is damaged or of another run.
        """
        found = checkpoints_in(self.folder) if self.folder else []
        if self.folder and found:
            state = load_checkpoint(found[-1], self._plain_objective(), self.optimizers)
            totals = state.get("totals", [0.0] * 3)
            numbers = [state.get("seconds"), *(totals if isinstance(totals, list) else [])]
            if len(numbers) != 4 or not all(map(is_finite, numbers)) or numbers[0] < 0:
                raise ValueError(f"{plain(found[-1])} is damaged: its state.json does not say how far the run was")
            self.step, self.seconds = state["step"], float(numbers[0])
            if self.accelerator.is_main_process:
                self._totals = torch.tensor(totals, dtype=torch.float32, device=self.accelerator.device)
            self._restore_history(self.folder)
        return self.step

    def _plain_objective(self) -> nn.Module:
        return self.accelerator.unwrap_model(self.objective)

    def _restore_history(self, folder: Path) -> None:
        """Read the history back, without what was written after the checkpoint."""
        self.history = entries_until(folder, self.step)
        if self.accelerator.is_main_process:
            replace_entries(folder, self.history)

    @contextmanager
    def _catch_interrupt(self) -> Iterator[None]:
        """While training, the first Ctrl-C asks to stop after this step; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():  # Python gives signals to the main thread only
            yield
            return
        previous = signal.signal(signal.SIGINT, self._ask_to_stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def _ask_to_stop(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True


def _new_accelerator(precision: str, device: torch.device) -> Accelerator:
    """Accelerate as this run needs it.

    Accelerate remembers the precision and the device of a process's first run; a run in a notebook may want others.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        AcceleratorState._reset_state(reset_partial_state=True)
    # a batch may leave parameters out: naming asks what is seen and not where, a text may show no picture
    among_processes = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=precision, cpu=device.type == "cpu", kwargs_handlers=[among_processes])


_BAR = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}, {postfix}"
