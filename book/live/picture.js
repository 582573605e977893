// Any picture to the numbers that the model sees, pixel for pixel what minigpt4v/processor.py does to an opaque RGB
// picture: shrunk or grown until it fits (Lanczos, in Pillow's arithmetic), centred on the colour of its border.

const BITS = 22; // of the fractions that Pillow multiplies whole numbers with

/** @typedef {{width: number, height: number, rgb: Uint8ClampedArray}} Pixels rows of red, green, blue */

/** The bytes of a canvas without their alpha. */
export function withoutAlpha({ width, height, data }) {
    const rgb = new Uint8ClampedArray(width * height * 3);
    for (let i = 0; i < width * height; i++) rgb.set(data.subarray(4 * i, 4 * i + 3), 3 * i);
    return { width, height, rgb };
}

/** Pixels -> {image: Float32Array [3, size, size] in 0..1, notes: what was done, in words}. */
export function fit(pixels, size) {
    const { width, height } = pixels;
    const scale = size / Math.max(width, height);
    const [innerWidth, innerHeight] = [width, height].map((side) => Math.max(1, roundHalfToEven(side * scale)));
    const done = [];
    let inner = pixels;
    if (innerWidth !== width || innerHeight !== height) {
        inner = resize(pixels, innerWidth, innerHeight);
        done.push(`resized to ${innerWidth}x${innerHeight}`);
    }
    if (innerWidth !== size || innerHeight !== size) {
        inner = centred(inner, size, borderColour(pixels));
        done.push("padded with the border colour");
    }
    return { image: toFloats(inner), notes: done.length ? [`${width}x${height} ${done.join(" and ")}`] : [] };
}

function toFloats({ width, height, rgb }) {
    const image = new Float32Array(3 * width * height);
    for (let i = 0; i < width * height; i++) {
        for (let c = 0; c < 3; c++) image[c * width * height + i] = Math.fround(rgb[3 * i + c]) / 255;
    }
    return image;
}

/** One axis after the other with whole numbers in between; which goes first is Pillow's choice, to the last bit. */
export function resize(pixels, width, height) {
    const tall = pixels.height > 2 * pixels.width && height < pixels.height;
    return tall ? across(down(pixels, height), width) : down(across(pixels, width), height);
}

const across = (pixels, width) => (width === pixels.width ? pixels : resizeAcross(pixels, width));
const down = (pixels, height) => transposed(across(transposed(pixels), height));

function resizeAcross({ width, height, rgb }, newWidth) {
    const out = new Uint8ClampedArray(newWidth * height * 3);
    lanczos(width, newWidth).forEach(({ first, weights }, x) => {
        for (let y = 0; y < height; y++) {
            for (let c = 0; c < 3; c++) {
                let sum = 2 ** (BITS - 1);
                weights.forEach((weight, i) => (sum += weight * rgb[3 * (y * width + first + i) + c]));
                out[3 * (y * newWidth + x) + c] = Math.floor(sum / 2 ** BITS);
            }
        }
    });
    return { width: newWidth, height, rgb: out };
}

/** For each new pixel: the first old one that counts, and the weights from there on, in units of 2^-BITS. */
function lanczos(from, to) {
    const scale = from / to;
    const stretch = Math.max(scale, 1); // shrinking widens the filter: no aliasing
    return Array.from({ length: to }, (_, i) => {
        const centre = (i + 0.5) * scale;
        const first = Math.max(0, Math.trunc(centre - 3 * stretch + 0.5));
        const last = Math.min(from, Math.trunc(centre + 3 * stretch + 0.5));
        const weights = Array.from({ length: last - first }, (_, k) => kernel((k + first - centre + 0.5) / stretch));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        return { first, weights: weights.map((weight) => roundAwayFromZero((weight / total) * 2 ** BITS)) };
    });
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));
const kernel = (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0);
const roundAwayFromZero = (x) => Math.trunc(x + (x < 0 ? -0.5 : 0.5));

function roundHalfToEven(x) {
    const low = Math.floor(x);
    return x - low === 0.5 ? low + (low % 2) : Math.round(x);
}

function transposed({ width, height, rgb }) {
    const out = new Uint8ClampedArray(rgb.length);
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            for (let c = 0; c < 3; c++) out[3 * (x * height + y) + c] = rgb[3 * (y * width + x) + c];
        }
    }
    return { width: height, height: width, rgb: out };
}

/** The median of each channel over the outermost pixels, each counted once. */
function borderColour({ width, height, rgb }) {
    const border = [];
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            if (y === 0 || x === 0 || y === height - 1 || x === width - 1) border.push(3 * (y * width + x));
        }
    }
    return [0, 1, 2].map((c) => {
        const values = border.map((place) => rgb[place + c]).sort((a, b) => a - b);
        const half = values.length >> 1;
        return values.length % 2 ? values[half] : roundHalfToEven((values[half - 1] + values[half]) / 2);
    });
}

function centred(inner, size, colour) {
    const rgb = new Uint8ClampedArray(size * size * 3);
    for (let i = 0; i < size * size; i++) rgb.set(colour, 3 * i);
    const [left, top] = [(size - inner.width) >> 1, (size - inner.height) >> 1];
    for (let y = 0; y < inner.height; y++) {
        const row = inner.rgb.subarray(3 * y * inner.width, 3 * (y + 1) * inner.width);
        rgb.set(row, 3 * ((top + y) * size + left));
    }
    return { width: size, height: size, rgb };
}
