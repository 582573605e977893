"""presets.py: every size can be made, a run is the same every time, goes on where it stopped, and learns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import close

from minigpt4v import presets
from minigpt4v.checkpoint import checkpoints_in
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import FAMILIES
from minigpt4v.datasets.scenes import load_world
from minigpt4v.datasets.streams import ComparingStream, FirstWordsStream, NamingStream, PointingStream, SceneStream
from minigpt4v.evaluation import MAX_ANSWER_TOKENS
from minigpt4v.gpt4v import GPT4V
from minigpt4v.presets import CONTEXT_LENGTH, PRESETS, PresetRun, find_preset, held_out_accuracy, make_model
from minigpt4v.training import Trainer

SMALL = replace(
    PRESETS["tiny"], batch_size=4, naming_batch_size=8, pointing_steps=5, first_words_steps=6, comparing_steps=7
)
SHORT = {"steps": 12, "minutes": None, "warmup_steps": 4, "log_every": 4, "evaluate_every": 6, "checkpoint_every": 6}


class Crash(Exception):
    pass


def timeless(history: list[dict]) -> list[dict]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]


def same(first: GPT4V, second: GPT4V) -> bool:
    mine, other = first.state_dict(), second.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_presets_are_found_by_name():
    assert find_preset("laptop") is PRESETS["laptop"]
    with pytest.raises(ValueError, match="unknown preset 'desktop': choose one of tiny, laptop, gpu"):
        find_preset("desktop")


@pytest.fixture(scope="module", params=PRESETS)
def made(request) -> tuple:
    preset = PRESETS[request.param]
    world = load_world(preset.world)
    return preset, world, make_model(preset, world, seed=0)


def test_every_preset_makes_a_model_of_its_size(made):
    preset, _, model = made
    text, vision = model.config.text, model.config.vision
    assert (text.width, text.layers, text.heads) == (preset.width, preset.layers, preset.heads)
    assert (vision.width, vision.channels, vision.image_size) == (preset.width, preset.channels, 64)
    assert text.vocabulary_size == model.tokenizer.vocabulary_size
    assert model.tokens_per_image == 16


def test_every_name_of_one_word_is_one_token(made):
    """So that words and pictures begin aligned."""
    _, world, model = made
    written = [text for noun in world.nouns[: world.trained] for text in (f" {noun.en}", noun.zh)]
    words = [text for text in written if " " not in text.strip()]
    assert len(words) > 0.8 * len(written)  # the others are like "hot dog"
    assert [text for text in words if len(model.tokenizer.encode(text)) > 1] == []


def test_every_conversation_fits_into_the_context(made):
    preset, world, model = made
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    stream = SceneStream(world, encoder, 60, 0, families=FAMILIES, languages=preset.languages)
    batch = stream.batch(0)
    assert int(batch["positions"].max()) + MAX_ANSWER_TOKENS < CONTEXT_LENGTH
    assert set(preset.families) <= set(FAMILIES)
    assert preset.conversations is None or 0 < preset.conversations <= len(preset.families)


def test_the_shipped_size_is_small():
    world = load_world("core64")
    model = make_model(PRESETS["laptop"], world, 0)
    assert 4 * model.parameter_count() < 10e6


def test_a_seed_fixes_the_weights():
    world = load_world("core16")
    first = make_model(SMALL, world, 0)
    torch.rand(5)
    assert same(first, make_model(SMALL, world, 0))
    assert not same(first, make_model(SMALL, world, 1))


# -- runs -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> PresetRun:
    """A short run of all stages, from its beginning to its end."""
    run = PresetRun(SMALL, folder=tmp_path_factory.mktemp("whole"), settings=SHORT)
    run.history = run.train()
    return run


def test_a_run_has_a_history(whole):
    assert [entry["step"] for entry in whole.history] == [4, 6, 8, 12, 12]
    assert [entry["step"] for entry in whole.history if "held_out_accuracy" in entry] == [6, 12]
    lines = (whole.folder / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == whole.history


def test_a_run_learns(whole):
    losses = [entry["loss"] for entry in whole.history if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    assert not whole.model.training


def test_a_runs_folder_is_a_model(whole):
    loaded = GPT4V.from_pretrained(whole.folder)
    assert same(loaded, whole.model)
    picture = torch.rand(3, 64, 64)
    assert str(loaded.ask(picture, "what is it")) == str(whole.model.ask(picture, "what is it"))


def test_a_run_is_the_same_every_time(whole):
    torch.rand(7)
    again = PresetRun(SMALL, settings=SHORT)
    history = again.train()
    assert timeless(history) == timeless(whole.history)
    assert same(again.model, whole.model)


def test_another_seed_is_another_run(whole):
    other = PresetRun(SMALL, seed=1, settings=SHORT | {"steps": 4})
    assert other.train()[0]["loss"] != whole.history[0]["loss"]
    assert not same(other.model, whole.model)


def crash(monkeypatch, stream: type, step: int, folder: Path) -> None:
    """A short run that breaks in a step of one of its stages."""
    real = stream.batch

    def batch(self, number: int, part: int = 0, parts: int = 1) -> dict:
        if number == step and type(self) is stream:
            raise Crash
        return real(self, number, part, parts)

    run = PresetRun(SMALL, folder=folder, settings=SHORT)
    with monkeypatch.context() as broken:
        broken.setattr(stream, "batch", batch)
        with pytest.raises(Crash):
            run.train()


def test_a_run_goes_on_where_it_stopped(whole, tmp_path, monkeypatch):
    crash(monkeypatch, SceneStream, 9, tmp_path)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-00000006"]
    assert GPT4V.from_pretrained(tmp_path)

    resumed = PresetRun(SMALL, folder=tmp_path, settings=SHORT)
    for stage in ("learn_names", "learn_to_point", "learn_first_words", "learn_to_compare"):
        monkeypatch.setattr(resumed, stage, lambda: pytest.fail("that is learned"))
    history = resumed.train(resume=True)
    assert timeless(history) == timeless(whole.history)
    assert same(resumed.model, whole.model)
    assert same(GPT4V.from_pretrained(tmp_path), whole.model)


def test_a_run_that_goes_on_keeps_its_tokenizer(whole, tmp_path, monkeypatch):
    """Whatever tokenizer the library would train by then."""
    crash(monkeypatch, SceneStream, 9, tmp_path)
    monkeypatch.setattr(presets, "vocabulary_texts", lambda nouns: ["another", "vocabulary"] * 4)
    resumed = PresetRun(SMALL, folder=tmp_path, settings=SHORT)
    assert resumed.model.tokenizer.vocabulary_size < whole.model.tokenizer.vocabulary_size
    assert timeless(resumed.train(resume=True)) == timeless(whole.history)
    assert same(resumed.model, whole.model)


EARLY_STREAMS = (NamingStream, PointingStream, FirstWordsStream, ComparingStream)


def watch_steps(monkeypatch) -> list[tuple[type, int]]:
    """Every batch that is asked for from now on: the kind of the stream, and the step."""
    seen = []
    for kind in (*EARLY_STREAMS, SceneStream):

        def batch(self, number, part=0, parts=1, real=kind.batch):
            seen.append((type(self), number))
            return real(self, number, part, parts)

        monkeypatch.setattr(kind, "batch", batch)
    return seen


@pytest.mark.parametrize("stream", EARLY_STREAMS)
@pytest.mark.parametrize("step", [2, 9])
def test_a_run_goes_on_in_the_stage_where_it_stopped(whole, tmp_path, monkeypatch, stream, step):
    """From its checkpoint, or after the stages that were over; and ends exactly where an unbroken run does."""
    crash(monkeypatch, stream, step, tmp_path)
    with monkeypatch.context() as other_words:
        if stream is not NamingStream or step == 9:  # something was saved, and the tokenizer with it
            other_words.setattr(presets, "vocabulary_texts", lambda nouns: ["another", "vocabulary"] * 4)
        resumed = PresetRun(SMALL, folder=tmp_path, settings=SHORT)
    steps = watch_steps(monkeypatch)
    assert timeless(resumed.train(resume=True)) == timeless(whole.history)
    first = EARLY_STREAMS.index(stream)
    expected = [(stream, number) for number in range(6 if step == 9 else 0, 12)]
    expected += [(kind, number) for kind in (*EARLY_STREAMS, SceneStream)[first + 1 :] for number in range(12)]
    assert steps == expected
    assert same(resumed.model, whole.model)
    assert resumed.histories.keys() == whole.histories.keys()


def test_checkpoints_of_early_stages_stay_until_the_last_has_one(whole, tmp_path, monkeypatch):
    """Their histories stay for good."""
    crash(monkeypatch, SceneStream, 5, tmp_path)
    titles = [kind.name for kind in EARLY_STREAMS]
    assert sorted(path.name for path in (tmp_path / "stages").iterdir()) == sorted(titles)
    for title in titles:
        assert [path.name for path in checkpoints_in(tmp_path / "stages" / title)] == ["step-00000012"]
        assert [path.name for path in (whole.folder / "stages" / title).iterdir()] == ["history.jsonl"]


def watch_stages(monkeypatch, seconds: float = 0.0) -> list[tuple[Trainer, float, bool]]:
    """The trainers of a run in the order in which they ran, their clocks as they began, and whether names were aligned.

    Nothing is trained; each stage says that it took so many seconds.
    """
    seen: list[tuple[Trainer, float, bool]] = []
    aligned = []

    def run(self: Trainer) -> list:
        seen.append((self, self.seconds, bool(aligned)))
        return [{"step": 1, "seconds": seconds}]

    real = presets.align_names
    monkeypatch.setattr(Trainer, "run", run)
    monkeypatch.setattr(presets, "align_names", lambda *given: aligned.append(real(*given)))
    return seen


def test_the_stages_follow_each_other_on_one_clock(monkeypatch):
    """Names at the encoder's full rate, then they are aligned; pointing; words; sentences for what is left."""
    seen = watch_stages(monkeypatch, seconds=30.0)
    PresetRun(replace(SMALL, minutes=8, naming_share=0.25), seed=5).train()
    trainers = [trainer for trainer, *_ in seen]
    assert [trainer.title for trainer in trainers] == ["naming", "pointing", "first words", "comparing", "sentences"]
    assert [type(trainer.stream) for trainer in trainers] == [
        NamingStream,
        PointingStream,
        FirstWordsStream,
        ComparingStream,
        SceneStream,
    ]
    settings = [trainer.settings for trainer in trainers]
    assert [each.minutes for each in settings] == [2, 1.6, 1.6, 1.6, 8]
    assert [each.steps for each in settings] == [None, 5, 6, 7, None]
    assert [each.encoder_rate for each in settings] == [1.0, 0.01, 0.3, 0.3, 0.3]
    assert [each.enough for each in settings] == [None, 0.97, 0.85, None, None]
    assert {each.seed for each in settings} == {5}
    assert [began for _, began, _ in seen] == [0, 0, 0, 0, 120]
    assert [aligned for *_, aligned in seen] == [False, True, True, True, True]
    assert [trainer.stream.batch_size for trainer in trainers] == [8, 6, 4, 4, 4]


