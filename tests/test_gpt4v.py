"""gpt4v.py: the mask against a brute-force loop, pictures in their places, and files that must fit or be refused."""

import dataclasses
import errno
import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from small_models import TOKENIZER, close, pictures, small_gpt4v

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.decoding import generate
from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig, find_checkpoint, prefix_mask, same_picture_mask, shipped_checkpoints
from minigpt4v.tokenizer import CharTokenizer, Tokenizer
from minigpt4v.vision import VisionConfig

IMAGE = TOKENIZER.special_id("<|image|>")
WORD = 7


@pytest.fixture(params=["patch", "conv"])
def model(request) -> GPT4V:
    return small_gpt4v(request.param)


@pytest.fixture
def encoder(model) -> ConversationEncoder:
    return ConversationEncoder(model.tokenizer, model.tokens_per_image)


def turns(*pairs: str) -> tuple[Turn, ...]:
    return tuple(Turn(*pair.split(" -> ")) for pair in pairs)


# -- the mask ---------------------------------------------------------------------------------------------------------


def brute_force_mask(row: list[int], segments: list[int] | None, image_id: int, tokens_per_image: int) -> list:
    """Who may look at whom, read aloud from the rules."""
    picture_of: dict[int, int] = {}  # place -> number of its picture
    seen = 0
    for place, token in enumerate(row):
        if token == image_id:
            picture_of[place] = seen // tokens_per_image
            seen += 1
    allowed = []
    for looker in range(len(row)):
        allowed.append([])
        for seen_place in range(len(row)):
            earlier = seen_place <= looker
            same_picture = looker in picture_of and picture_of[looker] == picture_of.get(seen_place)
            reachable = segments is None or segments[seen_place] in (0, segments[looker])
            allowed[-1].append((earlier or same_picture) and reachable)
    return allowed


@st.composite
def rows_with_pictures(draw):
    """A batch of rows of one length, made of words, pictures anywhere and padding; and segments, or none."""
    tokens_per_image = draw(st.integers(1, 4))
    parts = st.lists(st.sampled_from(["word", "picture"]), min_size=1, max_size=6)
    rows = [
        [token for part in draw(parts) for token in ([WORD] if part == "word" else [IMAGE] * tokens_per_image)]
        for _ in range(draw(st.integers(1, 3)))
    ]
    length = max(map(len, rows)) + draw(st.integers(0, 2))
    rows = [row + [0] * (length - len(row)) for row in rows]
    segment = st.lists(st.integers(-1, 2), min_size=length, max_size=length)
    segments = [draw(segment) for _ in rows] if draw(st.booleans()) else None
    return rows, segments, tokens_per_image


@given(rows_with_pictures())
def test_the_mask_is_that_of_the_brute_force_loop(drawn):
    rows, segments, tokens_per_image = drawn
    mask = prefix_mask(
        torch.tensor(rows), IMAGE, tokens_per_image, None if segments is None else torch.tensor(segments)
    )
    expected = [
        brute_force_mask(row, None if segments is None else segments[i], IMAGE, tokens_per_image)
        for i, row in enumerate(rows)
    ]
    assert mask.dtype == torch.bool
    assert mask.tolist() == expected


