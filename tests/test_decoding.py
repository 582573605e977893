"""Decoding: filters against their definitions, generation against plain loops, enumeration and `transformers`."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from minigpt4v.attention import KeyValueCache
from minigpt4v.decoding import RUNNERS_UP, Beam, Step, beam_search, generate, generate_stream
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.tokenizer import Tokenizer
from minigpt4v.vision import VisionConfig

VOCABULARY = 20
PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5], [0, 0, 8]]
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=6)


def small_gpt(vocabulary_size: int = VOCABULARY, position: str = "rotary", **changes: Any) -> GPT:
    """A GPT with large random weights: its scores differ clearly, and depend on what was read and where."""
    config = GPTConfig(
        vocabulary_size=vocabulary_size,
        context_length=40,
        layers=2,
        heads=2,
        width=16,
        position=position,
        zero_init_outputs=False,
        **changes,
    )
    model = GPT(config).double()
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return model


class FixedScores(nn.Module):
    """A model of the `LanguageModel` kind that gives the same scores whatever it reads, and notes how it was called."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(scores))
        self.dropout = nn.Dropout(0.5)
        self.calls: list[dict[str, Any]] = []

    def forward(self, ids: Tensor, **given: Any) -> Tensor:
        modes = {"training": self.dropout.training, "gradients": torch.is_grad_enabled()}
        self.calls.append({"ids": ids.clone(), **modes, **given})
        return self.scores.expand(*ids.shape, -1)

    def new_cache(self, batch: int, length: int) -> KeyValueCache:
        return KeyValueCache(1, batch, 1, length, 1)


# --- greedy ---


@torch.no_grad()
def greedy_by_hand(model: Callable[..., Tensor], prompt: list[int], count: int, **prefill: Tensor) -> list[int]:
    """Read everything again for every token: no cache, no batch, no mask."""
    text = list(prompt)
    for _ in range(count):
        text.append(int(model(torch.tensor([text]), **prefill)[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "none"])
def test_every_row_of_a_batch_is_what_it_is_alone(position: str, use_cache: bool):
    model = small_gpt(position=position)
    expected = [greedy_by_hand(model, prompt, 12) for prompt in PROMPTS]
    assert generate(model, PROMPTS, 12, use_cache=use_cache) == expected
    assert [generate(model, prompt, 12, use_cache=use_cache)[0] for prompt in PROMPTS] == expected
    assert len({tuple(row) for row in expected}) == len(PROMPTS)
    assert len(set(itertools.chain(*expected))) > 5


@pytest.mark.parametrize("use_cache", [True, False])
def test_pictures_in_prompts_of_different_lengths(use_cache: bool):
    model, prompts, images = seeing_model()
    options = {"use_cache": use_cache, "forbidden_tokens": [model.image_id]}
    written = generate(model, prompts, 8, images=images, **options)
    for row, (prompt, image) in enumerate(zip(prompts, images, strict=True)):
        assert written[row] == generate(model, prompt, 8, images=image[None], **options)[0]
    assert written[0] == greedy_by_hand(model, prompts[0], 8, images=images[:1])
    assert written != generate(model, prompts, 8, images=images.flip(0), **options)


def seeing_model() -> tuple[GPT4V, list[list[int]], Tensor]:
    tokenizer = Tokenizer([])
    text = GPTConfig(vocabulary_size=261, context_length=64, layers=2, heads=2, width=16, zero_init_outputs=False)
    model = (
        GPT4V(GPT4VConfig(text, VisionConfig(width=16, image_size=32, channels=(4, 4, 4))), tokenizer).double().eval()
    )
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    picture = [model.image_id] * model.tokens_per_image
    prompts = [[1, *picture, *tokenizer.encode("what?")], [*picture, 2], [1, *tokenizer.encode("look: "), *picture]]
    return model, prompts, torch.rand(3, 3, 32, 32, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("settings", [{}, {"repetition_penalty": 1.3}, {"no_repeat_ngram": 2}])
def test_transformers_writes_the_same(settings: dict[str, float]):
    transformers = pytest.importorskip("transformers")
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64, "vocab_size": 50}
    unused = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **unused, initializer_range=0.4)).eval()
    ours = GPT(GPTConfig.gpt2(layers=2, heads=2, width=32, context_length=64, vocabulary_size=50)).eval()
    ours.load_gpt2_weights(theirs.state_dict())
    names = {"repetition_penalty": "repetition_penalty", "no_repeat_ngram": "no_repeat_ngram_size"}
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        options = {names[name]: value for name, value in settings.items()}
        written = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False, **options
        )
        assert generate(ours, prompt, 30, **settings)[0] == written[0, len(prompt) :].tolist()
    assert generate(ours, PROMPTS, 30, **settings) == [generate(ours, prompt, 30, **settings)[0] for prompt in PROMPTS]


