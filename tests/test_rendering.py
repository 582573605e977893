"""Pictures of scenes against Pillow's own drawing of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scene_samples import WORLDS, index, sample, thing, world_called

from minigpt4v.datasets.rendering import NOISE_WIDTH, Renderer, draw_noise
from minigpt4v.datasets.scenes import GROUNDS, IMAGE_SIZE, PLACES, Scene, SceneObject, World, load_world

WORLD = load_world("core64")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(WORLD)


def by_pillow(world: World, scene: Scene) -> np.ndarray:
    """The picture as Pillow draws it, [3, 64, 64] in 0..1: each tile resampled bilinearly, then laid over.

    Pillow resamples each channel in floating point; its composition of bytes would round twice.
    """
    picture = np.full((3, IMAGE_SIZE, IMAGE_SIZE), np.array(GROUNDS[scene.ground])[:, None, None] / 255)
    for t in scene.objects:
        tile = Image.fromarray(world.tiles[t.style][t.noun])
        if t.flipped:
            tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        alpha = np.asarray(tile.getchannel("A"), dtype=np.float32) / 255
        colours = [np.asarray(tile.getchannel(c), dtype=np.float32) / 255 * alpha for c in "RGB"]
        *colours, alpha = (resampled(channel, t) for channel in (*colours, alpha))
        picture = np.stack(colours) + (1 - alpha) * picture
    return picture


def resampled(channel: np.ndarray, t: SceneObject) -> np.ndarray:
    padded = Image.fromarray(np.pad(channel, 1))  # what lies around a tile is transparent
    scale = 32 / t.size  # tile pixels for one pixel of the picture
    to_tile = (scale, 0, 1 - t.x * scale, 0, scale, 1 - t.y * scale)
    whole = (IMAGE_SIZE, IMAGE_SIZE)
    return np.asarray(padded.transform(whole, Image.Transform.AFFINE, to_tile, Image.Resampling.BILINEAR))


def in_bytes(world: World, scene: Scene) -> np.ndarray:
    """The picture composed by Pillow's own `alpha_composite`, [64, 64, 3] of bytes."""
    picture = Image.new("RGBA", (IMAGE_SIZE, IMAGE_SIZE), (*GROUNDS[scene.ground], 255))
    for t in scene.objects:
        tile = Image.fromarray(world.tiles[t.style][t.noun]).resize((t.size, t.size), Image.Resampling.BILINEAR)
        picture.alpha_composite(tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if t.flipped else tile, (t.x, t.y))
    return np.asarray(picture.convert("RGB"))


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


# -- the oracle -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "style", "concepts"])
@pytest.mark.parametrize("name", WORLDS)
def test_pictures_are_those_that_pillow_draws(name, split):
    scenes = sample(name, split, 60)
    pictures = Renderer(world_called(name))(scenes).double().numpy()
    for scene, picture in zip(scenes, pictures, strict=True):
        difference = np.abs(picture - by_pillow(world_called(name), scene))
        assert difference.max() < 10 / 255, scene  # beside an enlarged tile, whose last pixel fades out over the edge
        for t in scene.objects:
            assert difference[:, t.y : t.y + t.size, t.x : t.x + t.size].max() < 1e-4, scene


@pytest.mark.parametrize("name", WORLDS)
def test_pictures_look_like_pillows_own_composition(name):
    scenes = sample(name, "train", 60)
    for scene, picture in zip(scenes, Renderer(world_called(name))(scenes), strict=True):
        theirs = in_bytes(world_called(name), scene) / 255  # made smaller, it also averages neighbouring pixels
        assert np.abs(picture.permute(1, 2, 0).numpy() - theirs).mean() < 0.01, scene


def test_pillow_would_notice_a_shift_by_half_a_pixel(renderer):
    scene = Scene("white", (thing(WORLD, "cat", 3, 5, 24),))
    shifted = Scene("white", (thing(WORLD, "cat", 4, 5, 24),))
    ours, theirs = renderer([scene])[0].numpy(), (by_pillow(WORLD, scene) + by_pillow(WORLD, shifted)) / 2
    assert np.abs(ours - theirs).max() > 20 / 255


