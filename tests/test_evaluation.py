"""evaluation.py: every number by a loop or by hand, and baselines that really take the picture away."""

import json
import math
import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import close, pictures, small_gpt4v

from minigpt4v import evaluation
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.decoding import generate
from minigpt4v.evaluation import (
    MAX_ANSWER_TOKENS,
    Example,
    Prediction,
    TextOnly,
    bootstrap_interval,
    evaluate_split,
    is_right,
    make_examples,
    normalise,
    predict,
    score,
)
from minigpt4v.presets import PRESETS, make_model


def turn(question: str, answer: str, family: str | None = "what", language: str | None = "en") -> Turn:
    return Turn(question, answer, family, language)


# -- exact match ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("A cat.", "a cat"),
        ("  a   CAT ", "a cat"),
        ("A cat, and a dog!", "a cat and a dog"),
        ("a cat,and a dog", "a cat and a dog"),
        ("在苹果的左边。", "在苹果的左边"),
        ("左边有一只猫，右边有一只狗。", "左边有一只猫 右边有一只狗"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_normalise(text, normal):
    assert normalise(text) == normal


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    once = normalise(text)
    assert once == " ".join(once.split())
    assert normalise(once) == once


def test_right_is_equal_but_for_case_spaces_and_punctuation():
    example = Example(0, turn("What?", "A cat."))
    assert all(is_right(example, text) for text in ("A cat.", "a cat", " A  CAT! "))
    assert not any(is_right(example, text) for text in ("", "cat", "A cat. A dog.", "Acat", "A dog."))


# -- examples ---------------------------------------------------------------------------------------------------------

OPENING, SECOND, THIRD = turn("What is it?", "A cat."), turn("Colour?", "Black."), turn("Left of it?", "A dog.")


def test_of_a_dialogue_the_turns_after_the_first_are_asked():
    single = turn("How many?", "One.")
    examples = make_examples([[(single,), (OPENING, SECOND, THIRD)], [], [(OPENING, SECOND)]])
    assert examples == [
        Example(0, single),
        Example(0, SECOND, (OPENING,)),
        Example(0, THIRD, (OPENING, SECOND)),
        Example(2, SECOND, (OPENING,)),
    ]


def test_examples_of_scenes_are_all_their_turns_but_openings():
    world = load_world("core16")
    conversations = conversations_about(world, scenes_of(world, "seen", 0, 20), 0)
    examples = make_examples(conversations)
    expected = Counter()
    for picture, about in enumerate(conversations):
        for turns in about:
            for place, each in enumerate(turns):
                if place > 0 or len(turns) == 1:
                    expected[picture, each, turns[:place]] += 1
    assert Counter((example.picture, example.turn, example.history) for example in examples) == expected
    assert any(example.history for example in examples)


# -- predictions ------------------------------------------------------------------------------------------------------

ASKED = [
    Example(1, turn("What is it?", "A cat.")),
    Example(0, turn("Describe it.", "A cat on the left and a dog.")),
    Example(2, turn("猫在哪里？", "左边。"), (OPENING, SECOND)),
    Example(0, turn("What is it?", "A dog.")),
    Example(1, turn("Where is the very small dog?", "Left."), (OPENING,)),
    Example(2, turn("狗？", "在图的左上角，一只很大的狗和一只猫都在那里。")),
    Example(1, turn("?", "")),
]


@pytest.mark.parametrize("kind", ["patch", "conv"])
@pytest.mark.parametrize("batch", [2, 3, 256])
def test_predictions_are_those_of_each_question_alone(monkeypatch, kind, batch):
    monkeypatch.setattr(evaluation, "_BATCH", batch)
    model, images = small_gpt4v(kind), pictures(3)
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    ((first,),) = generate(model, encoder.prompt("What is it?"), 1, images=images[1][None])
    with torch.no_grad():  # a model that would like to say <|user|>, which is never said
        model.gpt.head.weight[encoder.user] = 2 * model.gpt.head.weight[first]
    predictions = predict(model, images, ASKED)
    for example, prediction in zip(ASKED, predictions, strict=True):
        ids = encoder.prefix()
        for each in example.history:
            ids += [*encoder.question(each.question), *encoder.tokenizer.encode(each.answer), encoder.end]
        ids += encoder.question(example.turn.question)
        (steps,) = generate(
            model,
            ids,
            MAX_ANSWER_TOKENS,
            stop_tokens=(encoder.end,),
            forbidden_tokens=(0, 1, 2, 3),
            images=images[example.picture][None],
            return_details=True,
        )
        assert prediction.text == model.tokenizer.decode([step.token for step in steps])
        assert prediction.confidence == pytest.approx(math.prod(step.probability for step in steps), rel=1e-3)
    assert len({prediction.text for prediction in predictions}) > 3


def test_no_questions_no_predictions():
    assert predict(small_gpt4v(), pictures(1), []) == []


def test_every_answer_fits_into_a_prediction():
    world = load_world("core64")
    model = make_model(PRESETS["tiny"], world, 0)
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    for about in conversations_about(world, scenes_of(world, "seen", 0, 100), 0):
        for turns in about:
            assert all(len(encoder.turns([each])[1]) for each in turns)
            assert all(len(model.tokenizer.encode(each.answer)) < MAX_ANSWER_TOKENS for each in turns)


# -- those who do not look --------------------------------------------------------------------------------------------


@pytest.fixture
def heard(monkeypatch) -> TextOnly:
    """What one knows who has heard these conversations."""
    conversations = [
        [(turn("What is it?", "A dog."),)],  # first, but less often than "A cat."
        [(turn("What is it?", "A cat."),), (turn("What is here?", "A dog."),)],
        [(turn("What is it?", "A cat."),), (turn("What is here?", "A dog."),)],
        [(turn("What is here?", "A dog."),), (turn("How many?", "One.", "how_many"),)],
        [(turn("是什么？", "猫。", "what", "zh"),)],
        [(OPENING, turn("Colour?", "Black.", "dialogue"))] * 3,
        [(turn("What is it?", "A dog."), turn("Colour?", "Brown.", "dialogue"))] * 2,
        [(turn("What is it?", "A dog."), turn("Kind?", "Brown.", "dialogue"))] * 2,
    ]
    monkeypatch.setattr(evaluation, "scenes_of", lambda *_, **__: [])
    monkeypatch.setattr(evaluation, "conversations_about", lambda *_: conversations)
    return TextOnly(load_world("core16"))


@pytest.mark.parametrize(
    ("example", "guess", "answer"),
    [
        (Example(0, turn("What is it?", "")), "A dog.", "A cat."),
        (Example(0, turn("What is here?", "")), "A dog.", "A dog."),
        (Example(0, turn("What is there?", "")), "A dog.", "A dog."),  # never heard: the family's
        (Example(0, turn("是什么？", "", "what", "zh")), "猫。", "猫。"),
        (Example(0, turn("How many?", "", "how_many")), "One.", "One."),
        (Example(0, turn("Colour?", "", "dialogue"), (OPENING,)), "Brown.", "Black."),
        (Example(0, turn("Colour?", "", "dialogue"), (turn("What is it?", "A dog."),)), "Brown.", "Brown."),
        (Example(0, turn("Colour?", "", "dialogue"), (turn("What is it?", "A cow."),)), "Brown.", "Brown."),
    ],
)
def test_what_one_says_who_only_heard(heard, example, guess, answer):
    assert heard.guess(example) == guess
    assert heard.answer(example) == answer


def test_the_baseline_hears_training_scenes_alone(monkeypatch):
    asked = []
    real = evaluation.scenes_of
    monkeypatch.setattr(
        evaluation, "scenes_of", lambda world, split, **more: asked.append((split, more)) or real(world, split, **more)
    )
    TextOnly(load_world("core16"), conversations=120)
    assert asked == [("train", {"seed": "text-only", "count": 10})]


# -- scores -----------------------------------------------------------------------------------------------------------


def test_scores_by_a_loop():
    rng = random.Random(3)
    families = ["what", "where", None, "caption"]
    examples = [Example(i // 4, turn("?", "!", families[i % 4 if i < 8 else rng.randrange(4)])) for i in range(60)]
    right = [rng.random() < 0.7 for _ in examples]
    rows = score(examples, right, lambda example: example.turn.family)
    assert list(rows) == ["what", "where", "other", "caption"]  # in the order of first appearance
    for name, row in rows.items():
        members = [i for i, example in enumerate(examples) if (example.turn.family or "other") == name]
        assert row["count"] == len(members)
        assert row["accuracy"] == pytest.approx(sum(right[i] for i in members) / len(members), abs=5e-5)
        interval = bootstrap_interval([examples[i].picture for i in members], [right[i] for i in members])
        assert (row["low"], row["high"]) == pytest.approx(interval, abs=5e-5)
    assert sum(row["count"] for row in rows.values()) == 60
    by_language = score(examples, right, lambda example: example.turn.language)
    assert by_language["en"]["accuracy"] == pytest.approx(sum(right) / 60, abs=5e-5)


# -- a whole split ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    return load_world("core16")


@pytest.fixture(scope="module")
def untrained(world):
    return make_model(PRESETS["tiny"], world, 0).eval()


@pytest.fixture
def text_only(world) -> TextOnly:
    return TextOnly(world, conversations=1200)


def test_an_untrained_model_has_a_score(monkeypatch, world, untrained, text_only):
    monkeypatch.setattr(evaluation, "MAX_ANSWER_TOKENS", 4)  # it would not stop by itself
    result = evaluate_split(untrained, world, "style", 3, "test", text_only)
    assert json.loads(json.dumps(result)) == result
    assert set(result) == {
        "split",
        "scenes",
        "questions",
        "accuracy",
        "families",
        "languages",
        "calibration",
        "baselines",
    }
    assert (result["split"], result["scenes"]) == ("style", 3)
    assert result["questions"] == sum(row["count"] for row in result["families"].values())
    assert set(result["languages"]) == {"en", "zh"}
    assert set(result["baselines"]) == {"guess", "text_only", "blind", "shuffled"}
    for row in result["families"].values():
        assert set(row) - {"en", "zh"} == {
            "accuracy",
            "low",
            "high",
            "count",
            "guess",
            "text_only",
            "blind",
            "shuffled",
        }
    assert result["accuracy"] == result["baselines"]["blind"] == 0
    assert "baselines" not in evaluate_split(untrained, world, "seen", 1, "test")


class Seer:
    """In place of `predict`: knows every answer, but only of a picture that is the right one."""

    def __init__(self, scenes, world):
        self.images = Renderer(world)(scenes)
        self.shown: list[torch.Tensor] = []

    def __call__(self, model, images, examples) -> list[Prediction]:
        self.shown.append(images)
        right = [torch.allclose(images[e.picture], self.images[e.picture], atol=1e-6) for e in examples]
        return [Prediction(e.turn.answer if r else "nonsense", 0.75) for e, r in zip(examples, right, strict=True)]


@pytest.mark.parametrize("split", ["seen", "style", "pairs"])
def test_who_sees_is_right_and_who_is_blind_or_shown_another_picture_is_not(
    monkeypatch, world, untrained, text_only, split
):
    monkeypatch.setattr(evaluation, "_BATCH", 3)  # pictures are drawn in several batches
    scenes = scenes_of(world, split, seed="x", count=7)
    seer = Seer(scenes, world)
    monkeypatch.setattr(evaluation, "predict", seer)
    result = evaluate_split(untrained, world, split, 7, "x", text_only)
    assert result["accuracy"] == 1
    assert result["languages"] == {"en": 1, "zh": 1}
    assert result["baselines"]["blind"] == result["baselines"]["shuffled"] == 0
    assert 0 < result["baselines"]["guess"] < 1
    assert result["calibration"]["expected_calibration_error"] == 0.25

    plain, blind, shuffled = seer.shown
    close(plain, seer.images, 1e-6)
    assert blind.shape == plain.shape
    assert (blind == 0.5).all()
    for number, picture in enumerate(shuffled):
        assert torch.equal(picture, plain[number - 1])
        assert not torch.equal(picture, plain[number])


def test_the_accuracies_are_those_of_a_loop(monkeypatch, world, untrained, text_only):
    """A model that knows only English and is right at every second picture."""

    def half(model, images, examples) -> list[Prediction]:
        good = [e.turn.language == "en" and e.picture % 2 == 0 for e in examples]
        return [Prediction(e.turn.answer.upper() if g else "?", float(g)) for e, g in zip(examples, good, strict=True)]

    monkeypatch.setattr(evaluation, "predict", half)
    result = evaluate_split(untrained, world, "seen", 12, "loop", text_only)
    scenes = scenes_of(world, "seen", seed="loop", count=12)
    examples = make_examples(conversations_about(world, scenes, "seen/loop"))
    assert result["questions"] == len(examples)

    def mean_of_families(chosen: list[Example], good) -> tuple[float, dict[str, float]]:
        families: dict[str, list[bool]] = {}
        for example in chosen:
            families.setdefault(example.turn.family, []).append(good(example))
        shares = {family: sum(hits) / len(hits) for family, hits in families.items()}
        return sum(shares.values()) / len(shares), shares

    def good(example: Example) -> bool:
        return example.turn.language == "en" and example.picture % 2 == 0

    mean, shares = mean_of_families(examples, good)
    assert result["accuracy"] == pytest.approx(mean, abs=1e-4)
    assert {name: row["accuracy"] for name, row in result["families"].items()} == pytest.approx(shares, abs=1e-4)
    english, in_english = mean_of_families([e for e in examples if e.turn.language == "en"], good)
    assert {name: row["en"] for name, row in result["families"].items() if "en" in row} == pytest.approx(
        in_english, abs=1e-4
    )
    assert {row["zh"] for row in result["families"].values() if "zh" in row} == {0}
    assert result["languages"] == {"en": pytest.approx(english, abs=1e-4), "zh": 0}
    guess, guesses = mean_of_families(examples, lambda e: normalise(text_only.guess(e)) == normalise(e.turn.answer))
    assert result["baselines"]["guess"] == pytest.approx(guess, abs=1e-4)
    assert {name: row["guess"] for name, row in result["families"].items()} == pytest.approx(guesses, abs=1e-4)
    heard, _ = mean_of_families(examples, lambda e: normalise(text_only.answer(e)) == normalise(e.turn.answer))
    assert result["baselines"]["text_only"] == pytest.approx(heard, abs=1e-4)
    assert result["calibration"]["expected_calibration_error"] == 0


@pytest.mark.parametrize("at_once", [1, 3, 5])
def test_scenes_taken_a_few_at_a_time_are_the_same_scenes(monkeypatch, world, untrained, text_only, at_once):
    """And shuffled pictures go across the parts: the last of one stands before the first of the next."""
    monkeypatch.setattr(evaluation, "_SCENES_AT_ONCE", at_once)
    shown = []

    def by_brightness(model, images, examples) -> list[Prediction]:
        shown.append(images)
        means = images.mean((1, 2, 3)).double().tolist()
        return [
            Prediction(e.turn.answer if int(1e4 * means[e.picture]) % 2 else "?", means[e.picture] % 1)
            for e in examples
        ]

    monkeypatch.setattr(evaluation, "predict", by_brightness)
    parts = evaluate_split(untrained, world, "style", 5, "parts", text_only)
    pictures_shown = [torch.cat(shown[number::3]) for number in range(3)]
    shown.clear()
    monkeypatch.setattr(evaluation, "_SCENES_AT_ONCE", 256)
    assert evaluate_split(untrained, world, "style", 5, "parts", text_only) == parts
    for mine, whole in zip(pictures_shown, shown, strict=True):
        assert torch.equal(mine, whole)
    assert 0 < parts["accuracy"] < 1


def test_no_scenes_are_refused(world, untrained):
    with pytest.raises(ValueError, match="0 scenes tell nothing about a model: give at least 1"):
        evaluate_split(untrained, world, "seen", 0, "x")


def test_scores_are_the_same_every_time(monkeypatch, world, untrained):
    monkeypatch.setattr(evaluation, "MAX_ANSWER_TOKENS", 3)
    first, second = (evaluate_split(untrained, world, "seen", 2, "again") for _ in range(2))
    assert first == second


def test_an_unknown_split_is_refused(world, untrained):
    with pytest.raises(ValueError, match="unknown split 'test': choose one of"):
        evaluate_split(untrained, world, "test", 1, "x")
