// All things that there are, to be picked by a click or dragged into the picture.

import { draggable } from "./drag.js";
import { element, select } from "./page_elements.js";

const STYLES = { noto: "Noto", blob: "Noto, old", fluent: "Fluent", emojitwo: "Emojitwo", twemoji: "Twemoji (never seen)" };

export class Palette {
    /** @param {(noun: number, style: string, x?: number, y?: number) => void} add x and y: where it was dropped */
    constructor(world, stage, add) {
        Object.assign(this, { world, stage, add });
        const filter = element("input", { type: "search", placeholder: "find a thing · 找东西", "aria-label": "find a thing" });
        filter.addEventListener("input", () => {
            const wanted = filter.value.trim().toLowerCase();
            this.choices.forEach((choice) => (choice.hidden = !choice.title.includes(wanted)));
        });
        this.style = select(world.allStyles, "drawn by", () => this.#draw(), STYLES);
        this.choices = world.nouns.map((noun, i) => this.#choice(noun, i));
        this.#draw();
        this.element = element("div", { class: "live-palette" },
            element("div", { class: "live-tools" }, filter, this.style),
            element("div", { class: "live-choices" }, ...this.choices));
    }

    #choice({ en, zh }, noun) {
        const side = this.world.tileSize;
        const choice = element("button", { type: "button", title: `${en} ${zh}`, "aria-label": `add ${en} ${zh}` },
            element("canvas", { width: side, height: side }));
        let dropped = false;
        draggable(choice, this.stage, this.world.imageSize, {
            start: () => (dropped = false),
            end: (x, y) => {
                dropped = Math.min(x, y) >= 0 && Math.max(x, y) < this.world.imageSize;
                if (dropped) this.add(noun, this.style.value(), x, y);
            },
        });
        // a click comes after a drop too
        choice.addEventListener("click", () => (dropped ? (dropped = false) : this.add(noun, this.style.value())));
        return choice;
    }

    #draw() {
        const side = this.world.tileSize, tiles = this.world.tiles[this.style.value()];
        this.choices.forEach((choice, noun) => {
            choice.firstChild.getContext("2d").putImageData(new ImageData(tiles[noun].slice(), side, side), 0, 0);
        });
    }
}
