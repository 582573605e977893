"""Chapter 08: from scores for the next token to text.

A language model says how likely every token is to come next; decoding decides which one is written: `generate` and
`generate_stream` choose token by token (how: see `sampling`), `beam_search` looks for the likeliest whole text. They
work with any model that follows `LanguageModel`. Letters in shape comments: b texts, t tokens that are read, s tokens
that are seen, v tokens in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, Unpack, overload

import torch
from einops import rearrange
from torch import Tensor, nn

from minigpt4v.attention import KeyValueCache, causal_mask
from minigpt4v.sampling import Sampling, check_count

RUNNERS_UP = 4  # how many other candidates a `Step` tells
BROKEN = "the model's scores are not finite numbers: its weights are broken or too large, train or load it again"
_FILL = 0  # stands where a text has not begun or has ended (id 0 is <|pad|> in our tokenizers); no token can see it

Prompt = Sequence[int]


class LanguageModel(Protocol):
    """What decoding needs of a model, for example `GPT` or `GPT4V`."""

    def __call__(
        self, ids: Tensor, *, mask: Tensor | None, positions: Tensor | None, cache: KeyValueCache | None, **prefill: Any
    ) -> Any:
        """Logits [b, t, v] for ids [b, t]; mask [b, t, s], True = may look; positions [t] or [b, t]."""

    def new_cache(self, batch: int, length: int) -> KeyValueCache:
        """An empty cache; ValueError where `length` is more than the context holds."""


@dataclass(frozen=True)
class Step:
    """One written token and what else the model thought of.

    Attributes:
        token: the id.
        probability: what the model itself gave it, before temperature and filters.
        runners_up: the likeliest other tokens with their probabilities, likeliest first.
    """

    token: int
    probability: float
    runners_up: tuple[tuple[int, float], ...]


class Options(TypedDict, total=False):
    """The keyword arguments of `generate` and `generate_stream`, where they are explained."""

    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    no_repeat_ngram: int
    stop_tokens: Sequence[int]
    forbidden_tokens: Sequence[int]
    use_cache: bool
    generator: torch.Generator | None
    images: Tensor | None


@overload
def generate(
    model: LanguageModel,
    prompt_ids: Prompt | Sequence[Prompt],
    max_new_tokens: int,
    *,
    return_details: Literal[False] = False,
    **options: Unpack[Options],
) -> list[list[int]]: ...


@overload
def generate(
    model: LanguageModel,
    prompt_ids: Prompt | Sequence[Prompt],
    max_new_tokens: int,
    *,
    return_details: Literal[True],
    **options: Unpack[Options],
) -> list[list[Step]]: ...


def generate(
    model: LanguageModel,
    prompt_ids: Prompt | Sequence[Prompt],
    max_new_tokens: int,
    *,
    return_details: bool = False,
    **options: Unpack[Options],
) -> list[list[int]] | list[list[Step]]:
    """Write on after one prompt or many, each row as it would be written alone; greedy unless a temperature is given.

    Prompts of different lengths are padded on the left, where no token can see the padding.

    With a cache, memory does not grow while a text is written: room for prompts and new tokens is taken at once, 2 *
    layers * width numbers for each token of each row. A step reads all of it, so that its cost grows in a straight line
    with the text. More tokens than the context holds are refused before the first is written.

    Args:
        model: used in evaluation mode, and left in the mode it was in.
        prompt_ids: token ids of one prompt, or of several.
        max_new_tokens: how many tokens to write at most, at least 1.
        return_details: return a `Step` for each token instead of its id.
        temperature, top_k, top_p, repetition_penalty, no_repeat_ngram: see `Sampling`.
        stop_tokens: a text ends where one of these is chosen; it is not part of the result.
        forbidden_tokens: are never written.
        use_cache: keep keys and values of the tokens read; without, every step reads the whole text again.
        generator: source of chance, on the model's device; the same seed writes the same text.
        images: given to the model together with the prompts, see `GPT4V`.

    Returns:
        The new tokens of each row, one row for a single prompt.

    Raises:
        ValueError: an empty prompt, more tokens than the context holds, a value out of range, or a model whose scores
            are not numbers.
        TypeError: prompts that are not lists of whole numbers, or an unknown option.
    """
    tokens, ended, details = [], [], []
    for chosen, logits, over in _write(model, _checked_prompts(prompt_ids), max_new_tokens, **options):
        tokens.append(chosen)
        ended.append(over)
        if return_details:
            details.append(_details(chosen, logits))
    lengths = (~torch.stack(ended, dim=1)).sum(dim=1).tolist()
    if not return_details:
        rows = torch.stack(tokens, dim=1).tolist()
        return [row[:length] for row, length in zip(rows, lengths, strict=True)]
    columns = [torch.stack(column, dim=1).tolist() for column in zip(*details, strict=True)]
    return [
        [_make_step(*step) for step in islice(zip(*row, strict=True), length)]
        for *row, length in zip(*columns, lengths, strict=True)
    ]


def generate_stream(
    model: LanguageModel, prompt_ids: Prompt, max_new_tokens: int, **options: Unpack[Options]
) -> Iterator[Step]:
    """`generate` for a single prompt, one `Step` at a time, as soon as it is chosen.

    The arguments are checked at once, before the first step is asked for.
    """
    if len(prompts := _checked_prompts(prompt_ids)) != 1:
        raise ValueError(f"generate_stream writes one text at a time, not {len(prompts)}: use generate")
    return _stream(_write(model, prompts, max_new_tokens, **options))


def _stream(written: Iterator[tuple[Tensor, Tensor, Tensor]]) -> Iterator[Step]:
    for chosen, logits, over in written:
        if not over:
            step: list[Any] = [column[0].tolist() for column in _details(chosen, logits)]
            yield _make_step(*step)


class Beam(NamedTuple):
    """A text found by `beam_search`: its new tokens and its score."""

    ids: list[int]
    score: float


@torch.no_grad()
def beam_search(
    model: LanguageModel,
    prompt_ids: Prompt,
    beams: int,
    max_new_tokens: int,
    *,
    length_penalty: float = 1.0,
    stop_tokens: Sequence[int] = (),
    forbidden_tokens: Sequence[int] = (),
    images: Tensor | None = None,
) -> list[Beam]:
    """Look for the likeliest whole text: follow the `beams` likeliest beginnings instead of one.

    A text whose stop token is among the best continuations is complete and leaves the beam, which gets narrower
    (Sutskever, Vinyals, Le 2014, "Sequence to Sequence Learning with Neural Networks", section 3.2), so that one beam
    is greedy decoding. Score = log P(text) / length ** length_penalty, the stop token included in both. (Wu et al.
    2016, equation 14, use ((5 + length) / 6) ** length_penalty.)

    Args:
        model: used in evaluation mode, as in `generate`.
        prompt_ids: token ids of one prompt.
        beams: how many texts to follow, at least 1.
        max_new_tokens: how many tokens to write at most, at least 1.
        length_penalty: 0 = rank by probability, which favours short texts; 1 = by log probability per token.
        stop_tokens: a text ends where one of these comes; it is not part of the result.
        forbidden_tokens: are never written; their probability is shared out among the others.
        images: given to the model together with the prompt.

    Returns:
        Up to `beams` texts, best first; those that reached max_new_tokens without a stop token are among them.

    Raises:
        ValueError, TypeError: as `generate`.
    """
    check_count("beams", beams, 1, "1 = greedy")
    if not 0 <= length_penalty < math.inf:
        raise ValueError(f"length_penalty must be 0 or more, not {length_penalty!r}")
    if len(prompts := _checked_prompts(prompt_ids)) != 1:
        raise ValueError(f"beam_search writes one text at a time, not {len(prompts)}")
    texts = _Texts(model, prompts, max_new_tokens, images)
    start = texts.length
    complete: list[Beam] = []
    log_probabilities = torch.zeros(1, device=texts.ids.device)  # of each text in the beam
    with _evaluating(model):
        for length in range(1, max_new_tokens + 1):
            logits = texts.read()  # [n, v] for the n texts in the beam
            stop, forbidden = (_checked_ids(ids, logits) for ids in (stop_tokens, forbidden_tokens))
            allowed = logits.index_fill(1, forbidden, -torch.inf)
            continued = rearrange(log_probabilities, "n -> n 1") + allowed.log_softmax(dim=-1)
            best = rearrange(continued, "n v -> (n v)").topk(min(beams - len(complete), continued.numel()))
            parents, tokens = best.indices // logits.shape[1], best.indices % logits.shape[1]
            ended = torch.isin(tokens, stop)
            scores = best.values / length**length_penalty
            complete += _beams(texts.ids[parents[ended], start : texts.length], scores[ended])
            living = ~ended & (best.values > -torch.inf)
            texts.select(parents[living])
            texts.append(tokens[living])
            log_probabilities, scores = best.values[living], scores[living]
            if not living.any():
                break
    complete += _beams(texts.ids[:, start : texts.length], scores)
    return sorted(complete, key=lambda beam: -beam.score)


def _beams(ids: Tensor, scores: Tensor) -> list[Beam]:
    return [Beam(*beam) for beam in zip(ids.tolist(), scores.tolist(), strict=True)]


def _write(
    model: LanguageModel,
    prompts: list[list[int]],
    max_new_tokens: int,
    *,
    stop_tokens: Sequence[int] = (),
    forbidden_tokens: Sequence[int] = (),
    use_cache: bool = True,
    generator: torch.Generator | None = None,
    images: Tensor | None = None,
    **sampling: Any,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Check the arguments now; the steps are taken when they are asked for."""
    choice = Sampling(**sampling)
    texts = _Texts(model, prompts, max_new_tokens, images, use_cache)
    return _steps(texts, max_new_tokens, choice, stop_tokens, forbidden_tokens, generator)


