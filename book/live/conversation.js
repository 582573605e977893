// Questions and answers: each token with how sure the model was, what else it thought of, and where it looked.

import { tidyQuestion } from "./tokenizer.js";
import { element } from "./page_elements.js";

const CHINESE = /[\u4e00-\u9fff]/;

export class Conversation {
    /**
     * @param composer the picture that is asked about
     * @param {() => Promise<Reader>} wake loads the model, the first time
     */
    constructor(composer, wake) {
        Object.assign(this, { composer, wake, turns: [] });
        this.input = element("input", { type: "text", maxlength: "300", required: "", "aria-label": "your question", placeholder: "Ask in English or Chinese · 用中文或英文问" });
        this.button = element("button", { type: "submit" }, "Ask");
        this.remember = element("input", { type: "checkbox" });
        this.suggestions = element("div", { class: "live-suggestions" });
        this.problem = element("p", { class: "live-problem", role: "alert" });
        this.answers = element("ol", { class: "live-answers", "aria-live": "polite" });
        const form = element("form", {}, this.input, this.button);
        form.addEventListener("submit", (event) => (event.preventDefault(), this.ask(this.input.value)));
        this.element = element("div", { class: "live-conversation" }, form, this.suggestions,
            element("label", { title: "so that you can go on with “And what is left of it?”" }, this.remember, " it remembers what was said"),
            this.problem, this.answers);
    }

    /** Another picture: what was said of the last one is over. */
    restart() {
        this.turns = [];
        this.answers.querySelectorAll("li").forEach((answer) => answer.classList.add("live-earlier"));
        this.suggestions.replaceChildren(...suggestions(this.composer.names).map((question) => {
            const suggestion = element("button", { type: "button", lang: CHINESE.test(question) ? "zh" : "en" }, question);
            suggestion.addEventListener("click", () => this.ask((this.input.value = question)));
            return suggestion;
        }));
    }

    /** Ask and show the answer as it is written; one question at a time. */
    async ask(words) {
        if (this.button.disabled) return;
        this.button.disabled = true;
        this.problem.textContent = "";
        try {
            const question = tidyQuestion(words);
            const answer = await this.#write(question, await this.wake());
            this.turns.push({ question, answer });
        } catch (problem) {
            this.problem.textContent = problem.message;
        } finally {
            this.button.disabled = false;
        }
    }

    async #write(question, reader) {
        const said = element("p", { class: "live-said" }), facts = element("small");
        const details = element("div", { class: "live-token" });
        this.answers.prepend(element("li", {}, element("p", { class: "live-question" }, question), said, facts, details));
        const picture = await reader.see(this.composer.image);
        const prompt = reader.prompt(question, this.remember.checked ? this.turns : []);
        const tokens = [], start = performance.now();
        let whole = []; // tokens that are parts of one character
        for await (const token of reader.answer(picture, prompt)) {
            tokens.push(token);
            whole.push(token);
            const text = reader.tokenizer.decode(whole.map(({ id }) => id));
            if (text.endsWith("\ufffd")) continue;
            said.append(this.#token({ ...whole[0], piece: text, probability: product(whole) }, details));
            whole = [];
            await new Promise(requestAnimationFrame); // let the page show it
        }
        const seconds = (performance.now() - start) / 1000;
        const speed = tokens.length ? Math.round(tokens.length / seconds) : 0;
        facts.textContent = `${percent(product(tokens))} sure of all of it · ${tokens.length} tokens, ${speed} a second`;
        const surest = tokens.reduce((a, b) => (sharpness(b) > sharpness(a) ? b : a), tokens[0]);
        if (surest) this.composer.shade(surest.looked);
        return reader.tokenizer.decode(tokens.map(({ id }) => id)).trim();
    }

    #token(token, details) {
        const button = element("button", { type: "button", style: `--sure: ${token.probability}`, title: percent(token.probability) }, token.piece);
        const show = () => {
            this.composer.shade(token.looked);
            const rows = [token, ...token.runnersUp].map(({ piece, probability }) => element("tr", {},
                element("td", {}, piece), element("td", {}, element("meter", { value: probability }), ` ${percent(probability)}`)));
            details.replaceChildren(element("table", {}, element("caption", {}, "what it thought of here"), ...rows));
        };
        ["pointerenter", "focus", "click"].forEach((event) => button.addEventListener(event, show));
        return button;
    }
}

/** How much of its attention a token gave to the part that it looked at most. */
const sharpness = ({ looked }) => Math.max(...looked.flat());
const product = (tokens) => tokens.reduce((share, { probability }) => share * probability, 1);
const percent = (share) => (share < 0.0005 ? "< 0.1%" : `${(100 * share).toFixed(share > 0.9995 ? 0 : 1)}%`);

/** Questions that fit what is in the picture; a photo gets those that fit any. */
function suggestions(names) {
    const [one, other] = names;
    const about = one ? [`Where is the ${one.en}?`, `${one.zh}在哪里？`] : [];
    const both = other ? [`What colour is the ${other.en}?`, `${other.zh}是什么颜色？`] : [];
    return ["What is in the picture?", "图里有什么？", ...about, ...both, "How many things are there?", "有几个东西？"];
}
