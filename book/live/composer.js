// The picture: things that can be picked, dragged, turned and taken away, or a picture file in their place.

import { draw, placeOf, randomScene } from "./scene.js";
import { fit, withoutAlpha } from "./picture.js";
import { element, select } from "./page_elements.js";

const MOST_THINGS = 4; // that a scene of its training had
const NEW_SIZE = 26;
const SIZES = [18, 60];
const MOST_PIXELS = 64e6;

export class Composer {
    /** @param world of `loadWorld` */
    constructor(world) {
        this.world = world;
        this.onChange = () => {}; // called whenever the picture is another
        this.canvas = element("canvas", { width: world.imageSize, height: world.imageSize, role: "img" });
        this.heat = element("div", { class: "live-heat", "aria-hidden": "true" });
        this.things = element("div", { class: "live-things" });
        this.stage = element("div", { class: "live-stage" }, this.canvas, this.heat, this.things);
        this.hints = element("p", { class: "live-hints", role: "status" });
        this.element = element("div", { class: "live-composer" }, this.stage, this.#tools(), this.hints, this.#palette());
        this.#acceptFiles();
        this.setScene(randomScene(world));
    }

    /** Show a scene: {ground, objects}. */
    setScene(scene) {
        [this.scene, this.photo, this.selected] = [scene, null, null];
        this.#changed();
    }

    /** Show a picture file. Throws, in words for the reader, where it is none. */
    async openFile(file) {
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
        this.photo = { name: file.name, ...fit(withoutAlpha(page.getImageData(0, 0, width, height)), this.world.imageSize) };
        this.#changed();
    }

    /** What the model sees: Float32Array [3, side, side]. */
    get image() {
        return this.photo ? this.photo.image : draw(this.scene, this.world);
    }

    /** Names of the things, {en, zh, article}; none for a photo. */
    get names() {
        return this.photo ? [] : this.scene.objects.map(({ noun }) => this.world.nouns[noun]);
    }

    /** Shade the parts of the picture by how much was looked at them: [rows][columns], or null for no shades. */
    shade(looked) {
        const most = looked ? Math.max(...looked.flat()) : 1;
        this.heat.style.gridTemplateColumns = looked ? `repeat(${looked[0].length}, 1fr)` : "";
        const part = (share) => element("i", { style: `opacity: ${(0.72 * (1 - share / most)).toFixed(3)}` });
        this.heat.replaceChildren(...(looked ? looked.flat().map(part) : []));
    }

    // -- building -----------------------------------------------------------------------------------------------------

    #tools() {
        const button = (words, act, title = words) => {
            const made = element("button", { type: "button", title }, words);
            made.addEventListener("click", act);
            return made;
        };
        const onThing = (act) => () => this.selected !== null && (act(this.scene.objects[this.selected]), this.#changed());
        const file = element("input", { type: "file", accept: "image/*", hidden: "" });
        file.addEventListener("change", () => this.#tryFile(file.files[0]));
        this.forThing = element("span", { class: "live-for-thing" },
            button("−", onThing((thing) => this.#resize(thing, -2)), "smaller"),
            button("+", onThing((thing) => this.#resize(thing, 2)), "bigger"),
            button("⇋", onThing((thing) => (thing.flipped = !thing.flipped)), "turn round"),
            button("✕", () => this.#remove(this.selected), "take away"));
        this.ground = select(Object.keys(this.world.grounds), "ground", (ground) => {
            this.scene.ground = ground;
            this.photo = null;
            this.#changed();
        });
        return element("div", { class: "live-tools" },
            button("Random scene", () => this.setScene(randomScene(this.world))),
            button("Clear", () => this.setScene({ ground: this.scene.ground, objects: [] })),
            button("Open a picture…", () => file.click()), file, this.ground, this.forThing);
    }

    #palette() {
        const filter = element("input", { type: "search", placeholder: "find a thing · 找东西", "aria-label": "find a thing" });
        filter.addEventListener("input", () => {
            const wanted = filter.value.trim().toLowerCase();
            this.choices.forEach((choice) => (choice.hidden = !choice.title.includes(wanted)));
        });
        const names = { noto: "Noto", blob: "Noto, old", fluent: "Fluent", emojitwo: "Emojitwo", twemoji: "Twemoji (never seen)" };
        this.style = select(this.world.allStyles, "drawn by", () => this.#drawChoices(), names);
        this.choices = this.world.nouns.map((noun, i) => this.#choice(noun, i));
        this.#drawChoices();
        return element("div", { class: "live-palette" },
            element("div", { class: "live-tools" }, filter, this.style),
            element("div", { class: "live-choices" }, ...this.choices));
    }

    #choice({ en, zh }, noun) {
        const side = this.world.tileSize;
        const choice = element("button", { type: "button", title: `${en} ${zh}`, "aria-label": `add ${en} ${zh}` },
            element("canvas", { width: side, height: side }));
        let dropped = false;
        this.#draggable(choice, {
            start: () => (dropped = false),
            end: (x, y) => {
                dropped = Math.min(x, y) >= 0 && Math.max(x, y) < this.world.imageSize;
                if (dropped) this.#add(noun, x - NEW_SIZE / 2, y - NEW_SIZE / 2);
            },
        });
        // a click comes after a drop too
        choice.addEventListener("click", () => (dropped ? (dropped = false) : this.#add(noun)));
        return choice;
    }

    #drawChoices() {
        const side = this.world.tileSize, tiles = this.world.tiles[this.style.value()];
        this.choices.forEach((choice, noun) => {
            choice.firstChild.getContext("2d").putImageData(new ImageData(tiles[noun].slice(), side, side), 0, 0);
        });
    }

    #acceptFiles() {
        this.stage.addEventListener("dragover", (event) => event.preventDefault());
        this.stage.addEventListener("drop", (event) => {
            event.preventDefault();
            this.#tryFile(event.dataTransfer.files[0]);
        });
    }

    async #tryFile(file) {
        try {
            if (file) await this.openFile(file);
        } catch (problem) {
            this.hints.textContent = problem.message;
        }
    }

    // -- changing -----------------------------------------------------------------------------------------------------

    #add(noun, x, y) {
        if (this.scene.objects.length >= MOST_THINGS) {
            this.hints.textContent = "It has never seen more than four things at once: take one away first.";
            return;
        }
        this.photo = null;
        const half = this.world.imageSize / 2;
        const free = [0, 1, 2, 3].find((quarter) => !this.scene.objects.some((thing) => quarterOf(thing, half) === quarter)) ?? 0;
        const thing = { noun, style: this.style.value(), size: NEW_SIZE, flipped: false };
        Object.assign(thing, { x: x ?? (free % 2) * half + 3, y: y ?? (free >> 1) * half + 3 });
        this.#keepInside(thing);
        this.selected = this.scene.objects.push(thing) - 1;
        this.#changed();
    }

    #remove(number) {
        if (number === null) return;
        this.scene.objects.splice(number, 1);
        this.selected = null;
        this.#changed();
        this.stage.querySelector("button")?.focus();
    }

    #resize(thing, by) {
        thing.size = Math.min(SIZES[1], Math.max(SIZES[0], thing.size + by));
        this.#keepInside(thing);
    }

    #keepInside(thing) {
        for (const axis of ["x", "y"]) {
            thing[axis] = Math.min(this.world.imageSize - thing.size, Math.max(0, Math.round(thing[axis])));
        }
    }

    #changed() {
        const side = this.world.imageSize, image = this.image;
        const pixels = new ImageData(side, side);
        for (let i = 0; i < side * side; i++) {
            for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = Math.round(255 * image[c * side * side + i]);
            pixels.data[4 * i + 3] = 255;
        }
        this.canvas.getContext("2d").putImageData(pixels, 0, 0);
        this.canvas.setAttribute("aria-label", this.description);
        this.shade(null);
        this.ground.set(this.scene.ground);
        this.#drawHandles();
        this.forThing.hidden = this.selected === null || this.photo !== null;
        this.hints.textContent = this.photo ? [this.photo.name, ...this.photo.notes].join(": ") : unusual(this.scene, side);
        this.onChange();
    }