@torch.inference_mode()
def _steps(
    texts: _Texts,
    max_new_tokens: int,
    sampling: Sampling,
    stop_tokens: Sequence[int],
    forbidden_tokens: Sequence[int],
    generator: torch.Generator | None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Write until every text is over; yields the tokens [b], the logits [b, v], and which texts are over [b]."""
    with _evaluating(texts.model):
        logits = texts.read()
        stop, forbidden = (_checked_ids(ids, logits) for ids in (stop_tokens, forbidden_tokens))
        may_end, some_forbidden = len(stop) > 0, len(forbidden) > 0
        over = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        for remaining in reversed(range(max_new_tokens)):
            seen = texts.seen(logits.shape[1]) if sampling.repetition_penalty > 1 else None
            allowed = logits.index_fill(1, forbidden, -torch.inf) if some_forbidden else logits
            tokens = sampling.choose(sampling.limit(allowed, texts.so_far, seen, texts.is_text), generator)
            if may_end:
                over = over | torch.isin(tokens, stop)
                tokens = tokens.masked_fill(over, _FILL)
            yield tokens, logits, over
            if not remaining or (may_end and over.all()):
                return
            texts.append(tokens)
            logits = texts.read()


class _Texts:
    """A batch of texts that a model reads, and that grow on the right by a token at a time.

    Attributes:
        ids: [b, total]: padding on the left, the prompt, the new tokens, and room for more.
        length: how much of that is filled.
        is_text: boolean [b, total], False for padding; None where there is none.
        positions: [total], or [b, total] where there is padding.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompts: list[list[int]],
        max_new_tokens: int,
        images: Tensor | None,
        use_cache: bool = True,
    ) -> None:
        check_count("max_new_tokens", max_new_tokens, 1, "the tokens to write")
        self.model = model
        self.length = max(map(len, prompts))
        cache = self._new_cache(len(prompts), max_new_tokens)  # where it goes unused, it still knows what fits
        self.cache = cache if use_cache else None
        self.prefill = {} if images is None else {"images": images}
        self.read_until = 0

        rows = [[_FILL] * (self.length - len(prompt)) + prompt + [_FILL] * max_new_tokens for prompt in prompts]
        self.ids = torch.tensor(rows, device=_device(model))
        self.positions = torch.arange(self.ids.shape[1], device=self.ids.device)
        self.is_text = None
        if min(map(len, prompts)) < self.length:
            padding = torch.tensor([[self.length - len(prompt)] for prompt in prompts], device=self.ids.device)
            self.is_text = self.positions >= padding  # [b, total]
            self.positions = (self.positions - padding).clamp(min=0)  # [b, total]

    def _new_cache(self, batch: int, max_new_tokens: int) -> KeyValueCache:
        try:
            return self.model.new_cache(batch, self.length + max_new_tokens)
        except ValueError as error:
            raise ValueError(
                f"a prompt of {self.length} tokens and {max_new_tokens} new ones do not fit into the context: {error}"
            ) from error

    @property
    def so_far(self) -> Tensor:
        """The ids written until now, prompts and padding included, [b, length]."""
        return self.ids[:, : self.length]

    def read(self) -> Tensor:
        """Let the model read what is new to it; returns its logits [b, v] for the next token."""
        start = self.read_until
        logits = self.model(
            self.ids[:, start : self.length],
            mask=self._mask(start),
            positions=self.positions[..., start : self.length],
            cache=self.cache,
            **self.prefill,
        )[:, -1].float()
        # the largest of a row: -inf for some tokens is a model's good right. A GPU would have to finish to answer.
        if (start == 0 or logits.device.type == "cpu") and not logits.amax(-1).isfinite().all():
            raise ValueError(BROKEN)
        if self.cache is not None:
            self.read_until, self.prefill = self.length, {}
        return logits

    def _mask(self, start: int) -> Tensor | None:
        """Who may look at whom, [b, t, s]; None (causal) without padding. Reads are the prompts or a single token."""
        if self.is_text is None:
            return None
        visible = rearrange(self.is_text[:, : self.length], "b s -> b 1 s")
        if start > 0:
            return visible
        alone = torch.eye(self.length, dtype=torch.bool, device=visible.device)  # padding sees itself, not nothing
        return causal_mask(self.length, visible.device) & visible | alone

    def append(self, tokens: Tensor) -> None:
        """Write one token [b] in each row."""
        self.ids[:, self.length] = tokens
        self.length += 1

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may come twice. For texts without padding, read with a cache."""
        assert self.cache is not None
        self.ids, self.cache = self.ids[rows], self.cache.select(rows)

    def seen(self, vocabulary_size: int) -> Tensor:
        """Boolean [b, v]: which tokens the texts hold."""
        is_text = torch.ones_like(self.so_far) if self.is_text is None else self.is_text[:, : self.length].long()
        counts = torch.zeros(len(self.ids), vocabulary_size, dtype=torch.int64, device=self.ids.device)
        return counts.scatter_add(1, self.so_far, is_text) > 0


@torch.inference_mode()  # as the steps that the logits come from
def _details(tokens: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
    """What `_make_step` needs, for all rows: tokens [b], their probabilities [b], the best ids and theirs [b, k]."""
    probabilities = logits.softmax(dim=-1)
    best = probabilities.topk(min(RUNNERS_UP + 1, logits.shape[-1]), dim=-1)
    chosen = probabilities.gather(-1, rearrange(tokens, "b -> b 1"))
    return tokens, rearrange(chosen, "b 1 -> b"), best.indices, best.values


def _make_step(token: int, probability: float, best: list[int], best_probabilities: list[float]) -> Step:
    others = [pair for pair in zip(best, best_probabilities, strict=True) if pair[0] != token]
    return Step(token, probability, tuple(others[:RUNNERS_UP]))


@contextmanager
def _evaluating(model: LanguageModel) -> Iterator[None]:
    """Switch dropout off, and put every layer back into the mode it was in."""
    training = [module for module in model.modules() if module.training] if isinstance(model, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _device(model: LanguageModel) -> torch.device:
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def _checked_prompts(prompt_ids: Prompt | Sequence[Prompt]) -> list[list[int]]:
    """One prompt or many, as a list of prompts."""
    if not isinstance(prompt_ids, (list, tuple)):
        raise TypeError(
            f"prompt_ids must be a list of token ids or a list of such lists, not {type(prompt_ids).__name__}: "
            "use tokenizer.encode(text), or tensor.tolist()"
        )
    prompts = prompt_ids if prompt_ids and isinstance(prompt_ids[0], (list, tuple)) else [prompt_ids]
    for number, prompt in enumerate(prompts):
        if not isinstance(prompt, (list, tuple)) or not all(isinstance(token_id, int) for token_id in prompt):
            raise TypeError(f"prompt {number} must be a list of token ids (whole numbers), not {prompt!r}")
        if not prompt:
            raise ValueError(f"prompt {number} is empty: begin with at least one token")
    return [list(prompt) for prompt in prompts]


def _checked_ids(ids: Sequence[int], logits: Tensor) -> Tensor:
    """Stop tokens or forbidden tokens as a tensor, if the model knows them."""
    for token_id in ids:
        if not 0 <= token_id < logits.shape[-1]:
            raise ValueError(f"token id {token_id} is outside the model's vocabulary of 0 to {logits.shape[-1] - 1}")
    return torch.tensor(list(ids), dtype=torch.int64, device=logits.device)
