"""classification.py: losses by hand, batches that are a pure function of seed and step, and a net that learns."""

import math

import pytest
import torch
from torch import nn

from minigpt4v.classification import ClassificationObjective, PictureStream, accuracy, fit

IMAGES, LABELS = torch.arange(10.0)[:, None], torch.arange(10) % 3


class Fixed(nn.Module):
    """Gives out logits [b, classes], whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images):
        return self.logits[: len(images)]


def test_the_loss_is_summed_and_right_ones_are_counted():
    model = Fixed([[0.0, math.log(3)], [math.log(7), 0.0], [0.0, 0.0]])
    loss, right = ClassificationObjective(model)({"images": torch.zeros(3, 1), "labels": torch.tensor([1, 1, 0])})
    assert loss.item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 8) - math.log(1 / 2))
    assert right.item() == 2  # a draw goes to the first class


# -- the stream -------------------------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_step():
    first = PictureStream(IMAGES, LABELS, 4, seed=0).batch(3)
    torch.rand(3)
    again = PictureStream(IMAGES, LABELS, 4, seed=0).batch(3)
    assert torch.equal(first["images"], again["images"])
    orders = [
        tuple(PictureStream(IMAGES, LABELS, 10, seed).batch(step)["images"].flatten().tolist())
        for seed in (0, 1)
        for step in (0, 1)
    ]
    assert len(set(orders)) == 4


def test_pictures_keep_their_labels():
    batch = PictureStream(IMAGES, LABELS, 7, seed=0).batch(2)
    assert batch["count"] == len(batch["images"]) == 7
    assert (batch["images"][:, 0].long() % 3).tolist() == batch["labels"].tolist()


@pytest.mark.parametrize("batch_size", [3, 4, 25])
def test_each_epoch_shows_every_picture_once(batch_size):
    stream = PictureStream(IMAGES, LABELS, batch_size, seed=0)
    shown = torch.cat([stream.batch(step)["images"][:, 0] for step in range(30)]).tolist()
    for epoch in range(len(shown) // 10):
        assert sorted(shown[10 * epoch : 10 * epoch + 10]) == IMAGES[:, 0].tolist()


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_parts_make_up_the_batch(parts):
    stream = PictureStream(IMAGES, LABELS, 6, seed=0)
    pieces = [stream.batch(5, part, parts) for part in range(parts)]
    assert torch.equal(torch.cat([piece["images"] for piece in pieces]), stream.batch(5)["images"])
    assert sum(piece["count"] for piece in pieces) == 6


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="10 pictures and 9 labels"):
        PictureStream(IMAGES, LABELS[:9], 4, seed=0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        PictureStream(IMAGES, LABELS, 0, seed=0)
    with pytest.raises(ValueError, match="0 pictures and 0 labels"):
        accuracy(nn.Identity(), IMAGES[:0], LABELS[:0])


# -- training and accuracy --------------------------------------------------------------------------------------------


def corners(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures whose brightest quarter is the label, under noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    images = 0.3 * torch.randn(count, 4, generator=generator) + torch.eye(4)[labels]
    return images.view(count, 1, 2, 2), labels


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def test_a_small_net_learns():
    model = classifier()
    before = accuracy(model, *corners(300, seed=1))
    history = fit(model, *corners(200, seed=0), steps=60, batch_size=20, learning_rate=0.03)
    after = accuracy(model, *corners(300, seed=1))
    assert before < 0.7 < 0.9 < after
    assert [entry["step"] for entry in history] == [20, 40, 60]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["training_accuracy"] > 0.9
    assert not model.training


def test_fitting_again_gives_the_same_weights():
    torch.manual_seed(5)
    models = [classifier() for _ in range(3)]
    for model, seed in zip(models, (0, 0, 1), strict=True):
        fit(model, *corners(64, seed=0), steps=5, batch_size=16, seed=seed)
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_rate_is_that_of_adamw():
    """The first step of Adam moves every weight by the rate of that step, here a twentieth of the full one."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    before = model[1].weight.detach().clone()
    fit(model, *corners(64, seed=0), steps=1, learning_rate=0.2)
    moved = (model[1].weight.detach() - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.01), rtol=1e-3, atol=0)


def test_accuracy_is_that_of_a_loop_and_in_eval_mode():
    images, labels = corners(600, seed=2)
    model = classifier().train()
    statistics = model[2].running_mean.clone()
    measured = accuracy(model, images, labels)
    assert model.training
    assert torch.equal(model[2].running_mean, statistics)
    model.eval()
    right = [
        model(image[None])[0].argmax().item() == label for image, label in zip(images, labels.tolist(), strict=True)
    ]
    assert measured == sum(right) / 600
    assert accuracy(model, images, labels) == measured
    assert not model.training
