"""Does it really see? Accuracy on fresh scenes beside what not looking would give (chapter 13).

Every question is answered by free greedy decoding, and counts as right if the text equals the expected answer after
`normalise`. Later turns of a dialogue are asked behind the true earlier turns, so that one mistake is counted once.
Four baselines stand beside the accuracy of each family:

    guess      the family's most frequent answer, whatever the question
    text-only  the most frequent answer to just this question, looked up in 20,000 training conversations
    blind      the model itself, shown an empty picture
    shuffled   the model itself, shown the picture of another scene

A model that looks is far above all four; a model that does not look cannot beat "text-only".
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import LANGUAGES
from minigpt4v.datasets.questions import Conversation, conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import World, scenes_of
from minigpt4v.decoding import generate
from minigpt4v.gpt4v import GPT4V
from minigpt4v.scores import Calibration, Shares, Tally, bootstrap_interval, calibration, rounded

__all__ = [
    "BASELINES",
    "MAX_ANSWER_TOKENS",
    "Example",
    "Prediction",
    "TextOnly",
    "bootstrap_interval",
    "calibration",
    "evaluate_split",
    "is_right",
    "make_examples",
    "normalise",
    "predict",
    "score",
]

MAX_ANSWER_TOKENS = 48  # the longest caption has 37
BASELINES = ("guess", "text_only", "blind", "shuffled")
_BATCH = 256
_SCENES_AT_ONCE = 256
_EMPTY_PICTURE = 0.5  # mid grey: no ground and no thing has it


@dataclass(frozen=True)
class Example:
    """A question to be scored: about picture number `picture`, after the turns of `history`."""

    picture: int
    turn: Turn
    history: Conversation = ()


@dataclass(frozen=True)
class Prediction:
    """What the model wrote, and the probability it gave to these words."""

    text: str
    confidence: float


def normalise(text: str) -> str:
    """Lower case, single spaces, no punctuation: what exact match compares."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def make_examples(conversations: Iterable[Sequence[Conversation]]) -> list[Example]:
    """The questions in the conversations about each picture; of a dialogue those after its opening turn."""
    examples = []
    for picture, about in enumerate(conversations):
        for turns in about:
            start = 1 if len(turns) > 1 else 0
            examples += [Example(picture, turns[i], tuple(turns[:i])) for i in range(start, len(turns))]
    return examples


@torch.no_grad()
def predict(model: GPT4V, images: torch.Tensor, examples: Sequence[Example]) -> list[Prediction]:
    """Answers by greedy decoding. images: [pictures, 3, h, w], indexed by `Example.picture`."""
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    prompts = [encoder.prompt(example.turn.question, example.history) for example in examples]
    order = sorted(range(len(examples)), key=lambda i: (len(examples[i].turn.answer) > 16, len(prompts[i])))
    found: dict[int, Prediction] = {}
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        written = generate(
            model,
            [prompts[i] for i in rows],
            MAX_ANSWER_TOKENS,
            stop_tokens=(encoder.end,),
            forbidden_tokens=encoder.never_said,
            images=images[[examples[i].picture for i in rows]],
            return_details=True,
        )
        for i, steps in zip(rows, written, strict=True):
            text = model.tokenizer.decode([step.token for step in steps])
            found[i] = Prediction(text, float(np.prod([step.probability for step in steps])))
    return [found[i] for i in range(len(examples))]


def is_right(example: Example, answer: str) -> bool:
    """Whether an answer is the expected one, but for case, spaces and punctuation."""
    return normalise(answer) == normalise(example.turn.answer)


# -- baselines ------------------------------------------------------------------------------------------------------


