"""objectives.py: losses by a loop over single tokens, and right answers by greedy decoding itself."""

import random
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from small_models import close, pictures, small_gpt4v
from torch import nn
from two_processes import text_objective, text_stream

import minigpt4v
from minigpt4v.adversarial import AdversarialObjective
from minigpt4v.classification import ClassificationObjective
from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Tokens, Turn
from minigpt4v.decoding import generate
from minigpt4v.naming import NamingObjective
from minigpt4v.objectives import AnswerObjective, NextTokenObjective
from minigpt4v.sort_of_clevr import PooledAnswers
from minigpt4v.vision import VisionConfig, make_encoder

ABOUT = [
    [(Turn("What is it?", "A cat."), Turn("And its colour?", "Black, with a white tail."))],
    [(Turn("猫在哪里？", "左边。"),), (Turn("Is there a dog?", "No."), Turn("Sure?", "Yes."), Turn("狗？", "没有。"))],
    [(Turn("How many?", "3"),), (Turn("Which?", "A dog, a cat and a cow."),)],
]


@pytest.fixture(params=["patch", "conv"])
def model(request):
    return small_gpt4v(request.param)


@pytest.fixture
def encoder(model) -> ConversationEncoder:
    return ConversationEncoder(model.tokenizer, model.tokens_per_image)


def batch_of(encoder: ConversationEncoder, rows: list[Tokens]) -> dict:
    return encoder.batch(rows) | {"images": pictures(len(rows))}


def answer_losses(model, encoder, image: torch.Tensor, turns: tuple[Turn, ...]) -> list[tuple[list[float], bool]]:
    """For each answer of one conversation, read alone: the loss of each of its tokens, and whether all were the best.

    A text is grown token by token; each token is scored by the logits of the text before it.
    """
    results = []
    ids = encoder.prefix()
    for turn in turns:
        ids = ids + encoder.question(turn.question)
        losses, right = [], True
        for token in [*encoder.tokenizer.encode(turn.answer), encoder.end]:
            with torch.no_grad():
                logits = model(torch.tensor([ids]), image[None])[0, -1]
            losses.append(F.cross_entropy(logits, torch.tensor(token)).item())
            right &= int(logits.argmax()) == token
            ids = [*ids, token]
        results.append((losses, right))
    return results


def test_each_answer_counts_once_by_the_mean_over_its_tokens(model, encoder):
    batch = batch_of(encoder, [encoder.pack(about) for about in ABOUT])
    loss, right = AnswerObjective(model)(batch)
    expected = [
        result
        for image, about in zip(batch["images"], ABOUT, strict=True)
        for turns in about
        for result in answer_losses(model, encoder, image, turns)
    ]
    assert len(expected) == 8
    assert loss.item() == pytest.approx(sum(sum(losses) / len(losses) for losses, _ in expected), rel=1e-5)
    assert right.item() == sum(good for _, good in expected)
    assert AnswerObjective(model).right_answers(batch).tolist() == [good for _, good in expected]


def test_the_loss_of_labelled_tokens_is_pytorchs(model, encoder):
    """Where every answer is one token long, it is the summed cross-entropy with `ignore_index`."""
    rows = []
    for about in ABOUT:
        row = encoder.pack(about)
        rows.append(Tokens(row.ids, [t if t == encoder.end else IGNORED for t in row.labels], *vars_of(row)))
    batch = batch_of(encoder, rows)
    logits = model(batch["ids"], batch["images"], segments=batch["segments"], positions=batch["positions"])
    expected = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    loss, _ = AnswerObjective(model)(batch)
    close(loss, expected)


def vars_of(row: Tokens) -> tuple[list[int], list[int]]:
    return row.positions, row.segments


def test_a_batch_without_answers_is_refused(model, encoder):
    row = encoder.pack(ABOUT[0])
    batch = batch_of(encoder, [Tokens(row.ids, [IGNORED] * len(row.ids), *vars_of(row))])
    with pytest.raises(ValueError, match="no label of this batch counts: give it at least one answer"):
        AnswerObjective(model)(batch)
    assert AnswerObjective(model).right_answers(batch).tolist() == []


def test_every_answer_and_nothing_else_teaches(model, encoder):
    """The loss changes with the label of each answer token and with no other token's."""
    batch = batch_of(encoder, [encoder.pack(ABOUT[1])])
    objective = AnswerObjective(model)
    labelled = (batch["labels"][0] != IGNORED).nonzero().flatten().tolist()
    answers = [turn.answer for turns in ABOUT[1] for turn in turns]
    assert len(labelled) == sum(len(encoder.tokenizer.encode(answer)) + 1 for answer in answers)
    before = objective(batch)[0].item()
    for place in labelled:
        changed = batch | {"labels": batch["labels"].clone()}
        changed["labels"][0, place] = (changed["labels"][0, place] + 1) % 200
        assert objective(changed)[0].item() != pytest.approx(before, abs=1e-4)


