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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import LANGUAGES
from minigpt4v.datasets.questions import Conversation, conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import Scene, World, scenes_of
from minigpt4v.decoding import generate
from minigpt4v.gpt4v import GPT4V

MAX_ANSWER_TOKENS = 48  # the longest caption has 37
_BATCH = 256
_EMPTY_PICTURE = 0.5  # mid grey: no ground and no thing has it
_CALIBRATION_BINS = 10


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


def bootstrap_interval(
    groups: Sequence[int], right: Sequence[bool], samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95% interval of the share of right answers (Efron, 1979; percentile method).

    Whole groups (pictures) are resampled: the answers about one picture stand or fall together.
    """
    _, index = np.unique(groups, return_inverse=True)
    hits, counts = np.bincount(index, weights=np.asarray(right, float)), np.bincount(index)
    weights = np.random.default_rng(seed).multinomial(len(hits), np.full(len(hits), 1 / len(hits)), size=samples)
    low, high = np.quantile((weights @ hits) / (weights @ counts), [0.025, 0.975])
    return float(low), float(high)


def calibration(confidences: Sequence[float], right: Sequence[bool]) -> dict:
    """How far confidence is from accuracy: ten bins of confidence, and the expected calibration error (Guo, 2017)."""
    confidence, hit = np.asarray(confidences, float), np.asarray(right, float)
    bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    rows = [
        {"confidence": float(confidence[bins == b].mean()), "accuracy": float(hit[bins == b].mean()), "count": int(n)}
        for b, n in enumerate(np.bincount(bins, minlength=_CALIBRATION_BINS))
        if n
    ]
    error = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(hit)
    return {"expected_calibration_error": round(error, 4), "bins": rows}


def score(examples: Sequence[Example], right: Sequence[bool], by: Callable[[Example], str | None]) -> dict[str, dict]:
    """Accuracy, 95% interval and count of each group of examples, in order of first appearance."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(examples):
        groups[by(example) or "other"].append(i)
    result = {}
    for name, members in groups.items():
        hits = [right[i] for i in members]
        low, high = bootstrap_interval([examples[i].picture for i in members], hits)
        result[name] = {
            "accuracy": _round(sum(hits) / len(hits)),
            "low": _round(low),
            "high": _round(high),
            "count": len(hits),
        }
    return result


def evaluate_split(
    model: GPT4V, world: World, split: str, count: int, seed: str, text_only: TextOnly | None = None
) -> dict:
    """Accuracy on `count` fresh scenes of a split: per family, per language, over all; with baselines if asked for.

    "accuracy" is the mean over families, so that no family counts more for having more questions.
    """
    scenes = scenes_of(world, split, seed=seed, count=count)
    images = _render(world, scenes, model.device)
    examples = make_examples(conversations_about(world, scenes, f"{split}/{seed}"))
    predictions = predict(model, images, examples)
    right = [is_right(e, p.text) for e, p in zip(examples, predictions, strict=True)]
    families = score(examples, right, _family)
    languages = {language: score(*_only(examples, right, language), _family) for language in LANGUAGES}
    for language, rows in languages.items():
        for family, row in rows.items():
            families[family][language] = row["accuracy"]
    result = {
        "split": split,
        "scenes": count,
        "questions": len(examples),
        "accuracy": _mean_accuracy(families),
        "families": families,
        "languages": {language: _mean_accuracy(rows) for language, rows in languages.items() if rows},
        "calibration": calibration([p.confidence for p in predictions], right),
    }
    if text_only is not None:
        result["baselines"] = _add_baselines(model, images, examples, families, text_only)
    return result


def _add_baselines(
    model: GPT4V,
    images: torch.Tensor,
    examples: Sequence[Example],
    families: dict[str, dict],
    text_only: TextOnly,
) -> dict[str, float]:
    """Put each baseline's accuracy into the families' rows; returns the means over families."""
    answers = {
        "guess": [text_only.guess(example) for example in examples],
        "text_only": [text_only.answer(example) for example in examples],
        "blind": [p.text for p in predict(model, torch.full_like(images, _EMPTY_PICTURE), examples)],
        "shuffled": [p.text for p in predict(model, images.roll(1, dims=0), examples)],
    }
    means = {}
    for name, texts in answers.items():
        right = [is_right(e, text) for e, text in zip(examples, texts, strict=True)]
        rows = score(examples, right, _family)
        means[name] = _mean_accuracy(rows)
        for family, row in rows.items():
            families[family][name] = row["accuracy"]
    return means


def _render(world: World, scenes: Sequence[Scene], device: torch.device) -> torch.Tensor:
    renderer = Renderer(world, device)
    return torch.cat([renderer(scenes[start : start + _BATCH]) for start in range(0, len(scenes), _BATCH)])


def _family(example: Example) -> str | None:
    return example.turn.family


def _only(examples: Sequence[Example], right: Sequence[bool], language: str) -> tuple[list[Example], list[bool]]:
    chosen = [i for i, example in enumerate(examples) if example.turn.language == language]
    return [examples[i] for i in chosen], [right[i] for i in chosen]


def _mean_accuracy(rows: dict[str, dict]) -> float:
    return _round(sum(row["accuracy"] for row in rows.values()) / len(rows))


def _round(value: float) -> float:
    return round(float(value), 4)
