// The model alive on a page: wakes in every <div class="live-model">. The only files it reads lie beside this one.

import * as ort from "./runtime/ort.wasm.min.mjs";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { Reader } from "./reader.js";
import { element } from "./page_elements.js";

const here = new URL(".", import.meta.url);
ort.env.wasm.wasmPaths = new URL("runtime/", here).href;
ort.env.wasm.numThreads = 1; // more need headers that plain file servers do not send

/** The drawings: `tiles[style][noun]` is RGBA, from a sheet with the colours above and the alphas as grey below. */
async function loadWorld() {
    const world = await (await fetch(new URL("world.json", here))).json();
    const bitmap = await createImageBitmap(await (await fetch(new URL("tiles.png", here))).blob(), { colorSpaceConversion: "none" });
    const page = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
    page.drawImage(bitmap, 0, 0);
    const side = world.tileSize;
    const tile = (row, column) => page.getImageData(column * side, row * side, side, side).data;
    world.tiles = Object.fromEntries(world.allStyles.map((style, row) => [style, world.nouns.map((_, column) => {
        const [rgba, alpha] = [tile(row, column), tile(world.allStyles.length + row, column)];
        return rgba.map((value, i) => (i % 4 === 3 ? alpha[i - 3] : value));
    })]));
    return world;
}

/** The bytes of a file; `report` is told how many more have come. */
async function bytes(name, report) {
    const response = await fetch(new URL(name, here));
    if (!response.ok) throw new Error(`The model's file ${name} could not be loaded (${response.status}): load the page again.`);
    const parts = [];
    for await (const part of chunks(response.body)) {
        parts.push(part);
        report(part.length);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function* chunks(stream) {
    const reader = stream.getReader();
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) yield value;
}

async function start(place) {
    const world = await loadWorld();
    const status = element("p", { class: "live-status", role: "status" }, `Asleep: the first question loads ${megabytes(world.bytes)} MB.`);
    let awake;
    const wake = () => (awake ??= load().catch((problem) => { awake = undefined; throw problem; }));
    const load = async () => {
        const begin = performance.now();
        let loaded = 0;
        const report = (more) => (status.textContent = `Waking: ${megabytes((loaded += more))} of ${megabytes(world.bytes)} MB`);
        ort.env.wasm.wasmBinary ??= (await bytes("runtime/ort-wasm-simd-threaded.wasm", report)).buffer;
        const reader = await Reader.load(ort, (name) => bytes(name, report));
        const seconds = ((performance.now() - begin) / 1000).toFixed(1);
        status.textContent = `Awake after ${seconds} s: ${(reader.facts.parameters / 1e6).toFixed(2)} million parameters, in this browser; nothing leaves this page.`;
        place.dataset.awake = seconds;
        return reader;
    };
    const composer = new Composer(world);
    const conversation = new Conversation(composer, wake);
    composer.onChange = () => conversation.restart();
    conversation.restart();
    place.addEventListener("keydown", (event) => event.stopPropagation()); // arrows turn the book's pages elsewhere
    place.replaceChildren(composer.element, element("div", {}, conversation.element, status));
    place.live = { composer, conversation, wake }; // for whoever wants to try more than the page offers, and for tests
}

const megabytes = (count) => (count / 1e6).toFixed(1);

for (const place of document.querySelectorAll(".live-model")) {
    start(place).catch((problem) => (place.textContent = `The model could not be started: ${problem.message}`));
}