def test_a_stop_token_ends_its_row_and_is_not_part_of_it():
    model = small_gpt()
    free = generate(model, PROMPTS, 12)
    for stop in itertools.combinations(range(0, VOCABULARY, 2), 2):
        ends = [min((row.index(token) for token in stop if token in row), default=12) for row in free]
        expected = [row[:end] for row, end in zip(free, ends, strict=True)]
        assert generate(model, PROMPTS, 12, stop_tokens=stop) == expected


def test_writing_stops_when_every_row_has_ended():
    model = FixedScores([0.0, 1.0, 3.0])
    assert generate(model, [[1], [1, 2]], 50, stop_tokens=[2]) == [[], []]
    assert len(model.calls) == 1
    model = FixedScores([0.0, 1.0, 3.0])
    assert generate(model, [1], 5) == [[2] * 5]
    assert len(model.calls) == 5


def test_a_row_that_has_ended_reads_padding():
    """Not its stop token, say: a model may have no picture for an image token that comes late."""
    model = FixedScores([0.0, 0.0, 1.0])
    rows = generate(model, [[1]] * 30, 12, temperature=1.0, stop_tokens=[2])
    read = torch.cat([call["ids"] for call in model.calls[1:]], dim=1).tolist()
    assert len({len(row) for row in rows}) > 2
    assert all(ids == (row + [0] * 12)[: len(ids)] for ids, row in zip(read, rows, strict=True))


def test_forbidden_tokens_are_never_written():
    model = FixedScores([0.0, 1.0, 3.0, 2.0])
    assert generate(model, [1], 2, forbidden_tokens=[2]) == [[3, 3]]
    drawn = generate(model, [[1]] * 200, 5, forbidden_tokens=[2, 0], temperature=3.0)
    assert set(itertools.chain(*drawn)) == {1, 3}


# --- what the model is asked ---


def test_with_a_cache_each_step_reads_one_token_and_pictures_come_once():
    model, images = FixedScores([0.0, 1.0]), torch.rand(2, 3, 4, 4)
    generate(model, [[0, 1, 0], [1, 1, 1]], 4, images=images)
    assert [call["ids"].shape[1] for call in model.calls] == [3, 1, 1, 1]
    assert ["images" in call for call in model.calls] == [True, False, False, False]
    assert model.calls[0]["images"] is images
    assert [call["mask"] for call in model.calls] == [None] * 4
    assert [call["positions"].tolist() for call in model.calls] == [[0, 1, 2], [3], [4], [5]]
    assert all(call["cache"] is model.calls[0]["cache"] for call in model.calls)


def test_without_a_cache_each_step_reads_everything_and_sees_the_pictures():
    model, images = FixedScores([0.0, 1.0]), torch.rand(1, 3, 4, 4)
    generate(model, [0, 1], 3, images=images, use_cache=False)
    assert [call["ids"].tolist() for call in model.calls] == [[[0, 1]], [[0, 1, 1]], [[0, 1, 1, 1]]]
    assert all(call["images"] is images and call["cache"] is None for call in model.calls)