def test_two_pictures_side_by_side_are_two_pictures():
    mask = prefix_mask(torch.tensor([[IMAGE, IMAGE, IMAGE, IMAGE]]), IMAGE, 2)
    assert mask[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize("function", [prefix_mask, same_picture_mask])
def test_part_of_a_picture_is_refused(function):
    ids = torch.tensor([[IMAGE] * 4 + [WORD], [WORD] + [IMAGE] * 3 + [WORD]])
    with pytest.raises(ValueError, match=r"\[4, 3\] picture tokens, but one picture is 4 tokens: repeat <\|image\|> 4"):
        function(ids, IMAGE, 4)


# -- who learns from whom, in the whole model -------------------------------------------------------------------------


def words_and_pictures(model: GPT4V) -> torch.Tensor:
    """Two words, a picture, three words, two pictures, two words: [1, 19]."""
    picture = [IMAGE] * model.tokens_per_image
    return torch.tensor([[9, 8, *picture, 12, 13, 14, *picture, *picture, 15, 16]])


def test_attention_is_where_the_mask_is_and_both_paths_agree(model):
    ids, images = words_and_pictures(model), pictures(3)
    logits, weights = model(ids, images, return_weights=True)
    expected = torch.tensor(brute_force_mask(ids[0].tolist(), None, IMAGE, 4))
    assert len(weights) == 2
    for layer in weights:  # [b, h, t, s]
        assert torch.equal(layer[0] > 0, expected.expand_as(layer[0]))
    close(logits, model(ids, images))


def test_no_word_changes_what_was_said_before_it(model):
    ids, images = words_and_pictures(model), pictures(3)
    words = (ids[0] != IMAGE).nonzero().flatten().tolist()
    before = model(ids, images)
    for place in words:
        changed = ids.clone()
        changed[0, place] += 1
        difference = (model(changed, images) - before).abs().amax(-1)[0]
        close(difference[:place], torch.zeros(place), 1e-6)
        assert (difference[place:] > 1e-4).all(), "every later token sees it, words and pictures alike"


def test_a_picture_is_seen_by_itself_and_by_all_that_follows(model):
    ids, images = words_and_pictures(model), pictures(3).requires_grad_()
    starts = [2, 9, 13]
    for place in range(ids.shape[1]):
        (gradient,) = torch.autograd.grad(model(ids, images)[0, place].square().sum(), images)
        reached = (gradient.abs().amax((1, 2, 3)) > 0).tolist()
        assert reached == [place >= start for start in starts], place


def test_the_words_learn_from_no_later_word(model):
    ids, images = words_and_pictures(model), pictures(3)
    embedded = []
    hook = model.gpt.token_embedding.register_forward_hook(lambda *call: embedded.append(call[-1]))
    logits = model(ids, images)
    hook.remove()
    is_word = ids[0] != IMAGE
    for place in range(ids.shape[1]):
        (gradient,) = torch.autograd.grad(logits[0, place].square().sum(), embedded[0], retain_graph=True)
        reached = gradient[0].abs().amax(-1) > 0  # [t]
        assert torch.equal(reached, is_word & (torch.arange(len(reached)) <= place)), place


# -- pictures in their places -----------------------------------------------------------------------------------------


def test_image_tokens_stand_where_the_text_has_room_for_them(model):
    picture = [IMAGE] * 4
    ids = torch.tensor([[9, *picture, 10, *picture], [*picture, 11, 12, 13, 14, 15, 16]])
    images = pictures(3)
    vectors = model.embed(ids, images, None)
    tokens = iter(token for image in images for token in model.encoder(image[None])[0])
    for row, line in enumerate(ids.tolist()):
        for place, token in enumerate(line):
            expected = next(tokens) if token == IMAGE else model.gpt.token_embedding.weight[token]
            close(vectors[row, place], expected, 1e-5)
    assert next(tokens, None) is None


def test_learned_positions_are_added_to_words_and_not_to_pictures():
    model = small_gpt4v(position="learned")
    ids, images = torch.tensor([[9, *[IMAGE] * 4, 9]]), pictures(1)
    vectors = model.embed(ids, images, torch.arange(6))
    close(vectors[0, 1:5], model.encoder(images)[0])
    assert not torch.allclose(vectors[0, 0], vectors[0, 5])


def test_the_order_of_pictures_matters(model):
    ids, images = words_and_pictures(model), pictures(3)
    assert (model(ids, images) - model(ids, images[[1, 0, 2]])).abs().max() > 1e-3


def test_a_text_without_pictures_is_read_as_by_the_gpt(model):
    ids = torch.randint(5, 200, (2, 9))
    close(model(ids), model.gpt(ids))


def test_sizes(model):
    assert model.tokens_per_image == 4
    assert model.device == torch.device("cpu")
    assert model.parameter_count() == sum(tensor.numel() for tensor in dict(model.named_parameters()).values())
    assert model.parameter_count() > model.gpt.parameter_count()
    assert model.new_cache(3, 20).batch == 3


@pytest.mark.parametrize(
    ("ids", "count", "sentence"),
    [
        ([IMAGE] * 4, None, "the text holds 4 picture tokens but no pictures were given: pass images="),
        ([IMAGE] * 4, 2, r"2 pictures make 8 tokens but the text has room for 4: each <\|image\|> must be repeated 4"),
        ([IMAGE] * 8, 1, "1 pictures make 4 tokens but the text has room for 8"),
        ([9, 10], 1, "1 pictures make 4 tokens but the text has room for 0"),
        ([IMAGE] * 3, 1, "hold .3. picture tokens, but one picture is 4 tokens"),
    ],
)
def test_wrong_numbers_of_pictures_are_refused(model, ids, count, sentence):
    with pytest.raises(ValueError, match=sentence):
        model(torch.tensor([ids]), None if count is None else pictures(count))


def test_pictures_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match="pictures must be 16 x 16 pixels"):
        model(torch.tensor([[IMAGE] * 4]), pictures(1, 24))