    get description() {
        if (this.photo) return `the picture ${this.photo.name}`;
        const said = this.scene.objects.map((thing) => `${this.world.nouns[thing.noun].en}, ${placeOf(thing, this.world.imageSize)}`);
        return `${said.join("; ") || "nothing"}; on ${this.scene.ground}`;
    }

    // -- things under the pointer -------------------------------------------------------------------------------------

    #drawHandles() {
        const objects = this.photo ? [] : this.scene.objects;
        while (this.things.children.length > objects.length) this.things.lastChild.remove();
        while (this.things.children.length < objects.length) this.things.append(this.#handle(this.things.children.length));
        objects.forEach((thing, number) => {
            const handle = this.things.children[number], unit = 100 / this.world.imageSize;
            Object.assign(handle.style, { left: `${thing.x * unit}%`, top: `${thing.y * unit}%`, width: `${thing.size * unit}%`, height: `${thing.size * unit}%` });
            handle.setAttribute("aria-label", `${this.world.nouns[thing.noun].en}, ${placeOf(thing, this.world.imageSize)}: arrows move it, Delete takes it away`);
            handle.setAttribute("aria-pressed", String(number === this.selected));
        });
    }

    #handle(number) {
        const handle = element("button", { type: "button" });
        let grip = [0, 0];
        this.#draggable(handle, {
            start: (x, y) => {
                const thing = this.scene.objects[number];
                [grip, this.selected] = [[x - thing.x, y - thing.y], number];
                this.#changed();
            },
            moving: (x, y) => this.#move(number, x - grip[0], y - grip[1]),
        });
        handle.addEventListener("focus", () => ((this.selected = number), (this.forThing.hidden = false), this.#drawHandles()));
        handle.addEventListener("keydown", (event) => this.#onKey(event, number));
        return handle;
    }

    #move(number, x, y) {
        Object.assign(this.scene.objects[number], { x, y });
        this.#keepInside(this.scene.objects[number]);
        this.#changed();
    }

    #onKey(event, number) {
        const { x, y } = this.scene.objects[number], step = event.shiftKey ? 8 : 1;
        const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
        if (right || down) this.#move(number, x + step * right, y + step * down);
        else if (event.key === "Delete" || event.key === "Backspace") this.#remove(number);
        else return;
        event.preventDefault();
    }

    /** What to do while a pointer drags: start(x, y), moving(x, y), end(x, y), in pixels of the picture. */
    #draggable(handle, { start, moving, end }) {
        const at = ({ clientX, clientY }) => {
            const box = this.stage.getBoundingClientRect(), unit = this.world.imageSize / box.width;
            return [(clientX - box.left) * unit, (clientY - box.top) * unit];
        };
        handle.addEventListener("pointerdown", (event) => {
            if (event.pointerType === "touch" && !moving) return; // a finger on the palette scrolls it
            handle.setPointerCapture(event.pointerId);
            start(...at(event));
            const over = new AbortController(), { signal } = over;
            handle.addEventListener("pointermove", (now) => moving?.(...at(now)), { signal });
            handle.addEventListener("pointerup", (now) => (over.abort(), end?.(...at(now))), { signal });
            handle.addEventListener("pointercancel", () => over.abort(), { signal });
        });
    }
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