def test_padding_is_on_the_left_and_seen_by_no_token():
    model = FixedScores([0.0, 1.0])
    generate(model, [[1, 1, 1], [1]], 2)
    first, second = model.calls
    assert first["ids"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert first["positions"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert first["mask"].int().tolist() == [
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    ]
    assert second["positions"].tolist() == [[3], [1]]
    assert second["mask"].int().tolist() == [[[1, 1, 1, 1]], [[0, 0, 1, 1]]]


class NoModule:
    """A model of the `LanguageModel` kind that PyTorch knows nothing of: it likes the token after the last one."""

    def __call__(self, ids: Tensor, **given: Any) -> Tensor:
        return nn.functional.one_hot((ids + 1) % 5, 5).float()

    def new_cache(self, batch: int, length: int) -> KeyValueCache:
        return KeyValueCache(1, batch, 1, length, 1)


class NoParameters(NoModule, nn.Module):
    """The same with PyTorch's knowledge, but no parameters."""


@pytest.mark.parametrize("model", [NoModule(), NoParameters()])
def test_any_model_that_follows_the_protocol_will_do(model: NoModule):
    assert generate(model, [[1], [3, 2]], 4) == [[2, 3, 4, 0], [3, 4, 0, 1]]
    assert beam_search(model, [1], 1, 3)[0].ids == [2, 3, 4]


class OnMeta(FixedScores):
    """A model on the device "meta", whose tensors have no values; its scores come back where they have some."""

    def forward(self, ids: Tensor, *, mask: Tensor, positions: Tensor, **given: Any) -> Tensor:
        assert {ids.device.type, mask.device.type, positions.device.type} == {"meta"}
        return torch.tensor([0.0, 1.0]).expand(*ids.shape, -1)


def test_what_the_model_reads_lies_where_its_parameters_lie():
    assert generate(OnMeta([0.0, 1.0]).to("meta"), [[1, 1], [1]], 3) == [[1, 1, 1]] * 2


def test_the_model_is_evaluated_and_left_in_its_mode():
    model = FixedScores([0.0, 1.0])
    frozen = nn.Dropout().eval()
    model.frozen = frozen
    generate(model, [1], 2)
    stream = generate_stream(model, [1], 5)
    next(stream)
    assert not model.training
    stream.close()
    beam_search(model, [1], 2, 2)
    assert [call["training"] for call in model.calls] == [False] * (2 + 1 + 2)
    assert model.training
    assert model.dropout.training
    assert not frozen.training


# --- sampling ---


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.5},
        {"temperature": 2.0, "top_k": 3},
        {"temperature": 1.0, "top_p": 0.75},
        {"temperature": 1.5, "top_k": 5, "top_p": 0.9, "repetition_penalty": 1.5},
    ],
)
def test_draws_follow_the_exact_probabilities(settings: dict[str, Any]):
    """20,000 draws against probabilities worked out in plain Python, by Pearson's chi-square."""
    scores = [0.5, 2.0, -1.0, 1.0, 0.0, 1.5]
    expected = probabilities_by_hand(scores, {1, 4}, **settings)
    rows, generator = 20_000, torch.Generator().manual_seed(5)
    drawn = generate(FixedScores(scores), [[1, 4]] * rows, 1, generator=generator, **settings)
    counts = [sum(row == [token] for row in drawn) for token in range(len(scores))]
    assert all(count == 0 for count, share in zip(counts, expected, strict=True) if share == 0)
    possible = [(count, share * rows) for count, share in zip(counts, expected, strict=True) if share > 0]
    statistic = torch.tensor(sum((count - mean) ** 2 / mean for count, mean in possible))
    p_value = torch.special.gammaincc(torch.tensor((len(possible) - 1) / 2), statistic / 2)
    assert p_value > 0.01


def probabilities_by_hand(
    scores: list[float],
    seen: set[int],
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float = 1.0,
) -> list[float]:
    for token in seen:
        scores = [*scores]
        scores[token] *= repetition_penalty if scores[token] < 0 else 1 / repetition_penalty
    weights = [math.exp(score / temperature) for score in scores]
    order = sorted(range(len(scores)), key=lambda token: -weights[token])[:top_k]
    total, kept, mass = sum(weights[token] for token in order), [], 0.0
    for token in order:
        if top_p is None or mass < top_p:
            kept.append(token)
        mass += weights[token] / total
    total = sum(weights[token] for token in kept)
    return [weights[token] / total if token in kept else 0.0 for token in range(len(scores))]


def test_padding_is_no_token_seen():
    assert generate(FixedScores([1.0, 0.9, 0.8]), [[1, 1], [1]], 1, repetition_penalty=2.0) == [[0], [0]]
    assert generate(FixedScores([1.0, 0.9, 0.8]), [[0, 1], [1]], 1, repetition_penalty=2.0) == [[2], [0]]
    assert generate(FixedScores([1.0, 0.9, 0.8]), [[0, 0, 0], [0]], 1, no_repeat_ngram=2) == [[1], [0]]