def test_a_drawing_in_its_own_size_is_its_tile_pixel_by_pixel(renderer):
    t = thing(WORLD, "tree", 10, 20, 32)
    tile = WORLD.tiles["noto"][t.noun].astype(np.float64) / 255
    expected = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), GROUNDS["pink"], dtype=np.float64) / 255
    region = expected[20:52, 10:42]
    region[:] = tile[..., :3] * tile[..., 3:] + region * (1 - tile[..., 3:])
    close(renderer([Scene("pink", (t,))])[0].double(), torch.from_numpy(expected).permute(2, 0, 1), 1e-5)


# -- what a picture is ------------------------------------------------------------------------------------------------


def test_pictures_are_numbers_from_0_to_1_on_the_cpu(renderer):
    pictures = renderer(sample("core64", "train", 60))
    assert pictures.shape == (60, 3, 64, 64)
    assert pictures.dtype == torch.float32
    assert pictures.device.type == "cpu"
    assert pictures.is_contiguous()
    assert pictures.min() >= 0
    assert pictures.max() <= 1


@pytest.mark.parametrize("ground", GROUNDS)
def test_a_scene_without_things_is_its_ground(renderer, ground):
    picture = renderer([Scene(ground)])[0]
    close(picture, torch.tensor(GROUNDS[ground])[:, None, None].expand(3, 64, 64) / 255, 1e-6)


def test_the_same_scene_is_the_same_picture(renderer):
    scenes = sample("core64", "seen", 40)
    first = renderer(scenes)
    assert torch.equal(renderer(scenes), first)
    assert torch.equal(Renderer(WORLD)(scenes), first)


def test_many_at_a_time_are_one_at_a_time(renderer):
    scenes = sample("core64", "train", 40)  # with one to four things, close up and not
    noise = draw_noise(40, seed=5)
    close(renderer(scenes), torch.cat([renderer([scene]) for scene in scenes]), 1e-6)
    alone = [renderer([scene], noise[i : i + 1]) for i, scene in enumerate(scenes)]
    close(renderer(scenes, noise), torch.cat(alone), 1e-6)


@pytest.mark.parametrize("size", [1, 17, 32, 33, 50, 63])
@pytest.mark.parametrize("corner", ["top left", "bottom right"])
def test_a_thing_stays_in_its_box(renderer, size, corner):
    start = 0 if corner == "top left" else IMAGE_SIZE - size
    pictures = renderer([Scene("white", (SceneObject(noun, "noto", start, start, size),)) for noun in range(64)])
    pictures[:, :, start : start + size, start : start + size] = 1
    assert pictures.min() > 1 - 10 / 255
    if size <= 32:
        assert pictures.min() == 1


@pytest.mark.parametrize("size", [18, 29, 32, 33, 60])
def test_a_flipped_thing_is_mirrored(renderer, size):
    x = 3
    seen = renderer([Scene("blue", (thing(WORLD, "key", x, 2, size),))])[0]
    mirrored = renderer([Scene("blue", (thing(WORLD, "key", IMAGE_SIZE - x - size, 2, size, flipped=True),))])[0]
    close(mirrored.flip(-1), seen, 1e-5)
    assert (mirrored - seen).abs().max() > 0.2


def test_later_things_cover_earlier_ones(renderer):
    below, above = thing(WORLD, "book", 5, 5, 40), thing(WORLD, "tree", 15, 15, 40)
    tile = WORLD.tiles["noto"][above.noun]
    opaque = torch.from_numpy(tile[..., 3] == 255)
    big = replace(above, x=10, y=10, size=32)
    both = renderer([Scene("white", (below, big))])[0][:, 10:42, 10:42]
    alone = renderer([Scene("white", (big,))])[0][:, 10:42, 10:42]
    close(both[:, opaque], alone[:, opaque], 1e-6)
    other_way = renderer([Scene("white", (big, below))])[0][:, 10:42, 10:42]
    assert (other_way[:, opaque] - alone[:, opaque]).abs().max() > 0.3


