"""What making the data costs: scenes, questions, tokens and pictures, as a share of one training step."""

from __future__ import annotations

import random
from itertools import count

from bench.timing import medians
from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer, draw_noise
from minigpt4v.datasets.scenes import load_world, random_scene, scenes_of
from minigpt4v.datasets.streams import SceneStream
from minigpt4v.objectives import AnswerObjective
from minigpt4v.presets import PRESETS, make_model

_SCENES = 256


def measure(preset_name: str) -> dict[str, float]:
    """Rates per second of each stage, and the share of a training step that the data take."""
    preset = PRESETS[preset_name]
    world = load_world(preset.world)
    model = make_model(preset, world, seed=0)
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    scenes = scenes_of(world, "train", seed=0, count=_SCENES)
    conversations = conversations_about(world, scenes, "bench")
    render, noise = Renderer(world), draw_noise(_SCENES, seed=0)
    stream, objective, steps = SceneStream(world, encoder, preset.batch_size, 0), AnswerObjective(model), count()
    batch = stream.batch(0)

    def learn() -> None:
        objective(batch)[0].backward()

    seconds = medians(
        {
            "scenes": lambda: [random_scene(world, random.Random(i)) for i in range(_SCENES)],
            "conversations": lambda: conversations_about(world, scenes, "bench"),
            "packing": lambda: [encoder.pack(about) for about in conversations],
            "pictures": lambda: render(scenes, noise),
            "batch": lambda: stream.batch(next(steps)),
            "forward and backward": learn,
        },
        rounds=3,
    )
    made = {name: _SCENES / seconds[name] for name in ("scenes", "pictures")}
    turns = sum(len(turns) for about in conversations for turns in about)
    share = seconds["batch"] / (seconds["batch"] + seconds["forward and backward"])
    return {
        "scenes per second": round(made["scenes"]),
        "questions per second": round(turns / seconds["conversations"]),
        "packed pictures per second": round(_SCENES / seconds["packing"]),
        "drawn pictures per second": round(made["pictures"]),
        "share of a training step": round(share, 3),
    }