@pytest.mark.parametrize("settings", [{"temperature": 1.3}, {"temperature": 0.9, "top_k": 9, "top_p": 0.95}])
def test_the_same_seed_writes_the_same_text_with_and_without_cache(settings: dict[str, Any]):
    model = small_gpt()

    def write(seed: int, use_cache: bool = True) -> list[list[int]]:
        return generate(
            model, PROMPTS, 20, use_cache=use_cache, generator=torch.Generator().manual_seed(seed), **settings
        )

    assert write(1) == write(1) == write(1, use_cache=False)
    assert write(1) != write(2)


def test_no_ngram_comes_twice():
    model = small_gpt()
    assert has_repeated_pair(PROMPTS[0] + generate(model, PROMPTS[0], 30)[0])
    for prompt, written in zip(PROMPTS, generate(model, PROMPTS, 30, no_repeat_ngram=2), strict=True):
        assert not has_repeated_pair((prompt + written)[max(0, len(prompt) - 1) :])


def has_repeated_pair(ids: list[int]) -> bool:
    pairs = list(itertools.pairwise(ids))
    return len(set(pairs)) < len(pairs)


# --- details and streaming ---


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "top_k": 4}])
def test_steps_tell_the_models_own_probabilities(settings: dict[str, Any]):
    model = small_gpt()

    def seeded() -> dict[str, Any]:
        return {"generator": torch.Generator().manual_seed(1), "stop_tokens": [8], **settings}

    ids = generate(model, PROMPTS, 10, **seeded())
    rows = generate(model, PROMPTS, 10, return_details=True, **seeded())
    assert [[step.token for step in row] for row in rows] == ids
    for prompt, row in zip(PROMPTS, rows, strict=True):
        text = list(prompt)
        for step in row:
            with torch.no_grad():
                probabilities = model(torch.tensor([text]))[0, -1].softmax(-1)
            others = [token for token in probabilities.argsort(descending=True).tolist() if token != step.token]
            assert step.probability == pytest.approx(float(probabilities[step.token]), rel=1e-4)
            assert [token for token, _ in step.runners_up] == others[:RUNNERS_UP]
            assert [p for _, p in step.runners_up] == pytest.approx(
                probabilities[others[:RUNNERS_UP]].tolist(), rel=1e-4
            )
            text.append(step.token)


def test_a_small_vocabulary_has_fewer_runners_up():
    [[step]] = generate(FixedScores([math.log(0.25), math.log(0.75)]), [0], 1, return_details=True)
    assert step == Step(1, pytest.approx(0.75), ((0, pytest.approx(0.25)),))


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.2, "stop_tokens": (3, 8)}])
def test_a_stream_is_generate_step_by_step(settings: dict[str, Any]):
    model = small_gpt()
    for prompt in PROMPTS:
        [expected] = generate(
            model, prompt, 15, return_details=True, generator=torch.Generator().manual_seed(4), **settings
        )
        assert (
            list(generate_stream(model, prompt, 15, generator=torch.Generator().manual_seed(4), **settings)) == expected
        )
        assert list(generate_stream(model, [prompt], 1)) == generate(model, prompt, 1, return_details=True)[0]


def test_a_stream_computes_a_step_only_when_it_is_asked_for():
    model = FixedScores([0.0, 1.0])
    stream = generate_stream(model, [1], 10)
    assert len(model.calls) == 0
    next(stream)
    next(stream)
    assert len(model.calls) == 2


def test_nothing_is_kept_for_gradients():
    model = FixedScores([0.0, 1.0])
    generate(model, [1], 2, return_details=True)
    stream = generate_stream(model, [1], 3)
    next(stream)
    assert torch.is_grad_enabled()
    next(stream)
    beam_search(model, [1], 2, 2)
    assert [call["gradients"] for call in model.calls] == [False] * 6
    assert torch.is_grad_enabled()


# --- beam search ---