class TextOnly:
    """The best answers of one who hears the questions and never sees a picture, from counts over training scenes."""

    def __init__(self, world: World, conversations: int = 20_000):
        self._families: dict[tuple, Counter] = defaultdict(Counter)
        self._questions: dict[tuple, Counter] = defaultdict(Counter)
        scenes = scenes_of(world, "train", seed="text-only", count=conversations // 12)
        for example in make_examples(conversations_about(world, scenes, "text-only")):
            turn = example.turn
            self._families[turn.family, turn.language][turn.answer] += 1
            self._questions[self._key(example)][turn.answer] += 1

    @staticmethod
    def _key(example: Example) -> tuple[str, ...]:
        return (*(text for turn in example.history for text in (turn.question, turn.answer)), example.turn.question)

    def guess(self, example: Example) -> str:
        """The most frequent answer of the family in that language."""
        return self._families[example.turn.family, example.turn.language].most_common(1)[0][0]

    def answer(self, example: Example) -> str:
        """The most frequent answer to that very question, or else the family's."""
        counts = self._questions.get(self._key(example))
        return counts.most_common(1)[0][0] if counts else self.guess(example)


# -- scores ---------------------------------------------------------------------------------------------------------


def score(examples: Sequence[Example], right: Sequence[bool], by: Callable[[Example], str | None]) -> dict[str, dict]:
    """Accuracy, 95% interval and count of each group of examples, in order of first appearance."""
    tally = Tally()
    tally.add((example.picture for example in examples), (by(example) or "other" for example in examples), right)
    return tally.rows()


def evaluate_split(
    model: GPT4V, world: World, split: str, count: int, seed: str, text_only: TextOnly | None = None
) -> dict:
    """Accuracy on `count` fresh scenes of a split: per family, per language, over all; with baselines if asked for.

    "accuracy" is the mean over families, so that no family counts more for having more questions. Scenes are taken a
    few at a time: memory grows by a few bytes with each (see `scores`).

    Raises ValueError for no scene, or an unknown split.
    """
    if count < 1:
        raise ValueError(f"{count} scenes tell nothing about a model: give at least 1")
    tally, languages, sureness = Tally(), Shares(), Calibration()
    baselines = {name: Shares() for name in BASELINES}
    for images, shuffled, examples in _parts(world, split, count, seed, model.device):
        predictions = predict(model, images, examples)
        right = _verdicts(examples, [prediction.text for prediction in predictions])
        families = [example.turn.family or "other" for example in examples]
        tally.add((example.picture for example in examples), families, right)
        languages.add(zip((example.turn.language for example in examples), families, strict=True), right)
        sureness.add([prediction.confidence for prediction in predictions], right)
        if text_only is not None:
            for name, texts in _without_looking(model, images, shuffled, examples, text_only).items():
                baselines[name].add(families, _verdicts(examples, texts))
    rows = tally.rows()
    result = {
        "split": split,
        "scenes": count,
        "questions": sum(row["count"] for row in rows.values()),
        "accuracy": _mean([row["accuracy"] for row in rows.values()]),
        "families": rows,
        "languages": _add_languages(rows, languages),
        "calibration": sureness.result(),
    }
    if text_only is not None:
        result["baselines"] = _add_baselines(rows, baselines)
    return result


def _parts(
    world: World, split: str, count: int, seed: str, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[Example]]]:
    """The scenes, some at a time: their pictures [n, 3, h, w], each one's picture before it, and their questions.

    The picture before the first is the last.
    """
    renderer = Renderer(world, device)
    before = renderer(scenes_of(world, split, seed=seed, count=1, start=count - 1))
    for start in range(0, count, _SCENES_AT_ONCE):
        scenes = scenes_of(world, split, seed=seed, count=min(_SCENES_AT_ONCE, count - start), start=start)
        images = renderer(scenes)
        examples = make_examples(conversations_about(world, scenes, f"{split}/{seed}", start=start))
        yield images, torch.cat([before, images[:-1]]), examples
        before = images[-1:]


def _verdicts(examples: Sequence[Example], texts: Sequence[str]) -> list[bool]:
    return [is_right(example, text) for example, text in zip(examples, texts, strict=True)]


def _without_looking(
    model: GPT4V, images: torch.Tensor, shuffled: torch.Tensor, examples: Sequence[Example], text_only: TextOnly
) -> dict[str, list[str]]:
    """What each baseline answers."""
    return {
        "guess": [text_only.guess(example) for example in examples],
        "text_only": [text_only.answer(example) for example in examples],
        "blind": [p.text for p in predict(model, torch.full_like(images, _EMPTY_PICTURE), examples)],
        "shuffled": [p.text for p in predict(model, shuffled, examples)],
    }


def _add_languages(rows: dict[str, dict], languages: Shares) -> dict[str, float]:
    """Put the accuracy in each language into the families' rows; returns the means over families."""
    accuracies, means = languages.accuracies(), {}
    for language in LANGUAGES:
        mine = {family: accuracy for (spoken, family), accuracy in accuracies.items() if spoken == language}
        for family, accuracy in mine.items():
            rows[family][language] = accuracy
        if mine:
            means[language] = _mean(mine.values())
    return means


def _add_baselines(rows: dict[str, dict], baselines: dict[str, Shares]) -> dict[str, float]:
    """Put each baseline's accuracy into the families' rows; returns the means over families."""
    means = {}
    for name, shares in baselines.items():
        accuracies = shares.accuracies()
        means[name] = _mean(accuracies.values())
        for family, accuracy in accuracies.items():
            rows[family][name] = accuracy
    return means


def _mean(accuracies: Collection[float]) -> float:
    return rounded(sum(accuracies) / len(accuracies))
