"""Training on one's own data, and the score on it: conversations about pictures, or a plain text.

Both runs work like `presets.PresetRun`: `train(resume=...)` trains in a folder that is itself a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from minigpt4v.chat import tidy_question
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.folder import DataError, Record
from minigpt4v.datasets.folder_stream import Album, Conversation, ConversationStream, TextStream, batch_of, rows_of
from minigpt4v.datasets.text import TextDataset, split_text
from minigpt4v.decoding import generate
from minigpt4v.evaluation import Example, is_right, score
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.language_model import LanguageModel
from minigpt4v.objectives import AnswerObjective, NextTokenObjective
from minigpt4v.presets import CONTEXT_LENGTH, PRESETS
from minigpt4v.tokenizer import CharTokenizer, Tokenizer
from minigpt4v.training import Trainer, TrainingSettings
from minigpt4v.vision import VisionConfig

MINUTES = 5.0
# The rates of a model that goes on, as a share of those from random weights. Measured by teaching the laptop model
# eight new names for 200 steps: the full rates learn 98% of them and keep 0% of what it knew, 0.3 learns 97% and keeps
# 68%, 0.1 learns 25% and keeps 89%. From random weights, 67% are learned in that time.
GOING_ON = 0.3
TEXT_CONTEXT_LENGTH = 128
TEXT_LAYERS, TEXT_HEADS, TEXT_WIDTH = 4, 4, 128
# One matrix reads and writes: a fifth fewer parameters, and as good on Shakespeare. Texts are small and are read many
# times, so some dropout: it costs nothing in three minutes, and is what keeps twenty from learning by heart.
TEXT_TIED, TEXT_DROPOUT = True, 0.1
_BATCH = 32
_TEXT_BATCH = 16
_LONGEST_CONTEXT = 2048  # tokens; the cost of attention grows with the square
_VOCABULARY = 4096
_TEXT_VOCABULARY = 2048
_TOKENIZER_CHARACTERS = 10_000_000  # more text teaches the tokenizer nothing new
_EVALUATED_ROWS = 256
_EVALUATED_WINDOWS = 256


def conversations_of(records: Iterable[Record]) -> list[Conversation]:
    """Records as training takes them: questions are tidied as `Chat.ask` tidies them, so that both look the same."""
    return [
        (record.images, tuple(Turn(tidy_question(turn.question), turn.answer, turn.family) for turn in record.turns))
        for record in records
    ]


class _Run:
    """What both runs share."""

    trainer: Trainer

    def train(self, *, resume: bool = False) -> list[dict[str, Any]]:
        """Train to the end, from the newest checkpoint if `resume`; returns the history."""
        if resume:
            self.trainer.resume()
        return self.trainer.run()


class ConversationRun(_Run):
    """One training run on conversations about pictures, from random weights or from a model.

    start: the model to go on from; its tokenizer is kept. None makes a new model of the size of the laptop preset, with
    a tokenizer that is learnt from the conversations. validation: conversations for the held-out accuracy.

    Raises DataError where conversations are too long for the model, with their line numbers.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        validation: Sequence[Record] = (),
        start: GPT4V | None = None,
        folder: Path | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        settings: dict[str, Any] | None = None,
    ):
        conversations, held_out = conversations_of(records), conversations_of(validation)
        tokenizer = start.tokenizer if start else _learn_tokenizer(conversations)
        tokens = (start.config.vision if start else _vision()).tokens
        encoder = ConversationEncoder(tokenizer, tokens)
        longest = start.config.text.context_length if start else _LONGEST_CONTEXT
        needed = max(_check_lengths(each, encoder, longest) for each in (records, validation))
        self.model = (start or _new_model(tokenizer, max(needed, CONTEXT_LENGTH), seed)).to(device)
        self.folder = folder
        paths = [path for pictures, _ in (*conversations, *held_out) for path in pictures]
        album = Album(paths, self.model.config.vision.image_size, device)
        objective = AnswerObjective(self.model)
        base = TrainingSettings(minutes=MINUTES, seed=seed)
        if start:
            rates = {name: GOING_ON * getattr(base, name) for name in ("learning_rate", "matrix_learning_rate")}
            base = replace(base, **rates)
        self.trainer = Trainer(
            objective,
            ConversationStream(conversations, album, encoder, min(_BATCH, len(conversations)), seed),
            replace(base, **(settings or {})),
            folder=folder,
            evaluate=(lambda: _held_out_accuracy(objective, held_out, album, encoder)) if held_out else None,
            on_save=lambda: self.model.save_pretrained(folder) if folder else None,
            title="learning",
        )


def _vision() -> VisionConfig:
    return VisionConfig(width=PRESETS["laptop"].width, channels=PRESETS["laptop"].channels)


def _new_model(tokenizer: Tokenizer | CharTokenizer, context_length: int, seed: int) -> GPT4V:
    size = PRESETS["laptop"]
    torch.manual_seed(seed)
    text = GPTConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=context_length,
        layers=size.layers,
        heads=size.heads,
        width=size.width,
    )
    return GPT4V(GPT4VConfig(text, _vision()), tokenizer)


def _learn_tokenizer(conversations: Iterable[Conversation]) -> Tokenizer:
    texts = [text for _, turns in conversations for turn in turns for text in (turn.question, turn.answer)]
    return Tokenizer.train(texts, _VOCABULARY)