def test_every_place_shows_its_thing(renderer):
    for place, (x, y) in zip(PLACES, [(4, 4), (36, 4), (4, 36), (36, 36), (20, 20)], strict=True):
        scene = Scene("white", (thing(WORLD, "apple", x, y, 24),))
        assert scene.objects[0].place == place
        changed = (renderer([scene])[0] != 1).any(0)
        rows, columns = changed.nonzero(as_tuple=True)
        assert rows.float().mean().item() == pytest.approx(y + 12, abs=2)
        assert columns.float().mean().item() == pytest.approx(x + 12, abs=2)


# -- augmentation -----------------------------------------------------------------------------------------------------


def test_noise_is_the_same_for_the_same_seed_and_within_its_bounds():
    noise = draw_noise(500, seed=1)
    assert noise.shape == (500, 5, NOISE_WIDTH)
    assert torch.equal(noise, draw_noise(500, seed=1))
    assert not torch.equal(noise, draw_noise(500, seed=2))
    assert noise.abs().max() <= 1
    assert noise.mean().abs() < 0.02
    assert noise.std() == pytest.approx(3**-0.5, abs=0.01)  # uniform in -1..1
    assert draw_noise(2, seed=0, things=7).shape == (2, 8, NOISE_WIDTH)


def test_no_noise_is_no_change(renderer):
    scenes = sample("core64", "train", 40)
    close(renderer(scenes, torch.zeros(40, 5, NOISE_WIDTH)), renderer(scenes), 1e-6)


def test_noise_changes_every_picture_a_little(renderer):
    scenes = sample("core64", "train", 60)
    plain, noisy = renderer(scenes), renderer(scenes, draw_noise(60, seed=3))
    change = (noisy - plain).abs()
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    assert (change.amax((1, 2, 3)) > 0.02).all()
    assert (change.mean((1, 2, 3)) < 0.12).all()


def test_noise_changes_its_own_thing_alone(renderer):
    scene = Scene("white", (thing(WORLD, "cat", 2, 2, 28), thing(WORLD, "dog", 34, 34, 28)))
    noise = torch.zeros(1, 5, NOISE_WIDTH)
    noise[0, 2] = 1  # slot 0 is the ground, slot 2 the second thing
    change = (renderer([scene], noise) - renderer([scene]))[0].abs().amax(0)
    assert change[:32, :32].max() < 1e-6
    assert change[34:62, 34:62].max() > 0.1


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_ground_is_shaded_by_a_twenty_fifth_at_most(renderer, side):
    noise = torch.full((1, 5, NOISE_WIDTH), side)
    change = renderer([Scene("grey")], noise) - renderer([Scene("grey")])
    close(change, torch.full_like(change, 0.04 * side), 1e-6)


@pytest.mark.parametrize(("number", "largest"), [(0, 0.15), (1, 0.1)])
def test_turns_and_stretches_keep_the_thing_where_it_is(renderer, number, largest):
    scene = Scene("white", (thing(WORLD, "bus", 18, 18, 30),))
    noise = torch.zeros(1, 5, NOISE_WIDTH)
    noise[0, 1, number] = 1
    shapes = [
        (picture != 1).any(0).nonzero().float() for picture in torch.cat([renderer([scene]), renderer([scene], noise)])
    ]
    assert not torch.equal(shapes[0].amax(0), shapes[1].amax(0)) or len(shapes[0]) != len(shapes[1])
    close(shapes[0].mean(0), shapes[1].mean(0), 1.5)  # its middle stays
    assert len(shapes[1]) == pytest.approx(len(shapes[0]), rel=2 * largest)


def test_colours_shift_but_transparent_stays_transparent(renderer):
    scene = Scene("black", (thing(WORLD, "star", 18, 18, 30),))
    noise = torch.zeros(1, 5, NOISE_WIDTH)
    noise[0, 1, 2:] = 1
    plain, noisy = renderer([scene])[0], renderer([scene], noise)[0]
    ground = (plain == plain[:, :1, :1]).all(0)
    close(noisy[:, ground], plain[:, ground], 1e-6)
    assert (noisy - plain).abs().max() > 0.1


def test_things_of_another_world_are_drawn_from_its_own_tiles():
    shapes = world_called("shapes")
    picture = Renderer(shapes)([Scene("white", (thing(shapes, "square", 10, 10, 32, style="red"),))])[0]
    close(picture[:, 26, 26], torch.tensor([225, 35, 40]) / 255, 1e-6)
    assert index(shapes, "square") == 1