@torch.no_grad()
def all_texts(model: GPT, prompt: list[int], length: int, stop: set[int], penalty: float) -> list[Beam]:
    """Every text there is, scored from the model's full forward pass: ended by a stop token or `length` tokens long."""
    vocabulary = model.config.vocabulary_size
    found: dict[tuple[int, ...], float] = {}
    for written in itertools.product(range(vocabulary), repeat=length):
        ended = next((i + 1 for i, token in enumerate(written) if token in stop), length)
        found[written[:ended]] = 0.0
    for written in found:
        logits = model(torch.tensor([[*prompt, *written]]))[0, len(prompt) - 1 : -1]
        found[written] = (
            float(logits.log_softmax(-1)[range(len(written)), list(written)].sum()) / len(written) ** penalty
        )
    beams = [Beam([token for token in written if token not in stop], score) for written, score in found.items()]
    return sorted(beams, key=lambda beam: -beam.score)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("stop", [set(), {2}, {0, 3}])
def test_a_beam_as_wide_as_the_space_finds_every_text_in_order(stop: set[int], penalty: float):
    model = small_gpt(vocabulary_size=4)
    expected = all_texts(model, [1, 3], 4, stop, penalty)
    found = beam_search(model, [1, 3], 4**4, 4, length_penalty=penalty, stop_tokens=sorted(stop))
    assert len(found) == len(expected)
    assert [beam.score for beam in found] == pytest.approx([beam.score for beam in expected], abs=1e-5)
    assert found[0].ids == expected[0].ids
    assert sorted(beam.ids for beam in found) == sorted(beam.ids for beam in expected)


@torch.no_grad()
def beam_by_hand(model: GPT, prompt: list[int], beams: int, length: int, stop: set[int], penalty: float) -> list[Beam]:
    """The same search with lists and sorting, one text and one full forward pass at a time."""
    living: list[tuple[list[int], float]] = [([], 0.0)]
    complete: list[Beam] = []
    for step in range(1, length + 1):
        candidates = []
        for written, score in living:
            for token, value in enumerate(model(torch.tensor([prompt + written]))[0, -1].log_softmax(-1).tolist()):
                candidates.append(([*written, token], score + value))
        candidates = sorted(candidates, key=lambda candidate: -candidate[1])[: beams - len(complete)]
        complete += [Beam(ids[:-1], score / step**penalty) for ids, score in candidates if ids[-1] in stop]
        living = [(ids, score) for ids, score in candidates if ids[-1] not in stop]
    complete += [Beam(ids, score / length**penalty) for ids, score in living]
    return sorted(complete, key=lambda beam: -beam.score)


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("stop", [set(), {8, 11, 5, 13}])
def test_narrow_beams_match_the_search_by_hand(beams: int, stop: set[int]):
    model = small_gpt()
    for prompt in PROMPTS:
        found = beam_search(model, prompt, beams, 6, length_penalty=0.6, stop_tokens=sorted(stop))
        expected = beam_by_hand(model, prompt, beams, 6, stop, 0.6)
        assert [beam.ids for beam in found] == [beam.ids for beam in expected]
        assert [beam.score for beam in found] == pytest.approx([beam.score for beam in expected], abs=1e-5)
        assert len(found) == beams


def test_one_beam_is_greedy():
    model = small_gpt()
    for prompt in PROMPTS:
        [beam] = beam_search(model, prompt, 1, 12, stop_tokens=[8, 5])
        assert [beam.ids] == generate(model, prompt, 12, stop_tokens=[8, 5])


def test_a_beam_finds_a_text_that_greedy_misses():
    model = small_gpt()
    [best, *_] = beam_search(model, PROMPTS[0], 30, 6, length_penalty=0)
    [greedy] = beam_search(model, PROMPTS[0], 1, 6, length_penalty=0)
    assert best.score > greedy.score + 0.1


def test_beams_see_the_picture_and_skip_forbidden_tokens():
    model, prompts, images = seeing_model()
    forbidden = [model.image_id, *range(100, 261)]
    [beam] = beam_search(model, prompts[0], 1, 6, images=images[:1], forbidden_tokens=forbidden)
    assert [beam.ids] == generate(model, prompts[0], 6, images=images[:1], forbidden_tokens=forbidden)
    beams = beam_search(model, prompts[0], 5, 6, images=images[:1], forbidden_tokens=forbidden)
    assert len(beams) == 5
    assert not set(forbidden) & set(itertools.chain(*(beam.ids for beam in beams)))
    other = beam_search(model, prompts[0], 5, 6, images=images[1:2], forbidden_tokens=forbidden)
    assert [beam.ids for beam in other] != [beam.ids for beam in beams]