def _check_lengths(records: Sequence[Record], encoder: ConversationEncoder, longest: int) -> int:
    """The tokens of the longest conversation. Raises DataError with all that have more than `longest`."""
    lengths = [
        len(encoder.prefix(len(pictures))) + len(encoder.turns(turns)[0])
        for pictures, turns in conversations_of(records)
    ]
    too_long = [(record.line, length) for record, length in zip(records, lengths, strict=True) if length > longest]
    if too_long:
        fix = f"the model reads at most {longest}: cut the conversation in two, or show fewer pictures in it"
        faults = [(line, f"has {length} tokens with its pictures, but {fix}") for line, length in too_long]
        raise DataError(f"{len(faults)} conversations are too long: line {faults[0][0]} {faults[0][1]}", faults)
    return max(lengths, default=0)


@torch.no_grad()
def _held_out_accuracy(
    objective: AnswerObjective, conversations: Sequence[Conversation], album: Album, encoder: ConversationEncoder
) -> dict[str, float]:
    """The share of answers that greedy decoding would write exactly."""
    rows = rows_of(conversations, album)[:_EVALUATED_ROWS]
    right = [
        objective.right_answers(batch_of(rows[i : i + _BATCH], album, encoder)) for i in range(0, len(rows), _BATCH)
    ]
    return {"held_out_accuracy": round(torch.cat(right).float().mean().item(), 4)}


def evaluate_records(model: GPT4V, records: Sequence[Record]) -> dict[str, Any]:
    """Exact match by free greedy decoding, over all answers and per family.

    Later turns are asked behind the true earlier turns. Returns "accuracy", "questions", and "families" as
    `evaluation.score` gives them; answers without a family are in the family "other".

    Raises DataError where conversations are too long for the model.
    """
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    _check_lengths(records, encoder, model.config.text.context_length)
    conversations = conversations_of(records)
    album = Album([p for pictures, _ in conversations for p in pictures], model.config.vision.image_size, model.device)
    asked = [
        (pictures, Example(number, turn, turns[:place]))
        for number, (pictures, turns) in enumerate(conversations)
        for place, turn in enumerate(turns)
    ]
    asked.sort(key=lambda each: len(each[1].turn.answer))  # a batch takes as long as its longest answer
    right: list[bool] = []
    for start in range(0, len(asked), _BATCH):
        written = _answer(model, encoder, album, asked[start : start + _BATCH])
        right += [is_right(example, text) for (_, example), text in zip(asked[start:], written, strict=False)]
    families = score([example for _, example in asked], right, lambda example: example.turn.family)
    return {"accuracy": round(sum(right) / len(right), 4), "questions": len(right), "families": families}


def _answer(
    model: GPT4V, encoder: ConversationEncoder, album: Album, asked: Sequence[tuple[tuple[Path, ...], Example]]
) -> list[str]:
    prompts = [encoder.prompt(each.turn.question, each.history, len(pictures)) for pictures, each in asked]
    room = model.config.text.context_length - max(map(len, prompts))
    longest = max(len(encoder.turns([each.turn])[0]) for _, each in asked)  # leaves room for a wrong, longer answer
    images = album.images([album.numbers[path] for pictures, _ in asked for path in pictures])
    written = generate(
        model,
        prompts,
        max(1, min(room, longest)),
        stop_tokens=(encoder.end,),
        forbidden_tokens=encoder.never_said,  # as in a chat
        images=images,
    )
    return [model.tokenizer.decode(ids) for ids in written]


class TextRun(_Run):
    """One training run of a language model on a text.

    validation: another text to be measured on; None holds out the end of the text. tokenizer: "bpe" or "char".

    Raises ValueError where a text is too short for the context.
    """

    def __init__(
        self,
        text: str,
        *,
        validation: str | None = None,
        tokenizer: str = "bpe",
        folder: Path | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        settings: dict[str, Any] | None = None,
    ):
        whole = text
        if validation is None:
            text, validation = split_text(text)
        # byte pairs are learnt without the held-out part; which letters there are is no secret
        learnt = _text_tokenizer(whole if tokenizer == "char" else text, tokenizer)
        torch.manual_seed(seed)
        config = GPTConfig(
            vocabulary_size=learnt.vocabulary_size,
            context_length=TEXT_CONTEXT_LENGTH,
            layers=TEXT_LAYERS,
            heads=TEXT_HEADS,
            width=TEXT_WIDTH,
            tie_embeddings=TEXT_TIED,
            dropout=TEXT_DROPOUT,
        )
        self.model = LanguageModel(GPT(config).to(device), learnt)
        self.model.measure(validation, 1)  # a text that cannot be measured is refused now, not after 500 steps
        dataset = TextDataset(learnt.encode(text), TEXT_CONTEXT_LENGTH)
        self.trainer = Trainer(
            NextTokenObjective(self.model.gpt),
            TextStream(dataset, _TEXT_BATCH, seed, device),
            replace(TrainingSettings(minutes=MINUTES, seed=seed), **(settings or {})),
            folder=folder,
            evaluate=lambda: {"held_out_loss": round(self.model.measure(validation, _EVALUATED_WINDOWS)["loss"], 5)},
            on_save=lambda: self.model.save(folder) if folder else None,
            title="reading",
        )


def _text_tokenizer(text: str, kind: str) -> Tokenizer | CharTokenizer:
    if kind == "char":
        return CharTokenizer.train([text])
    if kind == "bpe":
        return Tokenizer.train([text[:_TOKENIZER_CHARACTERS]], _TEXT_VOCABULARY)
    raise ValueError(f"unknown tokenizer {kind!r}: choose 'bpe' or 'char'")
