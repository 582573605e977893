// Byte-level BPE, token for token what minigpt4v/tokenizer.py does (chapter 02).

// Python's \w is letters, numbers and "_"; its \d is Nd; its \s has 0x1c-0x1f and 0x85, and no byte order mark.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WORDS = new RegExp(
    [
        "'(?:[sdmt]|ll|ve|re)",
        " ?[\\p{L}\\p{Nl}\\p{No}]+",
        " ?\\p{Nd}+",
        ` ?[^${SPACE}\\p{L}\\p{N}]+`,
        `[${SPACE}]+(?![^${SPACE}])`,
        `[${SPACE}]+`,
    ].join("|"),
    "gu",
);

const latin1 = (text) => [...text].map((sign) => sign.codePointAt(0));

export class Tokenizer {
    /** @param {{special_tokens: string[], merges: [string, string][]}} file tokenizer.json */
    constructor({ special_tokens: special, merges }) {
        this.special = special;
        this.bytes = [...special.map((name) => [...new TextEncoder().encode(name)])]; // id -> bytes
        for (let value = 0; value < 256; value++) this.bytes.push([value]);
        const ids = new Map(this.bytes.slice(special.length).map((part, i) => [String(part), special.length + i]));
        this.merged = new Map(); // "left,right" -> the new id, which is its rank as well
        for (const [left, right] of merges) {
            const joined = [...latin1(left), ...latin1(right)];
            this.merged.set(`${ids.get(String(latin1(left)))},${ids.get(String(latin1(right)))}`, this.bytes.length);
            ids.set(String(joined), this.bytes.length);
            this.bytes.push(joined);
        }
    }

    specialId(name) {
        const id = this.special.indexOf(name);
        if (id < 0) throw new Error(`no special token ${name}`);
        return id;
    }

    encode(text) {
        return (text.match(WORDS) ?? []).flatMap((word) => this.#merge(new TextEncoder().encode(word)));
    }

    /** Of all pairs of neighbours the one that was learnt first is joined, the leftmost first, until none is left. */
    #merge(word) {
        const ids = [...word].map((value) => this.special.length + value);
        for (;;) {
            let best = Infinity, place = -1;
            for (let i = 0; i + 1 < ids.length; i++) {
                const id = this.merged.get(`${ids[i]},${ids[i + 1]}`) ?? Infinity;
                if (id < best) [best, place] = [id, i];
            }
            if (place < 0) return ids;
            ids.splice(place, 2, best);
        }
    }

    /** Special tokens are left out; bytes that are no whole character become U+FFFD. */
    decode(ids) {
        const said = ids.filter((id) => id >= this.special.length).flatMap((id) => this.bytes[id]);
        return new TextDecoder().decode(new Uint8Array(said));
    }

    /** One token for display: half a character is shown as its bytes. */
    piece(id) {
        try {
            return new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(this.bytes[id]));
        } catch {
            return this.bytes[id].map((value) => `\\x${value.toString(16).padStart(2, "0")}`).join("");
        }
    }
}

/** A question as the model's schoolbooks write it: single spaces, a capital, an end mark. */
export function tidyQuestion(question) {
    let words = question.split(new RegExp(`[${SPACE}]+`, "u")).filter(Boolean).join(" ");
    if (!words) throw new Error("Ask something, such as “What is in the picture?”");
    if (/[\u4e00-\u9fff]/.test(words)) {
        words = words.replaceAll("?", "？");
        return "？。!！".includes(words.at(-1)) ? words : `${words}？`;
    }
    words = words.replaceAll("？", "?");
    const [first] = words;
    return first.toUpperCase() + words.slice(first.length) + ("?.!".includes(words.at(-1)) ? "" : "?");
}
