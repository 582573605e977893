"""The auditor: finds nothing wrong with thousands of conversations, and something wrong with every broken one."""

import ast
import random
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from scene_samples import WORLDS, asked, index, thing, world_called

from minigpt4v.datasets import auditor, looking, reading
from minigpt4v.datasets.auditor import audit
from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.looking import audit_scene, fits, look
from minigpt4v.datasets.phrasings import FAMILIES, FOLLOW_UPS, LANGUAGES, QUESTIONS
from minigpt4v.datasets.reading import Reader, Reading, article
from minigpt4v.datasets.scenes import SPLITS, Scene, SceneObject, load_world

WORLD = load_world("core64")
COUNTS = {"core16": 100, "core64": 300, "all": 200, "shapes": 150}


# -- everything that is asked is right --------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", WORLDS)
def test_no_fault_is_found_in_what_the_library_asks(name, split):
    world, conversations = world_called(name), asked(name, split, COUNTS[name])
    assert len(conversations) > 3 * COUNTS[name]
    faults = [fault for scene, conversation in conversations for fault in audit(world, scene, conversation)]
    assert faults == []


@pytest.mark.parametrize("module", [auditor, looking, reading])
def test_the_auditor_shares_no_code_with_what_it_audits(module):
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.rsplit(".", 1)[-1] for name in imported} & {"questions", "phrasings", "colours", "names"}


# -- every change is noticed ------------------------------------------------------------------------------------------


def about(family: str, language: str, count: int = 300) -> list:
    """(scene, conversation) whose last turn is of that family."""
    every = asked("core64", "train", count)
    return [(s, c) for s, c in every if (c[-1].family, c[-1].language) == (family, language)]


def changed(conversation, **changes) -> tuple[Turn, ...]:
    return (*conversation[:-1], replace(conversation[-1], **changes))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_any_other_answer_of_the_family_is_a_fault(family, language):
    conversations = about(family, language)
    answers = sorted({c[-1].answer for _, c in conversations})
    assert len(conversations) > 30
    for scene, conversation in conversations[:60]:
        for answer in random.sample(answers, min(6, len(answers))):
            faults = audit(WORLD, scene, changed(conversation, answer=answer))
            assert bool(faults) == (answer != conversation[-1].answer)
            assert all(repr(conversation[-1].answer) in fault for fault in faults)  # it says what is right


SWAPS = {
    "direction": [("to the left of", "to the right of"), ("above", "below"), ("左边", "右边"), ("上面", "下面")],
    "size": [("biggest", "smallest"), ("最大", "最小")],
    "place": [("top left", "bottom left"), ("top right", "bottom right"), ("左上角", "右上角"), ("左下角", "右下角")],
    "number": [("are two things", "are three things"), ("两个东西", "三个东西")],
}


def swapped(text: str, pairs) -> str:
    """The text with each word of a pair in place of the other."""
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    return re.sub("|".join(sorted(other, key=len, reverse=True)), lambda m: other[m[0]], text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("family", "word"),
    [
        ("relation", "direction"),
        ("dialogue", "direction"),
        ("true_or_false", "direction"),
        ("size", "size"),
        ("what", "place"),
        ("where", "place"),
        ("caption", "place"),
        ("true_or_false", "number"),
    ],
)
def test_a_swapped_word_is_a_fault(family, word, language):
    tried = 0
    for scene, conversation in about(family, language):
        last = conversation[-1]
        for part in ("question", "answer"):
            text = swapped(getattr(last, part), SWAPS[word])
            claim_is_still_false = last.answer in ("False.", "错。") and word == "number"
            still_nothing = last.answer in ("Nothing.", "什么都没有。")
            if text != getattr(last, part) and not claim_is_still_false and not still_nothing:
                assert audit(WORLD, scene, changed(conversation, **{part: text})), (last, text)
                tried += 1
    assert tried > 5


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", ["where", "is_there", "relation", "true_or_false", "what", "size"])
def test_another_name_is_a_fault(family, language):
    """Another thing of the scene is asked about, or named; where things are said to be there, one that is not."""
    names = [getattr(noun, language) for noun in WORLD.nouns[:64]]
    articles = {getattr(noun, language): noun.article for noun in WORLD.nouns}
    part = "answer" if family in ("what", "size") else "question"
    tried = 0
    for scene, conversation in about(family, language):
        last, text = conversation[-1], getattr(conversation[-1], part)
        shown = [getattr(WORLD.nouns[t.noun], language) for t in scene.objects]
        inside = [name for name in shown if name in text]
        others = [name for name in shown if name not in text]
        if family in ("is_there", "true_or_false"):
            others = [name for name in names if name not in shown]
        others = [name for name in others if inside and articles[name] == articles[inside[0]]]
        right_of_both = last.answer in ("No.", "没有。", "False.", "错。", "Nothing.", "什么都没有。")
        if len(inside) == 1 and others and not right_of_both:
            other = text.replace(inside[0], others[0])
            assert audit(WORLD, scene, changed(conversation, **{part: other})), (last, other)
            tried += 1
    assert tried > 5


