"""Maps against brute force: one picture at a time, one cell at a time, one weight at a time."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from small_models import PICTURE, close, pictures, small_gpt4v

from minigpt4v.attribution import (
    answer_log_probability,
    attention_map,
    cover,
    deletion_curve,
    gradient_map,
    occlusion_map,
    rank_agreement,
)
from minigpt4v.datasets.conversation import ConversationEncoder, Turn

QUESTION, ANSWER = "What is the", " cat dog"


@pytest.fixture
def model():
    torch.manual_seed(0)
    return small_gpt4v()


@pytest.fixture
def image():
    torch.manual_seed(1)
    return pictures(1)[0]


def word_by_word(model, image, history=()):
    """The answer's log-probability, one token at a time."""
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    ids = encoder.prompt(QUESTION, history)
    total = 0.0
    for token in [*model.tokenizer.encode(ANSWER), encoder.end]:
        logits = model(torch.tensor([ids]), image[None])
        total += logits[0, -1].log_softmax(-1)[token].item()
        ids.append(token)
    return total


@pytest.mark.parametrize("kind", ["patch", "conv"])
def test_probability_is_the_product_over_its_tokens(kind):
    torch.manual_seed(0)
    model, images = small_gpt4v(kind), pictures(3)
    expected = [word_by_word(model, image) for image in images]
    close(answer_log_probability(model, images, QUESTION, ANSWER), torch.tensor(expected))
    history = [Turn("What", " dog")]
    close(
        answer_log_probability(model, images[:1], QUESTION, ANSWER, history)[0],
        torch.tensor(word_by_word(model, images[0], history)),
    )


def test_cells_are_covered_where_the_pattern_says(image):
    patterns = torch.tensor([[[True, False], [False, False]], [[False, False], [True, True]]])
    first, second = cover(image, patterns, 0.3)
    half = PICTURE // 2
    assert (first[:, :half, :half] == 0.3).all()
    assert torch.equal(first[:, half:], image[:, half:])
    assert torch.equal(first[:, :half, half:], image[:, :half, half:])
    assert (second[:, half:] == 0.3).all()
    coloured = cover(image, patterns, torch.tensor([0.1, 0.2, 0.3]))
    close(coloured[0, :, 0, 0], torch.tensor([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="do not tile"):
        cover(image, torch.zeros(1, 3, 3, dtype=torch.bool))


def test_occlusion_is_the_fall_when_one_cell_is_painted_over(model, image):
    found = occlusion_map(model, image, QUESTION, ANSWER, cells=2, fill=0.25)
    assert found.shape == (2, 2)
    half = PICTURE // 2
    for row in range(2):
        for column in range(2):
            painted = image.clone()
            painted[:, row * half : (row + 1) * half, column * half : (column + 1) * half] = 0.25
            fall = word_by_word(model, image) - word_by_word(model, painted)
            close(found[row, column], torch.tensor(fall))


def test_gradients_are_those_of_finite_differences(model, image):
    model, image = model.double(), image.double()
    signed = gradient_map(model, image, QUESTION, ANSWER, cells=2, times_input=True)
    small, half = 1e-5, PICTURE // 2
    for row in range(2):
        for column in range(2):
            part = (slice(None), slice(row * half, (row + 1) * half), slice(column * half, (column + 1) * half))
            ends = []
            for sign in (1, -1):
                moved = image.clone()
                moved[part] += sign * small * (image[part] - 0.5)
                ends.append(answer_log_probability(model, moved[None], QUESTION, ANSWER).item())
            close(signed[row, column], torch.tensor((ends[0] - ends[1]) / (2 * small), dtype=torch.float64), 1e-3)
    sizes = gradient_map(model, image, QUESTION, ANSWER, cells=2)
    assert (sizes > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_attention_is_the_mean_over_answer_tokens_heads_and_later_layers(model, image):
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    prompt, said = encoder.prompt(QUESTION), model.tokenizer.encode(ANSWER)
    with torch.no_grad():
        _, weights = model(torch.tensor([prompt + said]), image[None], return_weights=True)
    expected = np.zeros(4)
    for head in range(2):
        for place in range(len(prompt) - 1, len(prompt) - 1 + len(said)):
            expected += weights[1][0, head, place, :4].numpy() / (2 * len(said))
    close(attention_map(model, image, QUESTION, ANSWER), torch.tensor(expected.reshape(2, 2), dtype=torch.float32))


def test_rollout_spreads_all_attention_over_everything_before(model, image):
    rolled = attention_map(model, image, QUESTION, ANSWER, rollout=True)
    assert rolled.shape == (2, 2)
    assert (rolled > 0).all()
    assert rolled.sum() < 1  # the rest is on the words
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    prompt, said = encoder.prompt(QUESTION), model.tokenizer.encode(ANSWER)
    with torch.no_grad():
        _, weights = model(torch.tensor([[*prompt, *said, encoder.end]]), image[None], return_weights=True)
    first, second = ((layer[0].mean(dim=0).numpy() + np.eye(layer.shape[-1])) / 2 for layer in weights)
    places = range(len(prompt) - 1, len(prompt) - 1 + len(said))
    through = [second[place] @ first for place in places]  # where a place looks, then where that has looked
    close(rolled, torch.tensor(np.mean(through, axis=0)[:4].reshape(2, 2), dtype=torch.float32))


def test_agreement_is_spearmans():
    torch.manual_seed(0)
    for _ in range(10):
        first, second = torch.randint(0, 6, (2, 4, 4)).float()  # with ties
        assert rank_agreement(first, second) == pytest.approx(spearmanr(first.flatten(), second.flatten()).statistic)
    assert rank_agreement(first, 3 * first + 1) == pytest.approx(1)
    assert rank_agreement(first, -first) == pytest.approx(-1)
    with pytest.raises(ValueError, match="like with like"):
        rank_agreement(first, second[:2])
    with pytest.raises(ValueError, match="the same in every cell"):
        rank_agreement(first, torch.ones(4, 4))


def test_deletion_covers_the_most_important_first(model, image):
    importance = torch.tensor([[0.1, 0.9], [0.5, -1.0]])
    curve = deletion_curve(model, image, QUESTION, ANSWER, importance, fill=0.0)
    half, painted, expected = PICTURE // 2, image.clone(), [word_by_word(model, image)]
    for row, column in ((0, 1), (1, 0), (0, 0), (1, 1)):
        painted[:, row * half : (row + 1) * half, column * half : (column + 1) * half] = 0.0
        expected.append(word_by_word(model, painted))
    close(curve.log(), torch.tensor(expected), 1e-3)