def test_pictures_come_first(model):
    cache = model.new_cache(1)
    with torch.no_grad():
        model(torch.tensor([[9, 10]]), cache=cache)
        with pytest.raises(ValueError, match="pictures must come first, but the cache already holds 2 tokens"):
            model(torch.tensor([[IMAGE] * 4]), pictures(1), cache=cache)


def test_mask_and_segments_together_are_refused(model):
    ids = torch.tensor([[9, 10]])
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="mask and segments both say who may look at whom"):
        model(ids, mask=mask, segments=torch.zeros_like(ids))


# -- packing ----------------------------------------------------------------------------------------------------------

ABOUT = [
    turns("What is it? -> A cat.", "And its colour? -> Black."),
    turns("猫在哪里？ -> 左边。"),
    turns("Is there a dog? -> No.", "狗？ -> 没有。", "Sure? -> Yes."),
]


def test_packed_conversations_are_read_as_each_alone(model, encoder):
    image = pictures(1)
    packed = encoder.batch([encoder.pack(ABOUT)])
    logits = model(packed["ids"], image, segments=packed["segments"], positions=packed["positions"])[0]
    for number, conversation in enumerate(ABOUT, start=1):
        alone = torch.tensor([encoder.prefix() + encoder.turns(conversation)[0]])
        mine = packed["segments"][0] == number
        close(logits[mine], model(alone, image)[0, model.tokens_per_image :])


def test_padded_rows_are_read_as_each_alone(model, encoder):
    images = pictures(3)
    rows = [encoder.pack(ABOUT[:1]), encoder.pack(ABOUT), encoder.pack(ABOUT[1:2])]
    batch = encoder.batch(rows)
    together = model(batch["ids"], images, segments=batch["segments"], positions=batch["positions"])
    assert together.isfinite().all()
    for i, row in enumerate(rows):
        one = encoder.batch([row])
        alone = model(one["ids"], images[i : i + 1], segments=one["segments"], positions=one["positions"])
        close(together[i, : len(row.ids)], alone[0])


def test_two_pictures_in_front_of_a_packed_row(model, encoder):
    images = pictures(2)
    packed = encoder.batch([encoder.pack(ABOUT, images=2)])
    logits = model(packed["ids"], images, segments=packed["segments"], positions=packed["positions"])[0]
    alone = torch.tensor([encoder.prefix(2) + encoder.turns(ABOUT[2])[0]])
    close(logits[packed["segments"][0] == 3], model(alone, images)[0, 8:])


# -- decoding ---------------------------------------------------------------------------------------------------------


def prompts_with_pictures(encoder: ConversationEncoder) -> tuple[list[list[int]], list[int]]:
    """Prompts of different lengths and their numbers of pictures, one in the middle of a text."""
    between = [encoder.user, *encoder.tokenizer.encode("Look:"), *encoder.prefix(), *encoder.tokenizer.encode(" what?")]
    return [
        encoder.prompt("What is it?"),
        encoder.prompt("猫？", ABOUT[0], images=2),
        [*between, encoder.assistant],
        encoder.prompt("Is there a dog?", ABOUT[2]),
    ], [1, 2, 1, 1]


def test_the_cache_changes_nothing(model, encoder):
    prompts, counts = prompts_with_pictures(encoder)
    images = pictures(sum(counts))
    cached = generate(model, prompts, 8, images=images)
    assert cached == generate(model, prompts, 8, images=images, use_cache=False)
    assert len({tuple(row) for row in cached}) > 1


def test_a_batch_writes_what_each_prompt_writes_alone(model, encoder):
    prompts, counts = prompts_with_pictures(encoder)
    images = pictures(sum(counts))
    together = generate(model, prompts, 8, images=images, return_details=True)
    start = 0
    for prompt, count, row in zip(prompts, counts, together, strict=True):
        (alone,) = generate(model, prompt, 8, images=images[start : start + count], return_details=True)
        assert [step.token for step in row] == [step.token for step in alone]
        close(torch.tensor([s.probability for s in row]), torch.tensor([s.probability for s in alone]))
        start += count


def test_greedy_decoding_follows_the_logits_of_the_whole_text(model, encoder):
    prompt, image = encoder.prompt("What is it?"), pictures(1)
    (written,) = generate(model, prompt, 6, images=image)
    ids = list(prompt)
    for token in written:
        assert token == int(model(torch.tensor([ids]), image)[0, -1].argmax())
        ids.append(token)


