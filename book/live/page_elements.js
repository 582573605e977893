// Small makers of page elements.

/** element("a", {href: "x"}, "words", child) */
export function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
}

/** A labelled list to choose from; `value()` and `set(value)` read and change it. */
export function select(values, label, onChange, names = {}) {
    const list = element("select", {}, ...values.map((value) => element("option", { value }, names[value] ?? value)));
    const made = element("label", {}, `${label} `, list);
    list.addEventListener("change", () => onChange(list.value));
    return Object.assign(made, { value: () => list.value, set: (value) => (list.value = value) });
}
