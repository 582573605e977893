// Dragging with mouse, pen or finger.

/**
 * What to do while a pointer drags `handle`: start(x, y), moving(x, y), end(x, y), in pixels of the picture.
 * @param {HTMLElement} stage shows the picture, `side` pixels wide and high
 */
export function draggable(handle, stage, side, { start, moving, end }) {
    const at = ({ clientX, clientY }) => {
        const box = stage.getBoundingClientRect(), unit = side / box.width;
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
