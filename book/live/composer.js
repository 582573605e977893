// The picture: things that can be dragged, turned and taken away, or a picture file in their place.

import { draggable } from "./drag.js";
import { Palette } from "./palette.js";
import { element, select } from "./page_elements.js";
import { fit, withoutAlpha } from "./picture.js";
import { draw, placeOf, randomScene } from "./scene.js";

const MOST_THINGS = 4; // that a scene of its training had
const NEW_SIZE = 26;
const SIZES = [18, 60];
const MOST_PIXELS = 64e6;

export class Composer {
    /** @param world of `loadWorld` */
    constructor(world) {
        this.world = world;
        this.side = world.imageSize;
        this.onChange = () => {}; // called whenever the picture is another
        this.canvas = element("canvas", { width: this.side, height: this.side, role: "img" });
        this.heat = element("div", { class: "live-heat", "aria-hidden": "true" });
        this.things = element("div", { class: "live-things" });
        this.stage = element("div", { class: "live-stage" }, this.canvas, this.heat, this.things);
        this.hints = element("p", { class: "live-hints", role: "status" });
        const palette = new Palette(world, this.stage, (...thing) => this.#add(...thing));
        this.element = element("div", { class: "live-composer" }, this.stage, this.#tools(), this.hints, palette.element);
        this.stage.addEventListener("dragover", (event) => event.preventDefault());
        this.stage.addEventListener("drop", (event) => {
            event.preventDefault();
            this.#openFile(event.dataTransfer.files[0]);
        });
        this.setScene(randomScene(world));
    }

    /** Show a scene: {ground, objects}. */
    setScene(scene) {
        [this.scene, this.photo, this.selected] = [scene, null, null];
        this.#changed();
    }

    /** What the model sees: Float32Array [3, side, side]. */
    get image() {
        return this.photo ? this.photo.image : draw(this.scene, this.world);
    }

    /** Names of the things, {en, zh}; none for a photo. */
    get names() {
        return this.photo ? [] : this.scene.objects.map(({ noun }) => this.world.nouns[noun]);
    }

    get description() {
        if (this.photo) return `the picture ${this.photo.name}`;
        return `${this.scene.objects.map((thing) => this.#words(thing)).join("; ") || "nothing"}; on ${this.scene.ground}`;
    }

    /** Darken the parts of the picture that were looked at less: [rows][columns], or null for no veil. */
    shade(looked) {
        const most = looked ? Math.max(...looked.flat()) : 1;
        this.heat.style.gridTemplateColumns = looked ? `repeat(${looked[0].length}, 1fr)` : "";
        const part = (share) => element("i", { class: share === most ? "live-most" : "", style: `--veil: ${(0.72 * (1 - share / most)).toFixed(3)}` });
        this.heat.replaceChildren(...(looked ? looked.flat().map(part) : []));
    }

    // -- tools --------------------------------------------------------------------------------------------------------

    #tools() {
        const button = (words, act, title = words) => {
            const made = element("button", { type: "button", title, "aria-label": title }, words);
            made.addEventListener("click", act);
            return made;
        };
        const onThing = (act) => () => (act(this.scene.objects[this.selected]), this.#changed());
        const file = element("input", { type: "file", accept: "image/*", hidden: "" });
        file.addEventListener("change", () => this.#openFile(file.files[0]));
        this.forThing = element("span", { class: "live-for-thing" },
            button("−", onThing((thing) => this.#resize(thing, -2)), "smaller"),
            button("+", onThing((thing) => this.#resize(thing, 2)), "bigger"),
            button("⇋", onThing((thing) => (thing.flipped = !thing.flipped)), "turn round"),
            button("✕", () => this.#remove(this.selected), "take away"));
        this.ground = select(Object.keys(this.world.grounds), "ground", (ground) =>
            this.setScene({ ground, objects: this.scene.objects }));
        return element("div", { class: "live-tools" },
            button("Random scene", () => this.setScene(randomScene(this.world))),
            button("Clear", () => this.setScene({ ground: this.scene.ground, objects: [] })),
            button("Open a picture…", () => file.click()), file, this.ground, this.forThing);
    }

    async #openFile(file) {
        if (!file) return;
        try {
            this.photo = { name: file.name, ...fit(await pixelsOf(file), this.side) };
            this.#changed();
        } catch (problem) {
            this.hints.textContent = problem.message;
        }
    }

    // -- things -------------------------------------------------------------------------------------------------------

    /** Put a thing where it was dropped, its middle at (x, y), or into a free quarter. */
    #add(noun, style, x, y) {
        if (this.scene.objects.length >= MOST_THINGS) {
            this.hints.textContent = "It has never seen more than four things at once: take one away first.";
            return;
        }
        const half = this.side / 2, taken = this.scene.objects.map((thing) => quarterOf(thing, half));
        const free = [0, 1, 2, 3].find((quarter) => !taken.includes(quarter)) ?? 0;
        const thing = { noun, style, size: NEW_SIZE, flipped: false };
        thing.x = (x ?? ((free % 2) + 0.5) * half) - NEW_SIZE / 2;
        thing.y = (y ?? ((free >> 1) + 0.5) * half) - NEW_SIZE / 2;
        this.#keepInside(thing);
        this.photo = null;
        this.selected = this.scene.objects.push(thing) - 1;
        this.#changed();
    }

    #remove(number) {
        this.scene.objects.splice(number, 1);
        this.selected = null;
        this.#changed();
        this.things.querySelector("button")?.focus();
    }

    #move(number, x, y) {
        Object.assign(this.scene.objects[number], { x, y });
        this.#keepInside(this.scene.objects[number]);
        this.#changed();
    }

    #resize(thing, by) {
        thing.size = Math.min(SIZES[1], Math.max(SIZES[0], thing.size + by));
        this.#keepInside(thing);
    }

    #keepInside(thing) {
        for (const axis of ["x", "y"]) thing[axis] = Math.min(this.side - thing.size, Math.max(0, Math.round(thing[axis])));
    }

    #words(thing) {
        return `${this.world.nouns[thing.noun].en}, ${placeOf(thing, this.side)}`;
    }

    #changed() {
        const { image, side } = this, pixels = new ImageData(side, side);
        for (let i = 0; i < side * side; i++) {
            for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * image[c * side * side + i]);
            pixels.data[4 * i + 3] = 255;
        }
        this.canvas.getContext("2d").putImageData(pixels, 0, 0);
        this.canvas.setAttribute("aria-label", this.description);
        this.shade(null);
        this.ground.set(this.scene.ground);
        this.hints.textContent = this.photo ? [this.photo.name, ...this.photo.notes].join(": ") : unusual(this.scene, side);
        this.#placeHandles();
        this.onChange();
    }

