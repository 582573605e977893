"""The demonstration: `python -m minigpt4v.demo`, or `make demo`.

The shipped model answers about pictures in a drawing style that it never saw, then a small model learns from nothing
before your eyes. Leaves demo.png in the current folder. Everything that is printed is the demonstration: to stdout.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import torch

from minigpt4v.chat import Answer, Chat
from minigpt4v.commands.options import DEFAULT_MODEL, load_model, model_option
from minigpt4v.commands.output import say
from minigpt4v.commands.pictures import png_path, save_figure
from minigpt4v.commands.program import Program
from minigpt4v.commands.run_folder import world_of
from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.phrasings import LANGUAGES
from minigpt4v.datasets.questions import ask, conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import Scene, World, load_world, scenes_of
from minigpt4v.evaluation import Example, Prediction, is_right, make_examples, normalise, predict
from minigpt4v.gpt4v import find_checkpoint
from minigpt4v.plot import Answer as MarkedAnswer
from minigpt4v.plot import Panel, demo_figure
from minigpt4v.presets import PRESETS, PresetRun
from minigpt4v.training import Interrupted

PICTURES = 6
_SEED = "demo"
_FAMILIES = ("where", "how_many", "relation", "colour", "size", "is_there", "how_many_category", "what")
_QUESTIONS = 3  # of each picture, besides the captions
_TINY_SCENES, _SHOWN = 60, 4
_NOTHING = "(nothing)"


def demo_scenes(world: World) -> list[Scene]:
    """Scenes of the held-out style with two to four things: the first ones, whatever the model makes of them."""
    scenes = scenes_of(world, "style", seed=_SEED, count=4 * PICTURES)
    return [scene for scene in scenes if len(scene.objects) > 1][:PICTURES]


def demo_questions(world: World, scene: Scene, number: int) -> list[Turn]:
    """The caption in both languages, then questions of different families, in turn in English and Chinese."""
    rng = random.Random(f"{_SEED}/{number}")
    found = [ask(world, scene, "caption", language, rng) for language in LANGUAGES]
    turn = number * 3  # every picture begins with other families
    for family in (*_FAMILIES[turn % len(_FAMILIES) :], *_FAMILIES[: turn % len(_FAMILIES)]):
        if len(found) < len(LANGUAGES) + _QUESTIONS:
            asked = ask(world, scene, family, LANGUAGES[len(found) % 2], rng)
            found += [asked] if asked else []
    return [turns[0] for turns in found if turns]


@click.command(cls=Program)
@model_option
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=0.75, show_default=True, metavar="M")
@click.option("--out", default="demo.png", show_default=True, metavar="FILE", help="The figure.")
def main(model: str, minutes: float, out: str) -> None:
    """See the trained model answer, then watch a small one learn for a while (--minutes)."""
    _show_model(model, png_path(out))
    _show_learning(minutes)
    _show_next(model)


def _show_model(name: str, out: Path) -> None:
    model = load_model(name)
    world = load_world(world_of(find_checkpoint(name)) or "core64")
    scenes = demo_scenes(world)
    images = Renderer(world)(scenes)
    say(_title(f"1. The model {name!r}: {model.parameter_count() / 1e6:.2f} million numbers, trained from random ones"))
    say("Pictures drawn in a style it never saw (Twemoji). ✓ right, ✗ wrong, with its own confidence.\n")
    panels, right = [], []
    for number, (scene, image) in enumerate(zip(scenes, images, strict=True)):
        say(f"picture {number + 1}")
        chats = [(turn, model.chat(image)) for turn in demo_questions(world, scene, number)]
        answers = [chat.ask(turn.question) for turn, chat in chats]
        marked = [_marked(turn, answer) for (turn, _), answer in zip(chats, answers, strict=True)]
        for each in marked:
            _say_marked(each)
        attention, word = _where_it_looked(chats[0][1], answers[0], world, number)
        panels.append(Panel(image, marked, attention, word))
        right += [bool(each.right) for each in marked]
    say(f"\n{sum(right)} of {len(right)} right.")
    result = f"Twemoji drawings, a style it never saw: {sum(right)} of {len(right)} answers right"
    save_figure(lambda: demo_figure(panels, "A GPT that sees", result), out)
    say(f"With where it looked: {out}\n")


def _marked(turn: Turn, answer: Answer) -> MarkedAnswer:
    right = normalise(answer.text) == normalise(turn.answer)
    return MarkedAnswer(answer.question, answer.text, right, turn.answer, answer.confidence)


def _say_marked(each: MarkedAnswer) -> None:
    sure = f"{each.confidence:.0%} sure" + ("" if each.right else f"; truth: {each.truth}")
    say(f"  {each.question}\n    {'✓' if each.right else '✗'} {each.answer or _NOTHING} ({sure})")


def _where_it_looked(chat: Chat, answer: Answer, world: World, number: int) -> tuple[torch.Tensor | None, str]:
    """The attention over the picture as a name in a caption was written, and that name: the first, then the second...

    None and "" where the caption has no name that is a single token.
    """
    names = {noun.en for noun in world.nouns}
    words = [chat.model.tokenizer.piece(step.token).strip() for step in answer.steps]
    places = [place for place, word in enumerate(words) if word in names]
    if not places:
        return None, ""
    chosen = places[number % len(places)]
    return chat.looked(answer)[chosen], words[chosen]


def _show_learning(minutes: float) -> None:
    say(_title("2. A small model learns, from random numbers"))
    run = PresetRun(replace(PRESETS["tiny"], minutes=minutes))
    scenes = scenes_of(run.world, "seen", seed=_SEED, count=_TINY_SCENES)
    families = tuple(dict.fromkeys(run.preset.families))
    about = conversations_about(run.world, scenes, _SEED, families=families, languages=run.preset.languages)
    examples = make_examples(about)
    images = Renderer(run.world)(scenes)
    say(f"{run.world.trained} things to name, short questions in English, {60 * minutes:.0f} seconds on this machine.")
    before = predict(run.model, images, examples)
    try:
        history = run.train()
    except Interrupted:
        raise click.Abort from None
    after = predict(run.model, images, examples)
    say(f"\n  {'question':<44}{'before':<14}{'after':<22}truth")
    for i in range(_SHOWN):
        say(f"  {examples[i].turn.question:<44}{_short(before[i]):<14}{_short(after[i]):<22}{examples[i].turn.answer}")
    shares = [sum(map(is_right, examples, (p.text for p in said))) / len(examples) for said in (before, after)]
    say(_what_was_learned(shares, _guess_share(examples), len(examples), history))


def _what_was_learned(shares: Sequence[float], guess: float, questions: int, history: Sequence[dict]) -> str:
    learned = (
        f"\n{shares[0]:.0%} right before, {shares[1]:.0%} after, on {questions} questions about fresh pictures; "
        f"the same answer to every question of a kind would get {guess:.0%}.\n"
    )
    if shares[1] >= guess:
        return learned
    steps = f"only {history[-1]['step']}" if history else "hardly any"
    return (
        f"{learned}It had time for {steps} steps: this machine is slow, or busy with something else. "
        "More time: python -m minigpt4v.demo --minutes 3\n"
    )


def _short(prediction: Prediction) -> str:
    return prediction.text[:20] or _NOTHING


def _guess_share(examples: Sequence[Example]) -> float:
    """What one gets right who gives each family its most frequent answer."""
    answers: dict[str | None, Counter[str]] = defaultdict(Counter)
    for example in examples:
        answers[example.turn.family][example.turn.answer] += 1
    return sum(counts.most_common(1)[0][1] for counts in answers.values()) / len(examples)


def _show_next(model: str) -> None:
    program = "minigpt4v" if shutil.which("minigpt4v") else os.path.relpath(Path(sys.executable).with_name("minigpt4v"))
    chosen = "" if model == DEFAULT_MODEL else f" --model {shlex.quote(model)}"
    say(_title("3. Your turn"))
    say(f'  {program} ask YOUR_PICTURE.png "What do you see?"{chosen}      a picture of your own, best with few things')
    say(f'  {program} scene "a cat at the top left, a dog" && {program} chat scene.png{chosen}')
    say(f"  {program} train --preset laptop      a model like that of part 1, trained by you in 10 minutes")
    say("  make lab      the course: every part of it, built by hand")


def _title(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


if __name__ == "__main__":
    main()