# -- the config -------------------------------------------------------------------------------------------------------


def small_config(**changes) -> GPT4VConfig:
    text = {"vocabulary_size": 270, "context_length": 20, "layers": 1, "heads": 2, "width": 8} | changes
    return GPT4VConfig(GPTConfig(**text), VisionConfig(width=8, kind="patch", image_size=32))


@pytest.mark.parametrize("changes", [{}, {"norm": "layer", "bias": True, "position": "learned", "dropout": 0.1}])
def test_a_config_comes_back_from_json(changes):
    config = small_config(**changes)
    assert GPT4VConfig.from_json(config.to_json()) == config
    conv = dataclasses.replace(config, vision=VisionConfig(width=8, channels=(3, 4, 5)))
    assert GPT4VConfig.from_json(conv.to_json()) == conv


def test_widths_must_agree():
    with pytest.raises(ValueError, match="tokens of width 12 but the GPT reads width 8: give both the same width"):
        dataclasses.replace(small_config(), vision=VisionConfig(width=12))


def changed(*path: str, to=None, drop: bool = False) -> str:
    """The text of a config with one entry changed, added or taken away."""
    fields = json.loads(small_config().to_json())
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    if drop:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return json.dumps(fields)


BROKEN_CONFIGS = {
    "empty": ("", "Expecting value"),
    "cut off": (small_config().to_json()[:70], "Expecting|delimiter|Unterminated"),
    "a list": ("[1, 2]", "must hold 'text' and 'vision' and nothing else, not list"),
    "null": ("null", "not NoneType"),
    "endless": ("[" * 100_000, "recursion"),
    "no vision": (changed("vision", drop=True), r"not \['text'\]"),
    "one part too many": (changed("audio", to={}), r"not \['audio', 'text', 'vision'\]"),
    "text is a list": (changed("text", to=[1]), "mapping"),
    "vision is null": (changed("vision", to=None), "mapping"),
    "missing field": (changed("text", "layers", drop=True), "missing .* 'layers'"),
    "unknown field": (changed("text", "colour", to=1), "unexpected .* 'colour'"),
    "unknown field of vision": (changed("vision", "depth", to=1), "unexpected .* 'depth'"),
    "text for a number": (changed("text", "layers", to="2"), "layers must be a positive whole number, got '2'"),
    "fraction": (changed("text", "width", to=8.0), "width must be a positive whole number, got 8.0"),
    "truth for a number": (changed("text", "heads", to=True), "heads must be a positive whole number, got True"),
    "number for a truth": (changed("text", "bias", to=1), "bias must be True or False, got 1"),
    "unknown norm": (changed("text", "norm", to="batch"), "unknown norm 'batch': choose one of layer, rms"),
    "unknown kind": (changed("vision", "kind", to=["conv"]), "unknown kind"),
    "channels are a number": (changed("vision", "channels", to=32), "not iterable"),
    "channels are words": (changed("vision", "channels", to=["a"]), "channels must be positive whole numbers"),
    "channels are null": (changed("vision", "channels", to=None), "not iterable"),
    "dropout is not a number": (changed("text", "dropout", to=float("nan")), "dropout must be a number"),
    "widths differ": (changed("text", "width", to=12), "give both the same width"),
    "a zero": (changed("text", "context_length", to=0), "context_length must be a positive whole number, got 0"),
}


@pytest.mark.parametrize("fault", BROKEN_CONFIGS)
def test_a_broken_config_is_refused(fault):
    text, sentence = BROKEN_CONFIGS[fault]
    with pytest.raises(ValueError, match=f"^not a model configuration: .*{sentence}"):
        GPT4VConfig.from_json(text)


def test_the_tokenizer_must_have_the_size_of_the_config():
    with pytest.raises(ValueError, match="the tokenizer has 261 tokens but the model is configured for 270: use the"):
        GPT4V(small_config(), Tokenizer([]))


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(model, tmp_path) -> Path:
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same(first: GPT4V, second: GPT4V) -> None:
    assert first.config == second.config
    mine, other = first.state_dict(), second.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) and mine[name].dtype == other[name].dtype for name in mine)