# -- right answers ----------------------------------------------------------------------------------------------------


def greedy_row(model, encoder, image, conversations: int, rng: random.Random) -> tuple[Tokens, list[bool]]:
    """A packed row whose answers are what greedy decoding writes, or that with one token changed; and which are whole.

    Later turns stand behind the earlier ones as they are written in the row, right or wrong.
    """
    row = Tokens(encoder.prefix(), [IGNORED] * 4, list(range(4)), [0] * 4)
    right = []
    for segment in range(1, conversations + 1):
        ids, labels = [], []
        for question in rng.sample(["What?", "猫？", "Where is the dog?", "How many?"], rng.randint(1, 3)):
            asked = encoder.question(question)
            prompt = encoder.prefix() + ids + asked
            (answer,) = generate(model, prompt, rng.randint(1, 5), images=image[None])
            right.append(rng.random() < 0.5)
            if not right[-1]:
                answer[rng.randrange(len(answer))] ^= 1
            ids += asked + answer
            labels += [IGNORED] * len(asked) + answer
        row.ids.extend(ids)
        row.labels.extend(labels)
        row.positions.extend(range(4, 4 + len(ids)))
        row.segments.extend([segment] * len(ids))
    return row, right


@pytest.mark.parametrize("seed", range(4))
def test_right_answers_are_those_that_greedy_decoding_writes(model, encoder, seed):
    rng = random.Random(seed)
    images = pictures(3)
    rows = [greedy_row(model, encoder, image, rng.randint(1, 3), rng) for image in images]
    expected = [right for _, rights in rows for right in rights]
    batch = encoder.batch([row for row, _ in rows]) | {"images": images}
    objective = AnswerObjective(model)
    assert objective.right_answers(batch).tolist() == expected
    assert objective(batch)[1].item() == sum(expected)
    assert 0 < sum(expected) < len(expected)


def test_right_answers_depend_on_the_picture(model, encoder):
    image, other = pictures(2)
    row, right = greedy_row(model, encoder, image, 3, random.Random(1))
    shown = [
        AnswerObjective(model).right_answers(encoder.batch([row]) | {"images": each[None]}) for each in (image, other)
    ]
    assert shown[0].tolist() == right
    assert shown[0].tolist() != shown[1].tolist()


# -- language models --------------------------------------------------------------------------------------------------


def test_a_language_model_learns_every_token():
    objective, batch = text_objective(), text_stream().batch(0)
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.normal_(std=0.3)
        loss, right = objective(batch)
        expected_loss, expected_right = 0.0, 0
        for inputs, targets in zip(batch["inputs"], batch["targets"], strict=True):
            for length in range(1, len(inputs) + 1):
                logits = objective.model(inputs[None, :length])[0, -1]
                expected_loss += F.cross_entropy(logits, targets[length - 1]).item()
                expected_right += int(logits.argmax() == targets[length - 1])
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    assert right.item() == expected_right
    assert 0 < expected_right < batch["targets"].numel() == batch["count"]
    assert isinstance(objective, NextTokenObjective)


# -- nothing to learn from --------------------------------------------------------------------------------------------

PICTURES = torch.rand(2, 3, 32, 32)


def eyes():
    return make_encoder(VisionConfig(width=8, image_size=32, patch_size=8, channels=(4, 6)))


def classes() -> ClassificationObjective:
    return ClassificationObjective(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3)))


WITHOUT_LABELS = {  # name -> objective, and a batch of which no label counts
    "names": (lambda: NamingObjective(eyes(), 3, 8), {"labels": torch.full((2, 5), IGNORED), "count": 0}),
    "names by every token": (
        lambda: NamingObjective(eyes(), 3, 8, every_token=True),
        {"labels": torch.full((2, 5), IGNORED), "count": 0},
    ),
    "pooled answers": (lambda: PooledAnswers(eyes(), 8), {"labels": torch.full((2, 6, 3), IGNORED)}),
    "classes": (classes, {"labels": torch.zeros(0, dtype=torch.long)}),
    "attacked pictures": (lambda: AdversarialObjective(classes(), 0.1), {"labels": torch.zeros(0, dtype=torch.long)}),
    "tokens": (text_objective, {name: torch.zeros(2, 0).long() for name in ("inputs", "targets")}),
}


@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_every_loss_refuses_a_batch_of_which_no_label_counts(name):
    """As `AnswerObjective` does, see above: its sum would be 0, and its mean no number."""
    make, batch = WITHOUT_LABELS[name]
    with pytest.raises(ValueError, match="no label of this batch counts: give it at least one answer, name or token"):
        make()({"images": PICTURES} | batch)


def test_every_loss_of_the_library_is_here():
    tested = {type(make()).__name__ for make, _ in WITHOUT_LABELS.values()} | {"AnswerObjective"}
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(minigpt4v.__path__[0]).rglob("*.py"))
    assert set(re.findall(r"^class (\w+Objective|PooledAnswers)\(", sources, re.MULTILINE)) == tested
