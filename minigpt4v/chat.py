"""Talking with a GPT4V about a picture: questions, captions, dialogues, and where the model looked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.decoding import Step, generate_stream
from minigpt4v.gpt4v import GPT4V
from minigpt4v.processor import PictureProcessor

CAPTION_QUESTIONS = {"en": "What is in the picture?", "zh": "图里有什么？"}
MAX_ANSWER_TOKENS = 64
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Answer:
    """What the model said, token by token."""

    question: str
    text: str
    steps: tuple[Step, ...]
    """The tokens with their probabilities and runners-up, without the stop token."""

    def __str__(self) -> str:
        return self.text

    @property
    def confidence(self) -> float:
        """The probability that the model gives to this whole answer."""
        return float(torch.tensor([step.probability for step in self.steps], dtype=torch.float64).prod())


def tidy_question(question: str) -> str:
    """A question as the model's schoolbooks write it: single spaces, a capital, an end mark.

    Raises ValueError for an empty question.
    """
    if not isinstance(question, str):
        raise TypeError(f"a question must be text, not {type(question).__name__}")
    words = " ".join(question.split())
    if not words:
        raise ValueError("the question is empty: ask something, such as 'What is in the picture?'")
    if _CHINESE.search(words):
        words = words.replace("?", "？")
        return words if words[-1] in "？。!！" else words + "？"
    words = words.replace("？", "?")
    return words[0].upper() + words[1:] + ("" if words[-1] in "?.!" else "?")


class Chat:
    """A conversation about one picture. `notes` says what was done to the picture to fit the model."""

    def __init__(self, model: GPT4V, picture: Any):
        processed = PictureProcessor(model.config.vision.image_size)(picture)
        self.model, self.notes = model, processed.notes
        self.image = processed.tensor
        self.history: list[Turn] = []
        self._encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)

    def ask(self, question: str, **options: Any) -> Answer:
        """Answer a question and remember both. options: `temperature`, `top_k`, ... of `decoding.Sampling`.

        Raises ValueError where the question is empty or the conversation no longer fits into the model's context.
        """
        question = tidy_question(question)
        steps = tuple(self._steps(question, **options))
        answer = Answer(question, self._text(steps), steps)
        self.history.append(Turn(question, answer.text))
        return answer

    def caption(self, language: str = "en", **options: Any) -> Answer:
        """Say what is in the picture. Raises ValueError for a language that the model does not speak."""
        if language not in CAPTION_QUESTIONS:
            raise ValueError(f"unknown language {language!r}: choose one of {', '.join(CAPTION_QUESTIONS)}")
        return self.ask(CAPTION_QUESTIONS[language], **options)

    def stream(self, question: str, **options: Any) -> Iterator[str]:
        """Like `ask`, but gives the text piece by piece, as it is written."""
        question, steps, said, text = tidy_question(question), [], "", ""
        for step in self._steps(question, **options):
            steps.append(step)
            text = self._text(steps)
            if not text.endswith("\ufffd"):  # half a character: wait for its other bytes
                yield text[len(said) :]
                said = text
        if text != said:  # the other bytes never came
            yield text[len(said) :]
        self.history.append(Turn(question, text))

    def looked(self, answer: Answer) -> torch.Tensor:
        """How much each token of an answer attends to each part of the picture: [tokens, rows, columns].

        The attention weights while it was written, averaged over heads, and over the layers from the second on.

        Raises ValueError where the answer is not one of this chat.
        """
        asked = Turn(answer.question, answer.text)
        if asked not in self.history:
            raise ValueError(f"the answer {answer.text!r} is not of this chat: give one that its `ask` returned")
        place = max(i for i, turn in enumerate(self.history) if turn == asked)
        prompt = self._encoder.prompt(asked.question, self.history[:place])
        written = [step.token for step in answer.steps]
        ids = torch.tensor([prompt + written], device=self.model.device)
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            _, weights = self.model(ids, self.image[None].to(self.model.device), return_weights=True)
        self.model.train(training)
        side = int(self.model.tokens_per_image**0.5)
        layers = weights[1:] or weights  # a model may have but one
        over_picture = torch.stack(layers).mean((0, 2))[0, len(prompt) - 1 : -1, : self.model.tokens_per_image]
        return rearrange(over_picture, "t (y x) -> t y x", y=side).cpu()

    def _steps(self, question: str, **options: Any) -> Iterator[Step]:
        prompt = self._encoder.prompt(question, self.history)
        room = self.model.config.text.context_length - len(prompt)
        if room < 1:
            raise ValueError(
                f"the conversation has {len(prompt)} tokens but the model reads at most "
                f"{self.model.config.text.context_length}: ask something shorter or start a new chat"
            )
        image = self.image[None].to(self.model.device)
        encoder = self._encoder
        return generate_stream(
            self.model,
            prompt,
            min(room, MAX_ANSWER_TOKENS),
            stop_tokens=(encoder.end,),
            forbidden_tokens=encoder.never_said,
            images=image,
            **options,
        )

    def _text(self, steps: Any) -> str:
        return self.model.tokenizer.decode([step.token for step in steps]).strip()