def test_a_model_comes_back_bit_for_bit(model, saved):
    assert sorted(contents(saved)) == ["config.json", "model.safetensors", "tokenizer.json"]
    loaded = GPT4V.from_pretrained(saved)
    assert_same(model, loaded)
    assert not any(module.training for module in loaded.modules())
    ids, images = words_and_pictures(model), pictures(3)
    assert torch.equal(model(ids, images), loaded(ids, images))
    assert loaded.tokenizer.encode("What is 猫?") == model.tokenizer.encode("What is 猫?")
    assert_same(GPT4V.from_pretrained(str(saved)), loaded)  # a text names a folder too


def test_a_saved_model_saves_the_same_files(saved, tmp_path):
    GPT4V.from_pretrained(saved).save_pretrained(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(saved)


def test_tied_embeddings_and_characters_come_back_too(tmp_path):
    tokenizer = CharTokenizer.train(["What is it? 猫"])
    model = small_gpt4v(tokenizer=tokenizer, tie_embeddings=True)
    model.save_pretrained(tmp_path)
    loaded = GPT4V.from_pretrained(tmp_path)
    assert_same(model, loaded)
    assert loaded.gpt.head.weight is loaded.gpt.token_embedding.weight
    assert isinstance(loaded.tokenizer, CharTokenizer)


def test_weights_that_do_not_lie_in_one_piece_are_saved(tmp_path):
    model = small_gpt4v()
    with torch.no_grad():
        model.gpt.head.weight.set_(model.gpt.head.weight.t().contiguous().t())
    model.save_pretrained(tmp_path)
    assert_same(GPT4V.from_pretrained(tmp_path), model)


def test_a_model_may_be_saved_over_another(saved):
    other = small_gpt4v(layers=1)
    other.save_pretrained(saved)
    assert_same(GPT4V.from_pretrained(saved), other)


def rewrite(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


HEAD, NORM = "gpt.head.weight", "gpt.norm.weight"


def spoil(weights: dict, value: float) -> None:
    weights[HEAD][3, 1] = value


BROKEN_WEIGHTS = {
    "missing": (lambda w: w.pop(HEAD), "gpt.head.weight is missing"),
    "left over": (lambda w: w.update(extra=torch.ones(2)), "extra is left over"),
    "another shape": (lambda w: w.update({NORM: torch.ones(17)}), r"gpt.norm.weight is \[17\] instead of \[16\]"),
    "turned": (
        lambda w: w.update({HEAD: w[HEAD].t().contiguous()}),
        r"gpt.head.weight is \[16, (\d+)\] instead of \[\1, 16\]",
    ),
    "a scalar": (lambda w: w.update({NORM: torch.tensor(1.0)}), r"gpt.norm.weight is \[\] instead of \[16\]"),
    "NaN": (lambda w: spoil(w, float("nan")), "gpt.head.weight holds numbers that are not finite"),
    "infinite": (lambda w: spoil(w, float("-inf")), "gpt.head.weight holds numbers that are not finite"),
}


@pytest.mark.parametrize("fault", BROKEN_WEIGHTS)
def test_weights_that_do_not_fit_are_refused_by_name(saved, fault):
    change, sentence = BROKEN_WEIGHTS[fault]
    rewrite(saved, change)
    with pytest.raises(ValueError, match=f"the weights in .*model do not fit its config.json: {sentence}$"):
        GPT4V.from_pretrained(saved)


def test_all_faults_are_counted_and_the_first_are_named(saved):
    number = len(load_file(saved / "model.safetensors"))
    rewrite(saved, lambda weights: (weights.clear(), weights.update(a=torch.ones(1))))
    with pytest.raises(ValueError, match=f"a is left over; .* is missing; and {number + 1 - 8} more$"):
        GPT4V.from_pretrained(saved)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_nothing_is_unpickled(saved, tmp_path):
    trap = Trap(tmp_path / "sprung")
    torch.save({"weights": trap}, saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors cannot be read as safetensors: "):
        GPT4V.from_pretrained(saved)
    (saved / "model.safetensors").write_bytes(pickle.dumps(trap))
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        GPT4V.from_pretrained(saved)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    small_gpt4v(layers=1).save_pretrained(folder)
    return folder


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_still_a_model(whole, tmp_path, data):
    """Cut off anywhere or with any bytes changed: no other exception, and never a weight that is no number."""
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    path = folder / data.draw(st.sampled_from(["model.safetensors", "config.json", "tokenizer.json"]))
    content = bytearray(path.read_bytes())
    head = min(len(content), 4000)  # where the names and shapes are
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
        expect_refusal = True
    else:
        for place in data.draw(st.lists(st.integers(0, head - 1), min_size=1, max_size=3)):
            content[place] = data.draw(st.integers(0, 255))
        expect_refusal = False
    path.write_bytes(content)
    try:
        model = GPT4V.from_pretrained(folder)
    except ValueError:
        return
    assert not expect_refusal or path.suffix == ".json"  # a JSON file may do without its last line end
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_or_foreign_file_is_named(saved, name):
    (saved / name).write_bytes(b"\xff\xfe\x00 not this")
    with pytest.raises(ValueError, match=name):
        GPT4V.from_pretrained(saved)
    (saved / name).unlink()
    with pytest.raises(ValueError, match=name):
        GPT4V.from_pretrained(saved)
    (saved / name).mkdir()
    with pytest.raises(ValueError, match=name):
        GPT4V.from_pretrained(saved)


def test_another_models_tokenizer_is_refused(saved):
    Tokenizer([]).save(saved / "tokenizer.json")
    with pytest.raises(ValueError, match="the tokenizer has 261 tokens but the model is configured for"):
        GPT4V.from_pretrained(saved)


def test_a_tokenizer_without_pictures_is_refused(saved):
    size = json.loads((saved / "config.json").read_text())["text"]["vocabulary_size"]
    merges = TOKENIZER.merges[: size - 257]
    Tokenizer(merges, ["<|end|>"]).save(saved / "tokenizer.json")
    config = json.loads((saved / "config.json").read_text())
    config["text"]["vocabulary_size"] = 257 + len(merges)
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"no special token '<\|image\|>'"):
        GPT4V.from_pretrained(saved)


@pytest.mark.parametrize("name", ["laptob", "", "no/such/folder", "x" * 5000, "a\0b", Path("nowhere")])
def test_an_unknown_model_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"^no model at '.*': give a folder with a config.json that training wrote, or"
    ):
        GPT4V.from_pretrained(name)


def test_a_shipped_model_goes_by_its_name(saved, tmp_path, monkeypatch):
    shipped = tmp_path / "data" / "checkpoints"
    monkeypatch.setattr("minigpt4v.gpt4v.data_folder", lambda: tmp_path / "data")
    assert shipped_checkpoints() == []
    with pytest.raises(ValueError, match="there are none"):
        find_checkpoint("mini")
    shutil.copytree(saved, shipped / "mini")
    (shipped / "unfinished").mkdir()
    monkeypatch.chdir(tmp_path)
    assert shipped_checkpoints() == ["mini"]
    assert find_checkpoint("mini") == shipped / "mini"
    assert_same(GPT4V.from_pretrained("mini"), GPT4V.from_pretrained(saved))
    shutil.copytree(saved, tmp_path / "mini")  # a folder of one's own comes first
    assert find_checkpoint("mini") == Path("mini")
    with pytest.raises(ValueError, match=r"or a shipped model \(mini\)"):
        find_checkpoint("unfinished")


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_model(model, saved, monkeypatch):
    before = contents(saved)
    monkeypatch.setattr("minigpt4v.paths.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        small_gpt4v(layers=1).save_pretrained(saved)
    assert contents(saved) == before
    assert_same(GPT4V.from_pretrained(saved), model)


def test_a_new_folder_becomes_a_model_with_its_last_file(model, tmp_path, monkeypatch):
    """Wherever saving stops, the folder is a whole model or not called one."""
    import minigpt4v.paths

    sync, calls = os.fsync, []

    def full_at_last(descriptor: int) -> None:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            calls.append(descriptor)
        if len(calls) == 3:
            full_disk()
        sync(descriptor)

    monkeypatch.setattr(minigpt4v.paths.os, "fsync", full_at_last)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(tmp_path / "new")
    assert sorted(contents(tmp_path / "new")) == ["model.safetensors", "tokenizer.json"]
    with pytest.raises(ValueError, match="no model at"):
        GPT4V.from_pretrained(tmp_path / "new")


def test_a_file_is_no_folder(model, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(OSError, match="taken"):
        model.save_pretrained(tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_stays_as_it_is(saved):
    before = contents(saved)
    saved.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            small_gpt4v(layers=1).save_pretrained(saved)
        assert contents(saved) == before
    finally:
        saved.chmod(0o755)


# -- talking ----------------------------------------------------------------------------------------------------------


def test_ask_caption_and_chat(model):
    picture = pictures(1)[0]
    answer = model.ask(picture, "what is it")
    assert answer.question == "What is it?"
    assert str(answer) == str(model.chat(picture).ask("What is it?"))
    assert model.caption(picture, "zh").question == "图里有什么？"
    assert model.caption(picture).question == "What is in the picture?"
