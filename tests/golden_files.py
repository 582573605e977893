"""What a later version must still read and make: `python tests/golden_files.py` writes tests/golden anew, on purpose.

Do so only where a change is meant to break saved models, tokenizers, checkpoints or seeds; say it in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from small_models import PICTURE, small_gpt4v

from minigpt4v.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.gpt4v import GPT4V
from minigpt4v.objectives import NextTokenObjective
from minigpt4v.tokenizer import CharTokenizer, load_tokenizer
from minigpt4v.training import TrainingSettings, make_optimizers

FOLDER = Path(__file__).parent / "golden"
MODEL, RUN, LETTERS = FOLDER / "model", FOLDER / "run", FOLDER / "letters.json"
EXPECTED, SCENES = FOLDER / "expected.json", FOLDER / "scenes.png"
TEXTS = ("What is the cat?", "猫有狗", " the dog\n", "🐈 é")
QUESTIONS = ("What is the cat?", "猫?")
_SHOWN = 8  # scenes of each split whose pictures are kept


def picture() -> torch.Tensor:
    """Slopes of red, green and blue, [3, side, side]."""
    slope = torch.linspace(0, 1, PICTURE)
    return torch.stack([slope.expand(PICTURE, -1), slope[:, None].expand(-1, PICTURE), 1 - slope.expand(PICTURE, -1)])


def answers() -> dict[str, str]:
    """What the golden model says."""
    model = GPT4V.from_pretrained(MODEL)
    return {question: str(model.ask(picture(), question)) for question in QUESTIONS}


def token_ids() -> dict[str, dict[str, list[int]]]:
    """The ids of both golden tokenizers for some texts."""
    tokenizers = {"bpe": load_tokenizer(MODEL / "tokenizer.json"), "char": load_tokenizer(LETTERS)}
    texts = {"bpe": TEXTS, "char": ("the cat", "tea")}
    return {kind: {text: tokenizers[kind].encode(text) for text in texts[kind]} for kind in tokenizers}


def _new_training() -> tuple[NextTokenObjective, list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    objective = NextTokenObjective(GPT(GPTConfig(vocabulary_size=11, context_length=8, layers=1, heads=2, width=8)))
    return objective, list(make_optimizers(objective, TrainingSettings(steps=9, warmup_steps=1)))


def _step(objective: NextTokenObjective, optimizers: list[torch.optim.Optimizer], number: int) -> float:
    ids = (torch.arange(18).view(2, 9) * (number + 3)) % 11
    loss, _ = objective({"inputs": ids[:, :-1], "targets": ids[:, 1:]})
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


def losses() -> list[float]:
    """The losses of three steps from the golden checkpoint: weights and moments decide them."""
    objective, optimizers = _new_training()
    (checkpoint,) = checkpoints_in(RUN)
    state = load_checkpoint(checkpoint, objective, optimizers)
    return [_step(objective, optimizers, state["step"] + number) for number in range(3)]


def scene_hashes() -> dict[str, dict[str, str]]:
    """Of each world and split: hashes of the records and of the conversations of scenes from one seed."""
    hashes = {}
    for name, split in (("core16", "train"), ("core64", "seen"), ("core64", "style"), ("all", "concepts")):
        world = load_world(name)
        scenes = scenes_of(world, split, "golden", 40)
        talk = [[[asdict(turn) for turn in c] for c in about] for about in conversations_about(world, scenes, "golden")]
        hashes[f"{name}/{split}"] = {"records": _hash([asdict(scene) for scene in scenes]), "questions": _hash(talk)}
    return hashes


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()[:16]


def drawn_scenes() -> np.ndarray:
    """Some scenes of two splits, side by side, as uint8 [128, 512, 3]."""
    world = load_world("core64")
    rows = [Renderer(world)(scenes_of(world, split, "golden", _SHOWN)) for split in ("seen", "style")]
    rows = [torch.cat(list(row), dim=2) for row in rows]
    return (torch.cat(rows, dim=1).permute(1, 2, 0) * 255).round().byte().numpy()


def measure() -> dict[str, object]:
    return {"answers": answers(), "tokens": token_ids(), "losses": losses(), "scenes": scene_hashes()}


def renew() -> None:
    torch.manual_seed(0)
    small_gpt4v("conv", width=8, context_length=64, layers=1).save_pretrained(MODEL)
    CharTokenizer.train(["the cat ate"]).save(LETTERS)
    objective, optimizers = _new_training()
    for number in range(2):
        _step(objective, optimizers, number)
    save_checkpoint(RUN, 2, objective, optimizers, {"seconds": 0.0})
    Image.fromarray(drawn_scenes()).save(SCENES)
    EXPECTED.write_text(json.dumps(measure(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    renew()
