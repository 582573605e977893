"""naming.py: what is said about each place by a loop over the grid, and which rows start from the classifier."""

import pytest
import torch
import torch.nn.functional as F
from small_models import close, small_gpt4v
from torch import nn

from minigpt4v.datasets.conversation import IGNORED
from minigpt4v.datasets.emoji import Noun
from minigpt4v.datasets.scenes import PLACES, load_world, scenes_of
from minigpt4v.datasets.streams import NamingStream
from minigpt4v.naming import NamingObjective, align_names, token_labels
from minigpt4v.tokenizer import Tokenizer
from minigpt4v.vision import VisionConfig, make_encoder

NOUNS = 7


def objective_of(kind: str, picture: int) -> NamingObjective:
    more = {"channels": (4, 6)} if kind == "conv" else {"layers": 1, "heads": 2}
    encoder = make_encoder(VisionConfig(width=12, image_size=picture, patch_size=8, kind=kind, **more))
    return NamingObjective(encoder.eval(), NOUNS, 12).eval()


@pytest.mark.parametrize("kind", ["conv", "patch"])
@pytest.mark.parametrize("side", [2, 4, 6])
def test_each_place_is_named_from_the_mean_of_its_tokens(kind, side):
    objective, images = objective_of(kind, 8 * side), torch.rand(3, 3, 8 * side, 8 * side)
    logits = objective.logits(images)
    assert logits.shape == (3, len(PLACES), NOUNS)
    for image, scores in zip(images, logits, strict=True):
        tokens = objective.encoder.features(image[None])[0]
        for place, found in zip(PLACES, scores, strict=True):
            there = []
            for number, token in enumerate(tokens):
                row, column = divmod(number, side)
                quarter = ("top" if row < side / 2 else "bottom") + (" left" if column < side / 2 else " right")
                if place in ("middle", quarter):
                    there.append(token)
            mean = torch.stack(there).mean(0)
            close(found, 3 * objective.classifier.weight @ mean)


def test_the_loss_counts_only_the_places_where_something_is():
    objective, images = objective_of("conv", 16), torch.rand(3, 3, 16, 16)
    labels = torch.full((3, 5), IGNORED)
    labels[0, 4], labels[1, 0], labels[1, 3] = 2, 6, 0
    loss, right = objective({"images": images, "labels": labels})
    logits = objective.logits(images)
    expected = [(logits[0, 4], 2), (logits[1, 0], 6), (logits[1, 3], 0)]
    close(loss, sum(F.cross_entropy(scores, torch.tensor(label)) for scores, label in expected))
    assert right.item() == sum(int(scores.argmax()) == label for scores, label in expected)


def test_right_names_are_counted():
    objective, images = objective_of("patch", 16), torch.rand(4, 3, 16, 16)
    best = objective.logits(images).argmax(-1)
    labels = best.clone()
    labels[0, 0] = (labels[0, 0] + 1) % NOUNS
    labels[1] = IGNORED
    assert objective({"images": images, "labels": labels})[1].item() == 14
    assert objective({"images": images, "labels": best})[1].item() == 20


@pytest.mark.parametrize("side", [2, 4, 8])
def test_every_token_is_told_what_it_shows(side):
    rng = torch.Generator().manual_seed(side)
    quarters = torch.randint(0, NOUNS, (6, 4), generator=rng)
    quarters[1, 2] = IGNORED
    close_up = torch.tensor([IGNORED] * 4 + [3, 5])
    quarters[4:] = IGNORED  # a close-up is alone in its picture
    grid = token_labels(torch.cat([quarters, close_up[:, None]], dim=1), side)
    assert grid.shape == (6, side, side)
    for picture in range(6):
        for row in range(side):
            for column in range(side):
                middle = all(side / 4 <= place + 0.5 <= 3 * side / 4 for place in (row, column))
                quarter = quarters[picture, 2 * (row >= side / 2) + (column >= side / 2)].item()
                alone = close_up[picture].item() if middle else IGNORED
                assert grid[picture, row, column] == (quarter if picture < 4 else alone)


