// Formulas: the preprocessor leaves TeX in spans; KaTeX, served from this very folder, draws them.
"use strict";

for (const span of document.querySelectorAll("span.math")) {
    const tex = span.textContent;
    katex.render(tex, span, { displayMode: span.classList.contains("display"), throwOnError: false });
    span.setAttribute("aria-label", tex);
    span.setAttribute("role", "math");
}

// What scrolls sideways must be reachable with the keyboard.
for (const block of document.querySelectorAll("pre, .math.display, .table-wrapper")) {
    if (block.scrollWidth > block.clientWidth) {
        block.tabIndex = 0;
    }
}
