"""Every hand-written layer, model and loss against finite differences, in float64 (`torch.autograd.gradcheck`)."""

import importlib
import pkgutil

import pytest
import torch
from layer_cases import CASES, EXCEPTIONS, Case
from torch import Tensor, nn

import minigpt4v
from minigpt4v.adversarial import AdversarialObjective
from minigpt4v.classification import ClassificationObjective

LARGE = (
    100  # numbers to differentiate by: from here on along a random direction of each tensor, below it by each number
)


def double(case: Case) -> tuple[nn.Module, list[Tensor]]:
    """The layer in float64, and all that its outputs depend on: inputs, then parameters."""
    layer = case.layer.double()
    inputs = [x.double().requires_grad_() for x in case.inputs]
    return layer, [*inputs, *layer.parameters()]


@pytest.fixture
def exact_losses(monkeypatch):
    """Losses are computed in float32, whatever the logits are; here in float64."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("exact_losses")
def test_gradients_are_finite_differences(name):
    case = CASES[name]()
    layer, given = double(case)
    number = len(case.inputs)

    def run(*given: Tensor) -> Tensor | tuple[Tensor, ...]:
        return case.call(layer, *given[:number])

    if sum(x.numel() for x in given) < LARGE:
        assert torch.autograd.gradcheck(run, given)
    else:
        check_along_directions(run, given)


def check_along_directions(run, given: list[Tensor], step: float = 1e-6) -> None:
    """For each tensor: the slope of a random sum of all outputs along a random direction. Quick, also when it fails."""
    outputs = run(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = [torch.randn_like(output) for output in outputs]

    def total() -> Tensor:
        found = run(*given)
        found = found if isinstance(found, tuple) else (found,)
        return sum((output * weight).sum() for output, weight in zip(found, weights, strict=True))

    gradients = torch.autograd.grad(total(), given, allow_unused=True, materialize_grads=True)
    assert any(gradient.any() for gradient in gradients)
    with torch.no_grad():
        for x, gradient in zip(given, gradients, strict=True):
            direction, before = torch.randn_like(x), x.clone()
            there, back = (total() for sign in (1, -1) if x.copy_(before + sign * step * direction) is not None)
            x.copy_(before)
            torch.testing.assert_close((gradient * direction).sum(), (there - back) / (2 * step), rtol=1e-4, atol=1e-5)


def modules_of_the_library() -> set[type[nn.Module]]:
    """Every nn.Module that some file of the library defines."""
    found = set()
    for info in pkgutil.walk_packages(minigpt4v.__path__, "minigpt4v."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        classes = [value for value in vars(module).values() if isinstance(value, type)]
        found |= {cls for cls in classes if issubclass(cls, nn.Module) and cls.__module__ == info.name}
    return found


def test_every_module_of_the_library_is_checked():
    """A new one needs a case in `layer_cases.py`, or a reason why it has none."""
    checked = {type(layer).__name__ for make in CASES.values() for layer in make().layer.modules()}
    names = {cls.__name__ for cls in modules_of_the_library()}
    missing = names - checked - EXCEPTIONS.keys()
    assert not missing, f"no gradient of {', '.join(sorted(missing))} is checked: add a case to tests/layer_cases.py"
    assert names >= EXCEPTIONS.keys()
    assert len(names) > 20


def test_training_on_attacked_pictures_has_the_gradients_of_these_pictures():
    """An attack takes signs, so that its pictures count as constants: no finite difference would say so."""
    objective = AdversarialObjective(ClassificationObjective(nn.Sequential(nn.Flatten(), nn.Linear(12, 3))), 0.1)
    batch = {"images": torch.rand(2, 3, 2, 2), "labels": torch.tensor([0, 2])}
    torch.manual_seed(1)
    attacked = objective.adversarial(batch)
    torch.manual_seed(1)
    found = torch.autograd.grad(objective.train()(batch)[0], list(objective.parameters()))
    expected = torch.autograd.grad(objective.objective(attacked)[0], list(objective.parameters()))
    assert not torch.equal(attacked["images"], batch["images"])
    for mine, other in zip(found, expected, strict=True):
        assert torch.equal(mine, other)