def test_names_start_from_the_classifier(monkeypatch):
    watch_stages(monkeypatch)
    run = PresetRun(SMALL)
    run.learn_names()
    embedding = run.model.gpt.token_embedding.weight
    (token,) = run.model.tokenizer.encode(f" {run.world.nouns[3].en}")
    close(embedding[token].square().mean(), torch.tensor(1.0), 1e-4)  # unit size: it came from the classifier


def test_early_stages_can_be_left_out(monkeypatch):
    seen = watch_stages(monkeypatch)
    PresetRun(replace(SMALL, pointing_steps=0, first_words_steps=0, comparing_steps=0)).train()
    assert [trainer.title for trainer, *_ in seen] == ["naming", "sentences"]


def test_attention_starts_louder(monkeypatch):
    """As loud whatever the seed of the moment, and without a touch to what the encoder sees."""
    watch_stages(monkeypatch)
    run, again = PresetRun(SMALL), PresetRun(SMALL)
    run.model.eval()
    picture, positions = torch.rand(1, 3, 64, 64), run.model.encoder.positions.table.clone()
    before = run.model.encoder.features(picture)
    run.learn_to_point()
    torch.rand(3)
    again.learn_to_point()
    assert same(run.model, again.model)
    for block in run.model.gpt.blocks:
        for layer in (block.attention.query, block.attention.key, block.attention.value, block.feed_forward.hidden):
            assert 0.09 < layer.weight.std() < 0.11
        assert not block.attention.output.weight.any()
    close(run.model.encoder.positions.table, 2 * positions, 0)
    close(run.model.encoder.features(picture), before, 0)