def test_the_search_ends_when_every_text_has():
    model = FixedScores([0.0, 1.0, 3.0])
    [beam] = beam_search(model, [1], 1, 50, stop_tokens=[2])
    assert beam.ids == []
    assert beam.score == pytest.approx(3 - math.log(1 + math.exp(1) + math.exp(3)))
    assert len(model.calls) == 1


def test_fewer_texts_than_beams():
    found = beam_search(FixedScores([0.0, 0.0, 0.0]), [1], 10, 2, forbidden_tokens=[0], length_penalty=0)
    assert sorted(beam.ids for beam in found) == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert [beam.score for beam in found] == pytest.approx([math.log(1 / 4)] * 4)


# --- bad input ---


@pytest.mark.parametrize("write", [generate, generate_stream])
@pytest.mark.parametrize("setting", [{"temperature": -0.1}, {"top_k": 0}, {"top_p": 1.5}, {"repetition_penalty": 0.5}])
def test_settings_are_checked_before_anything_is_written(write: Callable[..., Any], setting: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(setting))):
        write(small_gpt(), [1], 3, **setting)


@pytest.mark.parametrize(
    ("prompt_ids", "error", "fault"),
    [
        ([], ValueError, "prompt 0 is empty: begin with at least one token"),
        ([[1], []], ValueError, "prompt 1 is empty"),
        ([1, [2]], TypeError, "whole numbers"),
        ([[1], 2], TypeError, r"prompt 1 must be a list of token ids \(whole numbers\), not 2"),
        ("text", TypeError, r"not str: use tokenizer.encode\(text\)"),
        (torch.tensor([1]), TypeError, r"not Tensor: .* tensor.tolist\(\)"),
        ([1.5], TypeError, "whole numbers"),
        ([VOCABULARY], ValueError, "token id"),
        ([-1], ValueError, "token id"),
        ([1] * 36, ValueError, "a prompt of 36 tokens and 5 new ones do not fit into the context: .* 40 .* 41"),
        ([[1], [1] * 36], ValueError, "a prompt of 36 tokens and 5 new ones do not fit"),
    ],
)
@pytest.mark.parametrize("use_cache", [True, False])
def test_faulty_prompts(prompt_ids: Any, error: type[Exception], fault: str, use_cache: bool):
    with pytest.raises(error, match=fault):
        generate(small_gpt(), prompt_ids, 5, use_cache=use_cache)


def test_the_context_may_be_filled_to_the_last_token():
    assert len(generate(small_gpt(), [1] * 35, 5)[0]) == 5


@pytest.mark.parametrize(
    "write", [generate, generate_stream, lambda *given, **options: beam_search(*given[:2], 2, *given[2:], **options)]
)
def test_faulty_arguments(write: Callable[..., Any]):
    model = small_gpt()
    with pytest.raises(
        ValueError, match=r"max_new_tokens must be a whole number of at least 1 \(the tokens to write\), not 0"
    ):
        write(model, [1], 0)
    with pytest.raises(ValueError, match="do not fit into the context"):
        write(model, [1], 40)
    with pytest.raises(TypeError, match="temprature"):
        write(model, [1], 3, temprature=1)
    for name in ("stop_tokens", "forbidden_tokens"):
        with pytest.raises(ValueError, match="token id 20 is outside the model's vocabulary of 0 to 19"):
            list(write(model, [1], 3, **{name: [20]}))
    with pytest.raises(ValueError, match="not finite numbers"):
        list(write(FixedScores([0.0, math.nan]), [1], 3))


def test_faulty_beams():
    with pytest.raises(ValueError, match=r"beams must be a whole number of at least 1 \(1 = greedy\), not 0"):
        beam_search(small_gpt(), [1], 0, 3)
    for penalty in (-1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"length_penalty must be 0 or more, not {penalty}"):
            beam_search(small_gpt(), [1], 2, 3, length_penalty=penalty)
    with pytest.raises(ValueError, match="one text at a time, not 2"):
        beam_search(small_gpt(), [[1], [2]], 2, 3)
    with pytest.raises(ValueError, match="one text at a time, not 2: use generate"):
        generate_stream(small_gpt(), [[1], [2]], 3)
