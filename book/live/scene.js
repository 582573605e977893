// From a scene record to a picture, as minigpt4v/datasets/rendering.py draws it.

/**
 * @param {{ground: string, objects: {noun: number, style: string, x: number, y: number, size: number,
 *     flipped: boolean}[]}} scene
 * @param {{grounds: Object, tiles: Object, imageSize: number, tileSize: number}} world tiles: style -> noun -> RGBA bytes
 * @returns {Float32Array} [3, imageSize, imageSize] in 0..1
 */
export function draw(scene, world) {
    const side = world.imageSize;
    const image = new Float32Array(3 * side * side);
    world.grounds[scene.ground].forEach((value, c) => image.fill(value / 255, c * side * side, (c + 1) * side * side));
    for (const thing of scene.objects) layOver(image, thing, world);
    return image;
}

/** new = drawing + (1 - alpha) * old, with colours premultiplied by alpha (Porter and Duff 1984). */
function layOver(image, { noun, style, x, y, size, flipped }, { tiles, tileSize, imageSize }) {
    const tile = premultiplied(tiles[style][noun]);
    // to one pixel beyond: there a magnified drawing fades, in the library too
    for (let row = 0; row <= size && y + row < imageSize; row++) {
        for (let column = 0; column <= size && x + column < imageSize; column++) {
            const across = flipped ? size - 1 - column : column;
            const [red, green, blue, alpha] = sample(tile, tileSize, across / size, row / size, 1 / size);
            const place = (y + row) * imageSize + x + column;
            [red, green, blue].forEach((value, c) => {
                const at = c * imageSize * imageSize + place;
                image[at] = value + (1 - alpha) * image[at];
            });
        }
    }
}

function premultiplied(rgba) {
    return Float32Array.from(rgba, (value, i) =>
        i % 4 === 3 ? value / 255 : (value / 255) * (rgba[i - (i % 4) + 3] / 255));
}

/** Bilinear, transparent outside: the middle of a pixel that begins at (left, top) of a tile of side 1. */
function sample(tile, side, left, top, step) {
    const x = (left + step / 2) * side - 0.5, y = (top + step / 2) * side - 0.5;
    const out = [0, 0, 0, 0];
    for (const row of [Math.floor(y), Math.floor(y) + 1]) {
        for (const column of [Math.floor(x), Math.floor(x) + 1]) {
            if (row < 0 || column < 0 || row >= side || column >= side) continue;
            const weight = (1 - Math.abs(x - column)) * (1 - Math.abs(y - row));
            for (let c = 0; c < 4; c++) out[c] += weight * tile[4 * (row * side + column) + c];
        }
    }
    return out;
}

/** The word for where a thing is: "middle" within 8 pixels of the picture's centre, else the quarter. */
export function placeOf({ x, y, size }, imageSize) {
    const [across, down, half] = [x + size / 2, y + size / 2, imageSize / 2];
    if (Math.abs(across - half) < 8 && Math.abs(down - half) < 8) return "middle";
    return `${down < half ? "top" : "bottom"} ${across < half ? "left" : "right"}`;
}

/** One to four different things, each in a quarter of its own, on a ground on which all can be seen. */
export function randomScene(world, random = Math.random) {
    const pick = (list) => list[Math.floor(random() * list.length)];
    const whole = (low, high) => low + Math.floor(random() * (high - low + 1));
    const style = pick(world.styles);
    const quarters = shuffled([0, 1, 2, 3], random).slice(0, whole(1, 4));
    const nouns = shuffled([...world.nouns.keys()], random);
    const objects = quarters.map((quarter, i) => {
        const size = whole(20, 30), half = world.imageSize / 2;
        const x = (quarter % 2) * half + whole(0, half - size), y = (quarter >> 1) * half + whole(0, half - size);
        return { noun: nouns[i], style, x, y, size, flipped: random() < 0.5 };
    });
    const visible = Object.keys(world.grounds).filter((ground) =>
        objects.every(({ noun }) => world.visible[style][noun].includes(ground)));
    return { ground: pick(visible.length ? visible : Object.keys(world.grounds)), objects };
}

function shuffled(list, random) {
    return list.map((item) => [random(), item]).sort(([a], [b]) => a - b).map(([, item]) => item);
}
