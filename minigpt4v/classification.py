"""What is in the picture? A model that gives each class a score, its training, its accuracy (chapters 09 and 10)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt4v.datasets.conversation import check_labels
from minigpt4v.datasets.streams import share
from minigpt4v.training import Trainer, TrainingSettings


class ClassificationObjective(nn.Module):
    """Cross-entropy of the right class.

    model: pictures -> logits [b, classes].
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of pictures whose right class has the largest logit.

        batch: "images", all the model asks of it, and "labels", int64 [b]. Raises ValueError for no pictures.
        """
        check_labels(batch["labels"])
        logits, labels = self.model(batch["images"]), batch["labels"]
        return F.cross_entropy(logits.float(), labels, reduction="sum"), (logits.argmax(-1) == labels).sum()


class PictureStream:
    """Batches of pictures and labels (a `training.Stream`): epoch after epoch, each in an order of its own."""

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, seed: int):
        if len(images) != len(labels) or not len(labels):
            raise ValueError(f"{len(images)} pictures and {len(labels)} labels: give one label for each picture")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: give a whole number above 0")
        self.images, self.labels = images, labels
        self.batch_size, self.seed = batch_size, seed

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, Any]:
        """images [b, ...], labels [b], count = b; a function of the seed and `step` alone."""
        mine = share(self.batch_size, part, parts)
        numbers = torch.arange(mine.start, mine.stop) + step * self.batch_size  # in the endless row of epochs
        epoch, place = numbers // len(self.labels), numbers % len(self.labels)
        chosen = torch.empty_like(place)
        for number in epoch.unique().tolist():
            here = epoch == number
            chosen[here] = self._order(number)[place[here]]
        return {"images": self.images[chosen], "labels": self.labels[chosen], "count": len(chosen)}

    def _order(self, epoch: int) -> Tensor:
        """The order of all pictures in one epoch, int64 [n]."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.labels), generator=generator)


def fit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    learning_rate: float = 3e-3,
) -> list[dict[str, Any]]:
    """Train a classifier in place, with the course's optimizers and schedule (chapter 12); it ends in eval mode.

    images: [n, ...], all the model asks of them; labels: int64 [n].

    Returns:
        The history: every 20 steps "step", "loss" (nats) and "training_accuracy", both the mean of those steps.

    Raises:
        ValueError: there is not one label for each picture, or a setting makes no sense.
    """
    settings = TrainingSettings(
        steps=steps, learning_rate=learning_rate, encoder_rate=1.0, warmup_steps=20, decay_share=1.0, seed=seed
    )
    stream = PictureStream(images, labels, batch_size, seed)
    return Trainer(ClassificationObjective(model), stream, settings).run()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of pictures whose right class has the largest logit, 0..1.

    The model is asked in eval mode and left in the mode it was in.

    Raises:
        ValueError: there is not one label for each picture.
    """
    if len(images) != len(labels) or not len(labels):
        raise ValueError(f"{len(images)} pictures and {len(labels)} labels: give one label for each picture")
    training = model.training
    model.eval()
    parts = zip(images.split(256), labels.split(256), strict=True)  # few at a time, for the memory's sake
    right = sum(int((model(some).argmax(-1) == wanted).sum()) for some, wanted in parts)
    model.train(training)
    return right / len(labels)
