"""From words to scenes: what is understood, what is refused, and that every scene's own caption draws it again."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt4v.datasets.phrasings import a, one_zh
from minigpt4v.datasets.questions import ask
from minigpt4v.datasets.scenes import GROUNDS, PLACES, load_world, scenes_of
from minigpt4v.describe import caption_of, draw_from, fair_ground, in_style, parse_description

CORE, ALL = load_world("core64"), load_world("all")
WORDS = ("a cat", "a", "猫", "左上角", "有", "at the top left", "at", "on", "a blue ground", ",", "和", "right")
NUMBER = {noun.en: number for number, noun in enumerate(CORE.nouns)}


def understood(text, world=CORE):
    """What is read out of a text: names with places, and the ground."""
    description = parse_description(text, world)
    return [(world.nouns[noun].en, place) for noun, place in description.things], description.ground


# What is understood


@pytest.mark.parametrize(
    ("text", "things", "ground"),
    [
        (
            "a cat at the top left, a dog at the bottom right, on a blue ground",
            [("cat", "top left"), ("dog", "bottom right")],
            "blue",
        ),
        ("左上角有一只猫，右下角有一只狗", [("cat", "top left"), ("dog", "bottom right")], None),
        ("a cat", [("cat", None)], None),
        ("猫", [("cat", None)], None),
        ("An Apple and a cat with a DOG", [("apple", None), ("cat", None), ("dog", None)], None),
        ("one cat; the dog; some fire", [("cat", None), ("dog", None), ("fire", None)], None),
        ("there is a cat in the middle.", [("cat", "middle")], None),
        ("draw a cat in the centre of the picture", [("cat", "middle")], None),
        ("show the cat at the center", [("cat", "middle")], None),
        ("at the upper-left corner there is a cat", [("cat", "top left")], None),
        ("lower right: a cat", [("cat", "bottom right")], None),
        ("top right a cat, bottom left a dog", [("cat", "top right"), ("dog", "bottom left")], None),
        ("the cat is in the lower left corner", [("cat", "bottom left")], None),
        ("a cat on a grey background at the top left", [("cat", "top left")], "grey"),
        ("a cat against the gray ground", [("cat", None)], "grey"),
        ("the background is pink, a cat", [("cat", None)], "pink"),
        ("ground: white; a cat", [("cat", None)], "white"),
        ("图里有一只猫和一条鱼，背景是蓝色", [("cat", None), ("fish", None)], "blue"),
        ("一只猫在左上角，还有一只狗", [("cat", "top left"), ("dog", None)], None),
        ("中间有一个苹果", [("apple", "middle")], None),
        ("苹果在正中", [("apple", "middle")], None),
        ("左下是猫，右上方有狗", [("cat", "bottom left"), ("dog", "top right")], None),
        ("在黄色的背景上，左上角有一只猫", [("cat", "top left")], "yellow"),
        ("一只猫，紫背景", [("cat", None)], "purple"),
        ("白底，猫", [("cat", None)], "white"),
        ("  a   cat  \n a dog ", None, None),
    ],
)
def test_a_description_is_understood(text, things, ground):
    if things is None:
        with pytest.raises(ValueError, match="unknown thing"):
            understood(text)  # a line end is a space here: nothing says where the first thing ends
    else:
        assert understood(text) == (things, ground)


def test_every_noun_is_found_by_both_names():
    for number, noun in enumerate(ALL.nouns):
        for text in (
            noun.en,
            noun.zh,
            f"{a(noun)} at the top left on a pink ground",
            f"左上角有{one_zh(noun)}，粉色背景",
        ):
            ((found, place),) = parse_description(text, ALL).things
            assert found == number, text
            assert place in (None, "top left")


def test_a_kimono_is_not_torn_apart():
    assert understood("一只猫和一件和服", ALL)[0] == [("cat", None), ("kimono", None)]


@pytest.mark.parametrize("world", [CORE, ALL], ids=["core64", "all"])
@pytest.mark.parametrize("split", ["seen", "style", "pairs", "concepts"])
def test_the_caption_of_a_scene_draws_it_again(world, split):
    for scene in scenes_of(world, split, seed="describe", count=60):
        wanted = sorted((thing.noun, thing.place) for thing in scene.objects)
        for language in ("en", "zh"):
            description = parse_description(caption_of(world, scene, language), world)
            assert sorted(description.things) == wanted
            drawn = draw_from(description, world, random.Random(0))
            assert sorted((thing.noun, thing.place) for thing in drawn.objects) == wanted


def test_captions_are_those_of_the_questions():
    for scene in scenes_of(CORE, "seen", seed="describe", count=100):
        for language in ("en", "zh"):
            ((turn),) = ask(CORE, scene, "caption", language, random.Random(0))
            assert caption_of(CORE, scene, language) == turn.answer


# What is refused


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "names no thing"),
        (" , ; 。", "names no thing"),
        ("on a blue ground", "names no thing"),
        ("two cats", "unknown thing 'two cats'"),
        ("a catt at the top left", "unknown thing 'catt': did you mean 'cat'"),
        ("a xyzzyx", "unknown thing 'xyzzyx': draw things such as dog, cat"),
        ("一只独角鲸", "unknown thing '独角鲸'"),
        ("a fox", "the world 'core64' has no 'fox', but the world 'all' has"),
        ("狐狸", "the world 'core64' has no '狐狸', but the world 'all' has"),
        ("a cat at the left", "unknown place 'left': choose one of top left, "),
        ("a cat on the dog", "unknown place 'dog'"),
        ("a cat on a red ground", "unknown ground colour 'red': choose one of white, "),
        ("一只猫，棕色背景", "unknown ground colour '棕色'"),
        ("a cat, a dog, a cat", "'cat' is named twice"),
        ("a cat at the top left, a dog at the top left", "two things are at the top left"),
        ("a cat in the middle, a dog in the middle", "two things are in the middle"),
        ("a cat in the middle and a dog", "a thing in the middle stands alone"),
        ("a cat, a dog, a horse, a cow, a pig", "names 5 things: a scene has room for 4"),
        ("a cat " * 200, "has 1200 characters: use at most 500"),
    ],
)
def test_a_description_that_makes_no_scene_is_refused(text, fault):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_description(text, CORE)
    assert fault in str(caught.value)


@settings(max_examples=200)
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_gives_a_scene_or_a_value_error(text):
    try:
        description = parse_description(text, CORE)
    except ValueError:
        return
    scene = draw_from(description, CORE, random.Random(0))
    assert len(scene.objects) == len(description.things)


# What is drawn


@settings(max_examples=100)
@given(
    names=st.lists(st.sampled_from(sorted(NUMBER)), min_size=1, max_size=4, unique=True),
    ground=st.sampled_from([None, *GROUNDS]),
    style=st.sampled_from([None, "noto", "twemoji"]),
    seed=st.integers(0, 100),
    data=st.data(),
)
def test_a_scene_is_what_was_described(names, ground, style, seed, data):
    order = data.draw(st.permutations(PLACES[:4]))
    places = [place if data.draw(st.booleans()) else None for place in order[: len(names)]]
    text = ", ".join(name + (f" at the {place}" if place else "") for name, place in zip(names, places, strict=True))
    if ground:
        text += f", on a {ground} ground"
    scene = draw_from(parse_description(text, CORE), CORE, random.Random(seed), style)
    assert [CORE.nouns[thing.noun].en for thing in scene.objects] == names
    for thing, place in zip(scene.objects, places, strict=True):
        assert place in (None, thing.place)
        assert thing.style == style or (style is None and thing.style in CORE.styles)
        assert thing.colour == CORE.colour(thing.style, thing.noun)
        assert 0 <= thing.x <= 64 - thing.size
        assert 0 <= thing.y <= 64 - thing.size
    assert len({thing.place for thing in scene.objects}) == len(names)
    assert ground in (None, scene.ground)


def test_the_same_seed_draws_the_same():
    description = parse_description("a cat and a dog", CORE)
    first, again, other = (draw_from(description, CORE, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_one_thing_without_a_place_may_stand_anywhere():
    description = parse_description("a cat", CORE)
    places = {draw_from(description, CORE, random.Random(seed)).objects[0].place for seed in range(60)}
    assert places == set(PLACES)


def test_the_ground_lets_everything_be_seen():
    moon, sun = NUMBER["moon"], NUMBER["sun"]
    for seed in range(30):
        scene = draw_from(parse_description("the moon, the sun", CORE), CORE, random.Random(seed))
        assert {thing.noun for thing in scene.objects} == {moon, sun}
        assert all(scene.ground in CORE.grounds(thing.style, thing.noun) for thing in scene.objects)


def test_where_no_ground_fits_there_is_one_all_the_same(monkeypatch):
    scene = scenes_of(CORE, "seen", seed="describe", count=1)[0]
    monkeypatch.setattr(CORE, "grounds", lambda style, noun: frozenset(), raising=False)
    assert fair_ground(scene.objects, CORE, random.Random(0)) in GROUNDS


def test_another_style_changes_drawings_and_nothing_else():
    changed = 0
    for scene in scenes_of(CORE, "seen", seed="describe", count=100):
        other = in_style(scene, CORE, "twemoji", random.Random(0))
        assert [(t.noun, t.x, t.y, t.size, t.flipped) for t in other.objects] == [
            (t.noun, t.x, t.y, t.size, t.flipped) for t in scene.objects
        ]
        assert {thing.style for thing in other.objects} == {"twemoji"}
        visible = [other.ground in CORE.grounds(thing.style, thing.noun) for thing in other.objects]
        assert all(visible)
        changed += other.ground != scene.ground
    assert 0 < changed < 50