    // -- a handle over each thing, for pointer and keyboard ----------------------------------------------------------

    #placeHandles() {
        const objects = this.photo ? [] : this.scene.objects, percent = (pixels) => `${(100 * pixels) / this.side}%`;
        while (this.things.children.length > objects.length) this.things.lastChild.remove();
        while (this.things.children.length < objects.length) this.things.append(this.#handle(this.things.children.length));
        objects.forEach((thing, number) => {
            const handle = this.things.children[number], [left, top, side] = [thing.x, thing.y, thing.size].map(percent);
            Object.assign(handle.style, { left, top, width: side, height: side });
            handle.setAttribute("aria-label", `${this.#words(thing)}: arrows move it, Delete takes it away`);
            handle.setAttribute("aria-pressed", String(number === this.selected));
        });
        this.forThing.hidden = this.selected === null || this.photo !== null;
    }

    #handle(number) {
        const handle = element("button", { type: "button" });
        let grip = [0, 0];
        draggable(handle, this.stage, this.side, {
            start: (x, y) => {
                handle.focus(); // not every browser does it
                grip = [x - this.scene.objects[number].x, y - this.scene.objects[number].y];
            },
            moving: (x, y) => this.#move(number, x - grip[0], y - grip[1]),
        });
        handle.addEventListener("focus", () => ((this.selected = number), this.#placeHandles()));
        handle.addEventListener("keydown", (event) => this.#onKey(event, number));
        return handle;
    }

    #onKey(event, number) {
        const { x, y } = this.scene.objects[number], step = event.shiftKey ? 8 : 1;
        const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (way) this.#move(number, x + step * way[0], y + step * way[1]);
        else if (event.key === "Delete" || event.key === "Backspace") this.#remove(number);
        else return;
        event.preventDefault();
    }
}

/** The pixels of a picture file. Throws, in words for the reader, where it is none. */
async function pixelsOf(file) {
    let bitmap;
    try {
        bitmap = await createImageBitmap(file);
    } catch {
        throw new Error(`“${file.name}” is no picture that this browser can read: try a PNG or a JPEG file.`);
    }
    const { width, height } = bitmap;
    if (width * height > MOST_PIXELS) {
        throw new Error(`“${file.name}” has ${width}x${height} pixels, which is too many: make it smaller first.`);
    }
    const page = new OffscreenCanvas(width, height).getContext("2d");
    page.fillStyle = "white"; // behind transparent parts
    page.fillRect(0, 0, width, height);
    page.drawImage(bitmap, 0, 0);
    return withoutAlpha(page.getImageData(0, 0, width, height));
}

const quarterOf = ({ x, y, size }, half) => (x + size / 2 < half ? 0 : 1) + (y + size / 2 < half ? 0 : 2);

/** What about a scene the model has never met, in words. */
function unusual({ objects }, side) {
    const quarters = objects.map((thing) => quarterOf(thing, side / 2));
    if (objects.length === 0) return "An empty ground: it has never seen one.";
    if (objects.length > 1 && new Set(quarters).size < quarters.length) {
        return "Two things share a quarter of the picture. In training each had a quarter of its own.";
    }
    if (objects.length > 1 && objects.some((thing) => thing.size > 31)) return "So big a thing was always alone in training.";
    return "";
}