def slips(text: str, language: str) -> list[str]:
    """The text with one slip of the pen each."""
    if language == "zh":
        marks = str.maketrans("？。，：", "?.,:")
        made = [text[:-1], text[:-1] + "！", text.translate(marks), " " + text, text + text[-1]]
        return [*made, text.replace("一只", "一个"), text.replace("一个", "一只"), text.replace("东西", "物")]
    made = [text[0].lower() + text[1:], text[:-1], text[:-1] + "!", text + " ", text.replace(" ", "  ", 1)]
    made += [text.replace(" an ", " a "), text.replace("An ", "A "), re.sub(r"\ba (?=[^aeiou])", "an ", text)]
    return [*made, text.replace(" are ", " is "), text.replace(" and ", ", "), text.replace("colour", "color")]


@pytest.mark.parametrize("part", ["question", "answer"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_slip_of_the_pen_is_a_fault(family, language, part):
    for scene, conversation in about(family, language)[:25]:
        text = getattr(conversation[-1], part)
        for slip in slips(text, language):
            if slip != text:
                assert audit(WORLD, scene, changed(conversation, **{part: slip})), slip


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_phrasing_that_the_auditor_does_not_know_is_a_fault(kind, language):
    """Whoever adds a phrasing must teach it to the auditor."""
    for scene, conversation in about(kind.removesuffix("_single"), language)[:10]:
        question = conversation[-1].question
        new = "Please: " + question if language == "en" else "麻烦你，" + question
        assert "the question cannot be read" in audit(WORLD, scene, changed(conversation, question=new))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_family_or_language_is_a_fault(family):
    scene, conversation = about(family, "en")[0]
    other = "colour" if family != "colour" else "what"
    assert f"the family should be {family!r}" in audit(WORLD, scene, changed(conversation, family=other))[0]
    assert "the question cannot be read" in audit(WORLD, scene, changed(conversation, language="zh"))[0]


def test_an_answer_to_another_scene_is_mostly_a_fault():
    conversations = asked("core64", "train", 300)
    caught = [
        bool(audit(WORLD, scene, conversation))
        for (scene, _), (_, conversation) in zip(conversations, conversations[600:], strict=False)
    ]
    assert sum(caught) / len(caught) > 0.8


# -- scenes that are unfit --------------------------------------------------------------------------------------------

CAT = thing(WORLD, "cat", 4, 4, 24)
DOG = thing(WORLD, "dog", 36, 4, 24)
COW = thing(WORLD, "cow", 4, 36, 24)
ALL = load_world("all")


@pytest.mark.parametrize(
    ("things", "ground", "fault"),
    [
        ((replace(CAT, x=20),), "white", "the cat is in no clear place"),
        ((replace(CAT, x=40), DOG), "white", "the cat and the dog hide each other"),
        ((CAT, replace(CAT, x=40)), "white", "one name fits both the cat and the cat"),
        ((replace(CAT, colour="blue"),), "white", "the record calls the cat blue, but its pixels look yellow"),
        ((thing(WORLD, "elephant", 4, 4, 24, style="twemoji"),), "grey", "the elephant can hardly be seen on a grey"),
    ],
)
def test_an_unfit_scene_is_a_fault(things, ground, fault):
    assert fault in audit_scene(WORLD, Scene(ground, things))[0]
    assert fault in audit(WORLD, Scene(ground, things), (Turn("What?", "That.", "what", "en"),))[0]


@pytest.mark.parametrize(
    ("name", "other"), [("bird", "owl"), ("tree", "pine tree"), ("shoe", "boot"), ("cat", "tiger")]
)
def test_a_name_that_fits_two_things_makes_a_scene_unfit(name, other):
    scene = Scene("white", (thing(ALL, name, 4, 4, 24), thing(ALL, other, 36, 4, 24)))
    assert [f for f in audit_scene(ALL, scene) if f"one name fits both the {name} and the {other}" in f]
    only = Scene("white", scene.objects[1:])
    asked_for = (Turn(f"Is there a {name}?", "No.", "is_there", "en"),)
    assert f"{name!r} could be said of another thing" in audit(ALL, only, asked_for)[0]


def test_keywords_that_only_come_to_mind_do_not_count():
    nouns = {noun.en: noun for noun in ALL.nouns}
    assert not fits(nouns["sun"], nouns["sunflower"])
    assert not fits(nouns["banana"], nouns["monkey"])  # of another category
    assert not fits(nouns["owl"], nouns["owl"])
    assert fits(nouns["plate"], nouns["plate of sushi"])


def test_looking_measures_colour_and_contrast():
    assert look(WORLD, "blob", index(WORLD, "apple"))[0] == "red"
    assert look(WORLD, "noto", index(WORLD, "tree"))[0] == "green"
    assert "white" in look(WORLD, "noto", index(WORLD, "tree"))[1]
    assert "yellow" not in look(WORLD, "twemoji", index(WORLD, "moon"))[1]


# -- questions that have no single answer -----------------------------------------------------------------------------


def one(question: str, answer: str, family: str, language: str = "en") -> Turn:
    return Turn(question, answer, family, language)


CLOSE_UP = thing(WORLD, "cat", 4, 4, 56)
FAR = replace(DOG, x=36, y=36)
OCTOPUS = thing(WORLD, "octopus", 4, 4, 24)


@pytest.mark.parametrize(
    ("things", "turn", "fault"),
    [
        ((CAT, FAR), one("What is to the left of the dog?", "Nothing.", "relation"), "only diagonally"),
        ((CAT, FAR), one("True or false: the cat is above the dog.", "True.", "true_or_false"), "not in line"),
        ((CAT, CAT), one("Where is the cat?", "At the top left.", "where"), "several things called 'cat'"),
        ((CAT,), one("Where is the dog?", "At the top left.", "where"), "a thing that is not there"),
        ((CLOSE_UP,), one("What is at the top left?", "A cat.", "what"), "not clear what is top left"),
        ((CAT, replace(DOG, x=0, y=0, size=18)), one("What is at the top left?", "A cat.", "what"), "not clear what"),
        ((CAT, DOG), one("What is this?", "A cat.", "what"), "not just one thing"),
        ((CAT, DOG), one("What is the biggest thing?", "The cat.", "size"), "no thing is clearly the biggest"),
        ((CAT,), one("What is the smallest thing?", "The cat.", "size"), "no thing is clearly the smallest"),
        ((replace(CAT, colour=None),), one("What colour is the cat?", "Yellow.", "colour"), "no clear colour"),
        ((CAT,), one("What is at the top right? ", "Nothing.", "what"), "cannot be read"),
        ((CAT,), one("What kind of thing is at the top right?", "Food.", "category"), "not there"),
        ((CAT,), one("Where is it?", "At the top left.", "where"), '"it" could be nothing'),
        (
            (replace(CAT, x=20),),
            one("Where is the cat?", "At the top left.", "where"),
            ": the cat is in no clear place",
        ),
        ((), one("What is in the picture?", "Nothing.", "caption"), "nothing to describe"),
        ((OCTOPUS,), one("What is at the top left?", "An octopus.", "what"), "octopus is a held-out concept"),
        ((OCTOPUS,), one("Where is the octopus?", "At the top left.", "where"), "cannot be read"),
        (
            (CAT, DOG),
            one("Are the things at the top left and at the top left of the same kind?", "Yes.", "same_category"),
            "compared with itself",
        ),
        (
            (
                thing(WORLD, "cow", 25, 25, 14),
                thing(WORLD, "cat", 0, 10, 20),
                thing(WORLD, "dog", 0, 34, 20),
            ),
            one("What is to the left of the cow?", "A cat.", "relation"),
            "two things are equally near",
        ),
    ],
)
def test_a_question_without_a_single_answer_is_a_fault(things, turn, fault):
    assert any(fault in found for found in audit(WORLD, Scene("white", things), (turn,)))


def test_shapes_are_of_no_kind():
    shapes = world_called("shapes")
    scene = Scene("white", (thing(shapes, "circle", 4, 4, 24, style="red"),))
    turn = one("What kind of thing is at the top left?", "An everyday object.", "category")
    assert "no word for the kind 'shape'" in audit(shapes, scene, (turn,))[0]


def test_no_conversation_is_a_fault():
    assert audit(WORLD, Scene("white", (CAT,)), ()) == ["the conversation is empty"]


def test_the_nearer_of_two_things_is_beside():
    scene = Scene(
        "white", (thing(WORLD, "cat", 0, 4, 18), thing(WORLD, "dog", 20, 4, 18), thing(WORLD, "cow", 40, 4, 18))
    )
    turn = one("What is to the right of the cat?", "A dog.", "relation")
    assert not any("answer" in f for f in audit(WORLD, scene, (turn,)))
    assert any("'A dog.'" in f for f in audit(WORLD, scene, (replace(turn, answer="A cow."),)))


# -- dialogues --------------------------------------------------------------------------------------------------------


def dialogue(first: Turn, *follow_ups: tuple[str, str]) -> tuple[Turn, ...]:
    return (first, *(Turn(question, answer, "dialogue", first.language) for question, answer in follow_ups))


SCENE = Scene("white", (CAT, DOG, thing(WORLD, "apple", 1, 33, 30, style="blob")))
OPENINGS = {
    "a place": one("What is at the bottom left?", "An apple.", "what"),
    "a name": one("Where is the apple?", "At the bottom left.", "where"),
    "a size": one("What is the biggest thing?", "The apple.", "size"),
    "a presence": one("Is there an apple?", "Yes.", "is_there"),
    "a colour": one("What colour is the apple?", "Red.", "colour"),
    "Chinese": one("苹果在哪里？", "在左下角。", "where", "zh"),
}


@pytest.mark.parametrize("opening", OPENINGS)
def test_it_is_what_the_opening_was_about(opening):
    first = OPENINGS[opening]
    right, wrong = (
        (("它是什么颜色？", "红色。"), "黄色。")
        if first.language == "zh"
        else (("What colour is it?", "Red."), "Yellow.")
    )
    assert audit(WORLD, SCENE, dialogue(first, right)) == []
    assert audit(WORLD, SCENE, dialogue(first, (right[0], wrong)))


def test_it_may_mean_one_thing_or_the_other_once_another_is_named():
    above, colour = ("What is above it?", "A cat."), ("What colour is it?", "Red.")
    assert audit(WORLD, SCENE, dialogue(OPENINGS["a place"], colour, above)) == []
    assert '"it" could be' in audit(WORLD, SCENE, dialogue(OPENINGS["a place"], above, colour))[0]
    nothing = ("What is below it?", "Nothing.")
    assert audit(WORLD, SCENE, dialogue(OPENINGS["a place"], nothing, colour)) == []


@pytest.mark.parametrize(
    "first", [one("What is at the bottom right?", "Nothing.", "what"), one("Is there a bus?", "No.", "is_there")]
)
def test_it_is_nothing_after_nothing(first):
    assert '"it" could be nothing' in audit(WORLD, SCENE, dialogue(first, ("Where is it?", "At the top left.")))[0]


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "expected"), [("apple", "an"), ("cat", "a"), ("unicorn", "a"), ("hourglass", "an")])
def test_articles_follow_the_first_sound(name, expected):
    assert article(name) == expected