def test_settings_change_all_stages(monkeypatch):
    seen = watch_stages(monkeypatch)
    PresetRun(SMALL, settings={"steps": 3, "minutes": None, "learning_rate": 0.5}).train()
    found = [(each.settings.steps, each.settings.minutes, each.settings.learning_rate) for each, *_ in seen]
    assert found == [(3, None, 0.5)] * 5


def test_a_world_may_be_given(monkeypatch):
    """To choose settings with another style held out."""
    world = load_world("core16", "blob")
    assert PresetRun(SMALL, world=world).world is world
    assert PresetRun(SMALL).world.held_out_style == "twemoji"


def test_no_training_picture_shows_the_held_out_style(whole, monkeypatch):
    shown = set()
    real = presets.scene_batch

    def spy(scenes, *arguments):
        shown.update(thing.style for scene in scenes for thing in scene.objects)
        return real(scenes, *arguments)

    monkeypatch.setattr(presets, "scene_batch", spy)
    whole._sentences_trainer()
    assert shown == set(whole.world.styles)


def test_held_out_accuracy_is_a_share_of_all_and_of_each_family():
    class Objective:
        def right_answers(self, batch: dict) -> torch.Tensor:
            return torch.tensor(batch["right"])

    turns = [Turn("?", "!", family) for family in ("what", "where", "what", None, "what")]
    found = held_out_accuracy(Objective(), {"right": [True, False, False, True, True]}, turns)
    assert found == {"held_out_accuracy": 0.6, "families": {"what": 0.6667, "where": 0.0, "other": 1.0}}
    with pytest.raises(ValueError, match="zip"):
        held_out_accuracy(Objective(), {"right": [True]}, turns)


