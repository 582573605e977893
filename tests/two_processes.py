"""What `test_training.py` runs under torchrun, in two processes; alone, it is the same run in one process."""

import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from minigpt4v import training
from minigpt4v.datasets.folder_stream import TextStream
from minigpt4v.datasets.text import TextDataset
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.objectives import NextTokenObjective
from minigpt4v.training import Interrupted, Trainer, TrainingSettings, make_optimizers

TEXT = [0, 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6] * 20
BATCH = 8


def text_objective(**changes) -> NextTokenObjective:
    """A small language model, the same every time."""
    torch.manual_seed(0)
    sizes = {"vocabulary_size": 10, "context_length": 12, "layers": 1, "heads": 2, "width": 16}
    return NextTokenObjective(GPT(GPTConfig(**(sizes | changes))))


def text_stream() -> TextStream:
    return TextStream(TextDataset(TEXT, 12), BATCH, seed=0)


def text_trainer(folder: Path | None = None, *, stream=None, **changes) -> Trainer:
    settings = {"steps": 6, "log_every": 1, "warmup_steps": 2, "clip": 1000.0} | changes
    return Trainer(text_objective(), stream or text_stream(), TrainingSettings(**settings), folder=folder)


def gradients(trainer: Trainer) -> list[torch.Tensor]:
    """The gradients of the next step; the weights stay as they are."""
    trainer.optimizers, trainer._full_rates = [], []
    trainer.train_step()
    return [parameter.grad for parameter in trainer.objective.parameters()]


def mean_gradients(objective: torch.nn.Module, batch: dict) -> list[torch.Tensor]:
    """The gradients of the mean loss of a whole batch, by plain PyTorch."""
    loss, _ = objective(batch)
    return list(torch.autograd.grad(loss / batch["count"], list(objective.parameters())))


def long_losses() -> list[float]:
    """The losses of a longer run that AdamW moves: Muon computes in bfloat16, which magnifies rounding."""
    trainer = text_trainer(steps=40, optimizer="adamw", matrix_learning_rate=3e-3)
    return [entry["loss"] for entry in trainer.run()]


def sharded_losses(optimizer: str, process: int, processes: int) -> list[float]:
    """The losses of six steps of a model whose weights and optimizer states are shared out (FSDP), by plain PyTorch."""
    objective, stream = text_objective(), text_stream()
    if processes > 1:
        mesh = init_device_mesh("cpu", (processes,))
        for module in (*objective.model.blocks, objective):
            fully_shard(module, mesh=mesh)
    optimizers = make_optimizers(objective, TrainingSettings(steps=6, optimizer=optimizer))
    losses = []
    for step in range(6):
        whole = stream.batch(step)["count"]
        loss, _ = objective(stream.batch(step, process, processes))
        (loss * processes / whole).backward()
        for each in optimizers:
            each.step()
            each.zero_grad()
        loss = loss.detach() / whole
        if processes > 1:
            torch.distributed.all_reduce(loss)
        losses.append(loss.item())
    return losses


def clock(seconds_a_step: float) -> Iterator[float]:
    """What time.perf_counter gives where each step takes so long: it is read before and after a step."""
    for step in count():
        yield step * seconds_a_step
        yield (step + 1) * seconds_a_step


class Watched:
    """A stream that remembers which parts of which batches it was asked for."""

    def __init__(self, stream: TextStream):
        self.stream, self.asked = stream, []

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        self.asked.append((step, part, parts))
        return self.stream.batch(step, part, parts)


class PressedBy:
    """A stream in which Ctrl-C is pressed during one step, in this process alone if `here`."""

    def __init__(self, stream: TextStream, step: int, here: bool = True):
        self.stream, self.step, self.here = stream, step, here

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        if self.here and step == self.step:
            os.kill(os.getpid(), signal.SIGINT)
        return self.stream.batch(step, part, parts)


def spoil(*call) -> torch.Tensor:
    """A forward hook: no number is left of what a layer gives."""
    return call[-1] * math.nan


def main(folder: Path) -> None:
    trainer = text_trainer(folder / "whole")
    process, processes = trainer.accelerator.process_index, trainer.accelerator.num_processes
    found = {"processes": processes, "history": trainer.run()}

    # every process ends with the same weights
    weights = torch.cat([parameter.detach().flatten() for parameter in trainer.objective.parameters()])
    every = trainer.accelerator.gather(weights[None])
    assert len(every) == processes
    assert all(torch.equal(each, weights) for each in every)

    found["long"] = long_losses()
    found["sharded"] = {name: sharded_losses(name, process, processes) for name in ("adamw", "muon")}

    # the gradient is that of the mean over the whole batch, whoever computed which part, in how many parts
    expected = mean_gradients(text_objective(), text_stream().batch(0))
    for parts in (1, 2):
        stream = Watched(text_stream())
        for mine, other in zip(gradients(text_trainer(stream=stream, accumulate=parts)), expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
        assert stream.asked == [(0, process * parts + part, processes * parts) for part in range(parts)]

    # a parameter that no batch uses, as the encoder's positions while it learns names
    objective = text_objective()
    objective.idle = torch.nn.Parameter(torch.ones(2))
    idle = Trainer(objective, text_stream(), TrainingSettings(steps=3, warmup_steps=2, log_every=1, clip=1000.0))
    found["idle"] = [entry["loss"] for entry in idle.run()]
    assert objective.idle.tolist() == [1, 1]

    # by the clock: process 0 takes 1 second a step and process 1 takes 3; all stop after the same step
    training.time = SimpleNamespace(perf_counter=clock(1.0 + 2.0 * process).__next__)
    timed = text_trainer(steps=None, minutes=12 / 60)
    timed.run()
    found["timed"] = [timed.step, timed.seconds]

    # a loss that is no number, in the last process alone, stops them all in that step
    broken = text_trainer()
    if process == processes - 1:
        broken.accelerator.unwrap_model(broken.objective).model.head.register_forward_hook(spoil)
    try:
        broken.run()
    except FloatingPointError as error:
        found["broken"] = [broken.step, str(error)]

    # Ctrl-C in the last process alone stops them all, and the run can go on
    stream = PressedBy(text_stream(), step=2, here=process == processes - 1)
    try:
        text_trainer(folder / "stopped", stream=stream, log_every=2).run()
    except Interrupted as interrupted:
        found["interrupted"] = interrupted.step
    resumed = text_trainer(folder / "stopped", log_every=2)
    resumed.resume()
    resumed.run()
    after = torch.cat([parameter.detach().flatten() for parameter in resumed.objective.parameters()])
    losses = [entry["loss"] for entry in resumed.history]
    found["resumed"] = {"same weights": torch.equal(after, weights), "losses": losses}
    if process == 0:
        (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