@pytest.mark.parametrize("world", WORLDS)
def test_the_nouns_carry_the_articles_of_their_sounds(world):
    assert [n.en for n in world_called(world).nouns if n.article != article(n.en)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrasing_is_read_as_its_family(language):
    reader = Reader(WORLD.nouns[:64], language)
    read = defaultdict(set)
    for _, conversation in asked("core64", "train", 300):
        for turn in conversation:
            if turn.language == language:
                (found,) = reader.question(turn.question)
                read[turn.family].add(found.kind)
    assert read.pop("dialogue") == set(FOLLOW_UPS)
    assert read.pop("what") == {"what", "what_single"}
    assert dict(read) == {family: {family} for family in QUESTIONS if not family.startswith("what")}


def test_a_reading_says_what_stands_where():
    reader = Reader(WORLD.nouns[:64], "en")
    cat, dog = index(WORLD, "cat"), index(WORLD, "dog")
    (asked_for,) = reader.question("True or false? The cat is above the dog.")
    claim = Reading("relation", {"name": cat, "direction": "above", "name2": dog})
    assert asked_for == Reading("true_or_false", {"claim": claim})
    assert reader.question("What is its colour?") == [Reading("colour", {"name": reading.IT})]
    assert reader.question("True or false? the cat is above the dog.") == []
    assert reader.question("") == []


def test_a_sentence_with_two_meanings_is_a_fault(monkeypatch):
    monkeypatch.setattr(Reader, "question", lambda self, text: [Reading("how_many", {}), Reading("caption", {})])
    turn = one("How many things are there?", "One.", "how_many")
    assert "can be read in several ways" in audit(WORLD, Scene("white", (CAT,)), (turn,))[0]


def test_a_record_that_was_changed_after_asking_is_noticed():
    caught = defaultdict(list)
    for scene, conversation in asked("core64", "train", 150):
        t = scene.objects[0]
        if t.place == "middle":
            continue
        moved = replace(t, x=(t.x + 32) % 64, y=(t.y + 32) % 64)
        renamed = replace(t, noun=(t.noun + 1) % 64, colour=WORLD.colour(t.style, (t.noun + 1) % 64))
        for change, new in {"moved": moved, "renamed": renamed, "gone": None}.items():
            others = tuple(o for o in scene.objects[1:] if o.place != moved.place)
            things = others if new is None else (new, *others)
            if len(others) == len(scene.objects) - 1:
                caught[change, conversation[-1].family].append(
                    bool(audit(WORLD, Scene(scene.ground, things), conversation))
                )
    for change, family in [("moved", "caption"), ("renamed", "caption"), ("gone", "caption"), ("gone", "how_many")]:
        assert all(caught[change, family]), (change, family)
        assert len(caught[change, family]) > 20
    assert sum(map(sum, caught.values())) > 300


def test_a_thing_of_the_wrong_size_is_noticed():
    scene = Scene("white", (replace(CAT, size=18), replace(DOG, size=28)))
    turn = one("What is the biggest thing?", "The dog.", "size")
    assert audit(WORLD, scene, (turn,)) == []
    grown = Scene("white", (replace(CAT, size=28), replace(DOG, size=18)))
    assert "should be 'The cat.'" in audit(WORLD, grown, (turn,))[0]
    assert isinstance(scene.objects[0], SceneObject)