def test_the_held_out_questions_are_those_of_the_batch(whole, monkeypatch):
    """Each answer is counted for the family of its own question."""
    batches = []
    real = presets.held_out_accuracy

    def spy(objective, batch, turns):
        batches.append((batch, turns))
        return real(objective, batch, turns)

    monkeypatch.setattr(presets, "held_out_accuracy", spy)
    found = whole._sentences_trainer().evaluate()
    ((batch, turns),) = batches
    tokenizer = whole.model.tokenizer
    spans, labels = [], batch["labels"]
    for row in labels.tolist():
        span: list[int] = []
        for label in [*row, -100]:
            if label != -100:
                span.append(label)
            elif span:
                spans.append(tokenizer.decode(span))
                span = []
    assert spans == [turn.answer for turn in turns]
    assert set(found["families"]) == set(SMALL.families)
    assert len(turns) == batch["count"]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PresetRun(SMALL, settings=SHORT | {"steps": 1}).train()
    assert list(tmp_path.iterdir()) == []


def test_questions_stand_in_short_rows():
    run = PresetRun(SMALL, settings={"steps": 1, "minutes": None})
    batch = run._sentences_trainer().stream.batch(0)
    assert "picture" in batch
    assert batch["ids"].shape[1] <= 48


@pytest.mark.parametrize(("able", "precision"), [(True, "bf16"), (False, "no")])
def test_bfloat16_is_left_off_where_it_would_be_slow(monkeypatch, able, precision):
    monkeypatch.setattr(presets, "has_fast_bfloat16", lambda device: able)
    run = PresetRun(replace(SMALL, precision="bf16"), settings={"steps": 1, "minutes": None})
    assert run._settings(steps=1).precision == precision


@pytest.mark.parametrize("pointing_steps", [0, 5])
def test_every_token_learns_to_name_only_where_words_will_point_at_it(pointing_steps):
    run = PresetRun(replace(SMALL, pointing_steps=pointing_steps), settings=SHORT)
    assert run._naming_trainer().objective.every_token == (pointing_steps > 0)
