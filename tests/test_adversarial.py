"""Attacks stay in their budget, raise the loss, and agree with arithmetic by hand on a linear model."""

import pytest
import torch
from torch import nn

from minigpt4v.adversarial import (
    AdversarialObjective,
    fast_gradient_sign,
    loss_gradient,
    projected_gradient,
    random_start,
)

ATTACKS = {
    "fast": fast_gradient_sign,
    "projected": projected_gradient,
    "projected from chance": lambda loss, images, budget: projected_gradient(
        loss, images, budget, start=random_start(images, 3 * budget)
    ),
}


def linear(weights):
    return lambda images: (images * weights).flatten(1).sum(dim=1)


def curved(images):
    """A loss whose gradient changes its sign inside the budget."""
    return -((images - 0.52) ** 2).flatten(1).sum(dim=1)


def setting(seed=0):
    torch.manual_seed(seed)
    return torch.rand(3, 3, 4, 4), torch.randn(3, 4, 4)


def test_the_gradient_of_a_linear_loss_is_its_weights_and_leaves_no_trace():
    images, weights = setting()
    torch.testing.assert_close(loss_gradient(linear(weights), images), weights.expand(3, 3, 4, 4))
    assert not images.requires_grad
    with torch.no_grad():  # works where gradients are switched off
        assert loss_gradient(curved, images).abs().sum() > 0


@pytest.mark.parametrize("name", ATTACKS)
def test_no_number_moves_further_than_the_budget_or_leaves_0_to_1(name):
    images, weights = setting()
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0.0, 1.0
    changed = ATTACKS[name](linear(weights), images, 0.1)
    assert (changed - images).abs().max() <= 0.1 + 1e-6
    assert changed.min() >= 0
    assert changed.max() <= 1


@pytest.mark.parametrize("name", ATTACKS)
def test_against_a_linear_model_every_attack_finds_the_best_corner(name):
    images, weights = setting()
    best = (images + 0.1 * torch.where(weights > 0, 1.0, -1.0)).clamp(0, 1)
    torch.testing.assert_close(ATTACKS[name](linear(weights), images, 0.1), best)


def test_many_small_steps_beat_one_large_one_where_the_loss_is_curved():
    images = torch.full((1, 3, 2, 2), 0.5)
    one, many = fast_gradient_sign(curved, images, 0.1), projected_gradient(curved, images, 0.1, steps=40)
    assert curved(one) < curved(images) < curved(many)
    torch.testing.assert_close(many, torch.full_like(many, 0.52), atol=0.01, rtol=0)


def test_steps_and_their_size():
    images, weights = torch.full((1, 3, 4, 4), 0.5), setting()[1]
    for steps in (1, 2, 3):
        moved = projected_gradient(linear(weights), images, 0.1, steps=steps, step_size=0.01) - images
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.01 * steps))


def test_a_start_beyond_the_budget_is_pulled_back():
    images, weights = setting()
    far = projected_gradient(linear(weights), images, 0.1, steps=1, step_size=0.0, start=images + 5)
    torch.testing.assert_close(far, (images + 0.1).clamp(max=1))


def test_noise_fills_the_budget_and_follows_its_generator():
    images = torch.full((8, 3, 16, 16), 0.5)
    first, again = (random_start(images, 0.2, torch.Generator().manual_seed(4)) for _ in range(2))
    torch.testing.assert_close(first, again)
    assert 0.19 < (first - images).abs().max() <= 0.2
    assert (first - images).mean().abs() < 0.02


def test_a_budget_of_nothing_changes_nothing_and_wrong_ones_are_refused():
    images, weights = setting()
    torch.testing.assert_close(fast_gradient_sign(linear(weights), images, 0), images)
    for budget in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="budget"):
            fast_gradient_sign(linear(weights), images, budget)
        with pytest.raises(ValueError, match="budget"):
            AdversarialObjective(Toy(), budget)
    with pytest.raises(ValueError, match="0 steps"):
        projected_gradient(linear(weights), images, 0.1, steps=0)


class Toy(nn.Module):
    """An objective with batch norm; remembers the pictures that it saw and how."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(3), nn.Linear(48, 2)
        self.seen = []

    def forward(self, batch):
        self.seen.append((self.norm.training, batch["images"].detach()))
        scores = self.layer(self.norm(batch["images"]).flatten(1))
        loss = nn.functional.cross_entropy(scores, batch["labels"], reduction="sum")
        return loss, (scores.argmax(1) == batch["labels"]).sum()


def test_training_sees_attacked_pictures_and_evaluation_the_true_ones():
    images, _ = setting()
    batch = {"images": images, "labels": torch.tensor([0, 1, 0]), "count": 3}
    toy = Toy()
    objective = AdversarialObjective(toy, 0.05, steps=2)
    loss, _ = objective.train()(batch)
    assert [training for training, _ in toy.seen] == [False, False, True]  # two steps of attack, then the lesson
    moved = (toy.seen[-1][1] - images).abs()
    assert 0.04 < moved.max() <= 0.05 + 1e-6
    assert toy.norm.num_batches_tracked == 1
    loss.backward()
    assert toy.layer.weight.grad is not None
    toy.seen.clear()
    objective.eval()(batch)
    assert len(toy.seen) == 1
    torch.testing.assert_close(toy.seen[0][1], images)


def test_attacked_pictures_are_harder_and_leave_no_gradients_behind():
    images, _ = setting()
    batch = {"images": images, "labels": torch.tensor([0, 1, 0]), "count": 3}
    objective = AdversarialObjective(Toy(), 0.1, steps=5).eval()
    harder = objective.adversarial(batch)
    assert objective(harder)[0] > objective(batch)[0]
    assert all(parameter.grad is None for parameter in objective.parameters())
    assert not objective.objective.training