def test_every_token_is_to_name_the_thing():
    """The loss of one thing is the mean over its tokens, each by itself."""
    objective, images = objective_of("conv", 32), torch.rand(2, 3, 32, 32)
    objective.every_token = True
    labels = torch.full((2, 5), IGNORED)
    labels[0, 1], labels[1, 2] = 6, 0
    loss, right = objective({"images": images, "labels": labels, "count": 2})
    logits = 3 * objective.classifier(objective.encoder.features(images)).reshape(2, 4, 4, NOUNS)
    seen = [(logits[0, :2, 2:], 6), (logits[1, 2:, :2], 0)]
    expected = [F.cross_entropy(tokens.reshape(4, NOUNS), torch.full((4,), label)) for tokens, label in seen]
    close(loss, sum(expected))
    close(right, sum((tokens.argmax(-1) == label).float().mean() for tokens, label in seen))


def test_the_stream_and_the_objective_mean_the_same_places():
    """The label of a thing stands at the place where its pixels are: the objective's quarter sees them."""
    world = load_world("core16")
    batch = NamingStream(world, 4, seed=0).batch(0)
    encoder = make_encoder(VisionConfig(width=8, channels=(4, 6, 8)))
    loss, _ = NamingObjective(encoder, world.trained, 8)(batch)
    assert loss.isfinite()
    assert batch["count"] == int((batch["labels"] != IGNORED).sum())
    scene = scenes_of(world, "train", seed=0, count=1)[0]
    assert all(thing.place in PLACES for thing in scene.objects)


# -- names ------------------------------------------------------------------------------------------------------------


def noun(english: str, chinese: str) -> Noun:
    return Noun(english, 0, english, chinese, "a", "只", "animal", held_out=False)


NAMES = [noun("cat", "猫"), noun("zebra", "斑马"), noun("dog", "狗"), noun("ox", "牛")]


@pytest.fixture
def tokenizer() -> Tokenizer:
    """Knows " cat", " dog", "猫" and "狗" as single tokens; " ox" and "牛" are several, and "cat" is not " cat"."""
    tokenizer = Tokenizer.train([" cat", " dog", "猫", "狗"] * 3, 300)
    single = [
        name for name in (" cat", " zebra", " dog", " ox", "猫", "斑马", "狗", "牛") if len(tokenizer.encode(name)) == 1
    ]
    assert single == [" cat", " dog", "猫", "狗"]
    return tokenizer


def test_names_of_one_token_start_from_the_classifier_and_no_other_row_changes(tokenizer):
    model = small_gpt4v(tokenizer=tokenizer)
    classifier = nn.Linear(16, len(NAMES), bias=False)
    embedding, head = model.gpt.token_embedding.weight, model.gpt.head.weight
    expected_embedding, expected_head = embedding.detach().clone(), head.detach().clone()
    other = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name, row in ((" cat", 0), ("猫", 0), (" dog", 2), ("狗", 2)):
        (token,) = tokenizer.encode(name)
        vector = classifier.weight[row].detach()
        unit = vector / vector.square().mean().sqrt()
        expected_embedding[token], expected_head[token] = unit, unit / 10
    assert align_names(model, classifier, NAMES) == 4
    close(embedding, expected_embedding, 1e-5)
    close(head, expected_head, 1e-5)
    for name, tensor in model.state_dict().items():
        if name not in ("gpt.token_embedding.weight", "gpt.head.weight"):
            assert torch.equal(tensor, other[name])
    assert embedding.requires_grad
    assert head.requires_grad


def test_names_of_several_tokens_change_nothing(tokenizer):
    model = small_gpt4v(tokenizer=tokenizer)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert align_names(model, nn.Linear(16, 2, bias=False), [NAMES[1], NAMES[3]]) == 0
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_name_looks_like_what_it_names(tokenizer):
    """Aligned, the embedding of a name scores highest for its own noun."""
    model = small_gpt4v(tokenizer=tokenizer)
    classifier = nn.Linear(16, len(NAMES), bias=False)
    align_names(model, classifier, NAMES)
    unit = F.normalize(classifier.weight, dim=-1)
    for name, row in ((" cat", 0), ("狗", 2)):
        (token,) = tokenizer.encode(name)
        assert int((unit @ model.gpt.token_embedding.weight[token]).argmax()) == row
