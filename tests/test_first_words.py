"""Questions of a word or two: each answer is worked out again from the record of the scene."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.datasets import phrasings
from minigpt4v.datasets.first_words import comparisons, first_words, where_is_each
from minigpt4v.datasets.questions import neighbour
from minigpt4v.datasets.scenes import PLACES, Scene, load_world, random_scene

WORLD = load_world("core64")
SEEDS = st.integers(0, 10**6)
WORDS_ZH = {
    "nothing": "没有",
    "yes": "是",
    "no": "不是",
    "things": "东西",
    "same": "同一类",
    "kind": "哪一类",
    "colour": "颜色",
    "biggest": "最大",
    "smallest": "最小",
}


def names() -> dict[str, int]:
    return {noun.en: number for number, noun in enumerate(WORLD.nouns)}


def truth(scene: Scene, family: str, question: str) -> set[str]:
    """All right answers to an English question; written without the code that asks."""
    at = {thing.place: thing for thing in scene.objects}
    words = question.removeprefix(" ")
    category = {place: WORLD.nouns[thing.noun].category for place, thing in at.items()}
    if family == "where":
        return {place for place, thing in at.items() if thing.noun == names()[words]}
    if family == "what":
        return {WORLD.nouns[at[words].noun].en if words in at else "nothing"}
    if family == "is_there":
        return set() if names()[words] in {thing.noun for thing in scene.objects} else {"nothing"}
    if family == "how_many":
        return {phrasings.NUMBER_EN[len(at)]}
    if family == "how_many_category":
        kinds = [kind for kind, (_, many) in phrasings.CATEGORY_EN.items() if many == words]
        return {phrasings.NUMBER_EN[sum(each in kinds for each in category.values())]}
    if family == "category":
        return {phrasings.CATEGORY_EN[category[words.removeprefix("kind ")]][0]}
    if family == "colour":
        return {at[words.removeprefix("colour ")].colour}
    if family == "size":
        end = max if words == "biggest" else min
        return {WORLD.nouns[end(scene.objects, key=WORLD.drawn_size).noun].en}
    if family == "relation":
        ways = {way: key for key, way in phrasings.DIRECTION_EN.items() if words.startswith(way)}
        ((way, direction),) = ways.items()
        name = words.removeprefix(f"{way} ")
        beside = [neighbour(scene, thing, direction) for thing in scene.objects if thing.noun == names()[name]]
        return {WORLD.nouns[thing.noun].en for thing in beside if thing}
    assert family == "same_category"
    pairs = [(a, b) for a in at for b in at if a != b and words == f"same {a} {b}"]
    ((first, second),) = pairs
    return {"yes" if category[first] == category[second] else "no"}


@given(SEEDS)
def test_every_answer_is_right(seed):
    rng = random.Random(seed)
    scene = random_scene(WORLD, rng)
    for (turn,) in [*first_words(WORLD, scene, rng, ("en",)), *comparisons(WORLD, scene, rng, ("en",))]:
        assert turn.language == "en"
        assert turn.answer.startswith(" ")
        assert turn.answer[1:] in truth(scene, turn.family, turn.question)


def in_chinese(text: str) -> str:
    """English words of such a question or answer, word for word, in the opposite order."""
    known = WORDS_ZH | phrasings.PLACE_ZH | phrasings.COLOUR_ZH
    known |= {noun.en: noun.zh for noun in WORLD.nouns}
    known |= {phrasings.DIRECTION_EN[way]: phrasings.DIRECTION_ZH[way] for way in phrasings.DIRECTION_EN}
    for kind, forms in phrasings.CATEGORY_EN.items():
        known |= dict.fromkeys(forms, phrasings.CATEGORY_ZH[kind][0])
    known |= dict(zip(phrasings.NUMBER_EN, ("没有", "一", "两", "三", "四"), strict=True))
    found, rest = [], text.removeprefix(" ")
    while rest:
        word = max((word for word in known if f"{rest} ".startswith(f"{word} ")), key=len)
        found.append(known[word])
        rest = rest[len(word) :].removeprefix(" ")
    return "".join(reversed(found))


@given(SEEDS, st.sampled_from([first_words, comparisons]))
def test_chinese_says_the_same_in_the_opposite_order(seed, ask):
    scene = random_scene(WORLD, random.Random(seed))
    english, chinese = (ask(WORLD, scene, random.Random(seed), (language,)) for language in ("en", "zh"))
    for (said,), (gesagt,) in zip(english, chinese, strict=True):
        assert gesagt.language == "zh"
        assert gesagt.family == said.family
        assert gesagt.question == in_chinese(said.question)
        assert gesagt.answer == in_chinese(said.answer)


FIRST = {"what", "where", "is_there", "how_many", "category", "colour", "relation", "size"}


def test_all_sorts_are_asked_in_both_languages():
    first, later = [], []
    for seed in range(200):
        scene = random_scene(WORLD, random.Random(seed))
        first += [turn for (turn,) in first_words(WORLD, scene, random.Random(seed))]
        later += [turn for (turn,) in comparisons(WORLD, scene, random.Random(seed))]
    assert {turn.family for turn in first} == FIRST
    assert {turn.family for turn in later} == FIRST | {"how_many_category", "same_category"}
    for turns in (first, later):
        languages = Counter(turn.language for turn in turns)
        assert abs(languages["en"] - languages["zh"]) < 0.1 * len(turns)
    answers = Counter(turn.answer for turn in later if turn.family == "same_category" and turn.language == "en")
    assert 0.6 < answers[" yes"] / answers[" no"] < 1.6  # guessing "no" must not pay
    assert any(turn.question == " animals" and turn.answer == " none" for turn in later)


@given(SEEDS)
def test_pointing_asks_for_each_thing_in_every_language(seed):
    scene = random_scene(WORLD, random.Random(seed))
    turns = [turn for (turn,) in where_is_each(WORLD, scene)]
    expected = []
    for thing in scene.objects:
        noun = WORLD.nouns[thing.noun]
        expected += [(f" {noun.en}", f" {thing.place}"), (noun.zh, phrasings.PLACE_ZH[thing.place])]
    assert [(turn.question, turn.answer) for turn in turns] == expected
    assert {turn.family for turn in turns} == {"where"}


def test_things_without_a_trained_name_are_never_named():
    stranger = next(number for number in range(len(WORLD.nouns)) if number >= WORLD.trained)
    scene = random_scene(WORLD, random.Random(0))
    scene = replace(scene, objects=(replace(scene.objects[0], noun=stranger),))
    assert where_is_each(WORLD, scene) == []
    noun = WORLD.nouns[stranger]
    for seed in range(20):
        asked = [*first_words(WORLD, scene, random.Random(seed)), *comparisons(WORLD, scene, random.Random(seed))]
        for (turn,) in asked:
            assert noun.en not in turn.question + turn.answer
            assert noun.zh not in turn.question + turn.answer


@pytest.mark.parametrize("place", PLACES[:4])
def test_an_empty_place_holds_nothing(place):
    found = set()
    for seed in range(300):
        rng = random.Random(seed)
        scene = random_scene(WORLD, rng)
        for (turn,) in first_words(WORLD, scene, rng, ("en",)):
            if turn.family == "what" and turn.question == f" {place}":
                found.add(turn.answer == " nothing")
                assert (turn.answer == " nothing") == (scene.at(place) is None)
    assert found == {True, False}
