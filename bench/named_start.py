"""Does a GPT learn to see sooner if its encoder can already name things? `python -m bench.named_start`, for chapter 10.

The `tiny` model learns to answer "what is at ...?" in English, four such questions a picture. It starts from random
weights, from an encoder that has learned names, or from that encoder with word embeddings that start from the vectors
of the names. Same seeds, same pictures, same questions in the same order.
"""

from __future__ import annotations

import copy
import json

import torch

from bench import RESULTS_FOLDER
from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import World, load_world, scenes_of
from minigpt4v.datasets.streams import NamingStream, SceneStream, scene_batch
from minigpt4v.gpt4v import GPT4V
from minigpt4v.naming import NamingObjective, align_names
from minigpt4v.objectives import AnswerObjective
from minigpt4v.paths import write_atomically
from minigpt4v.presets import PRESETS, held_out_accuracy, make_model
from minigpt4v.training import Trainer, TrainingSettings

RESULTS = RESULTS_FOLDER / "named_start.json"
NAMING_STEPS, STEPS, EVERY, SEEDS = 150, 120, 40, (0, 1, 2)
FAMILIES, LANGUAGES = ("what",), ("en",)


def learn_names(model: GPT4V, world: World, seed: int) -> NamingObjective:
    """The first stage, in place."""
    objective = NamingObjective(model.encoder, world.trained, PRESETS["tiny"].width)
    settings = TrainingSettings(steps=NAMING_STEPS, seed=seed, encoder_rate=1.0, warmup_steps=30, decay_share=1.0)
    Trainer(objective, NamingStream(world, PRESETS["tiny"].naming_batch_size, seed), settings).run()
    return objective


def learn_to_answer(model: GPT4V, world: World, seed: int) -> list[float]:
    """The second stage, in place; returns the held-out accuracy every few steps."""
    encoder, objective = ConversationEncoder(model.tokenizer, model.tokens_per_image), AnswerObjective(model)
    scenes = scenes_of(world, "seen", seed="named start", count=200)
    about = conversations_about(world, scenes, "named start", families=FAMILIES, languages=LANGUAGES)
    held_out = scene_batch(scenes, about, encoder, Renderer(world))
    turns = [turn for conversations in about for turns in conversations for turn in turns]
    stream = SceneStream(world, encoder, 16, seed, families=FAMILIES * 4, languages=LANGUAGES)
    history = Trainer(
        objective,
        stream,
        TrainingSettings(steps=STEPS, seed=seed, warmup_steps=10, evaluate_every=EVERY),
        evaluate=lambda: held_out_accuracy(objective, held_out, turns),
    ).run()
    return [entry["held_out_accuracy"] for entry in history if "held_out_accuracy" in entry]


def main() -> None:
    """Measure, and write the file of results after every seed."""
    torch.set_num_threads(1)
    world = load_world("core16")
    curves: dict[str, list[list[float]]] = {"random weights": [], "named encoder": [], "names aligned too": []}
    for seed in SEEDS:
        fresh = make_model(PRESETS["tiny"], world, seed)
        named = copy.deepcopy(fresh)
        classifier = learn_names(named, world, seed).classifier
        aligned = copy.deepcopy(named)
        align_names(aligned, classifier, world.nouns[: world.trained])
        for name, model in zip(curves, (fresh, named, aligned), strict=True):
            curves[name].append(learn_to_answer(model, world, seed))
            print(seed, name, curves[name][-1], flush=True)
        results = {
            "about": f"core16, tiny model, {NAMING_STEPS} steps of naming, then {STEPS} of questions; accuracy on 200"
            f" fresh scenes of the training styles; seeds {list(SEEDS)}, one CPU thread; see bench/named_start.py",
            "steps": list(range(EVERY, STEPS + 1, EVERY)),
            "accuracy": curves,
        }
        write_atomically(RESULTS, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
