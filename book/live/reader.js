// The model: two ONNX graphs that minigpt4v/export.py wrote, and greedy decoding with a cache (chapter 08).

import { Tokenizer, tidyQuestion } from "./tokenizer.js";

const MOST_TOKENS = 64; // of an answer
const RUNNERS_UP = 4;

export class Reader {
    /**
     * @param ort onnxruntime-web
     * @param {(name: string) => Promise<Uint8Array>} read gives a file that the export wrote
     */
    static async load(ort, read) {
        const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
        const reader = new Reader();
        [reader.facts, reader.tokenizer] = [await json("reader.json"), new Tokenizer(await json("tokenizer.json"))];
        [reader.seeing, reader.reading] = await Promise.all(
            ["see.onnx", "read.onnx"].map(async (name) => ort.InferenceSession.create(await read(name))));
        reader.ort = ort;
        return reader;
    }

    /** The picture's tokens, for `answer`. image: Float32Array [3, side, side] in 0..1. */
    async see(image) {
        const side = this.facts.image_size;
        const { picture } = await this.seeing.run({ image: new this.ort.Tensor("float32", image, [1, 3, side, side]) });
        return picture;
    }

    /** The ids that stand before an answer: the picture, earlier turns, the new question. */
    prompt(question, history = []) {
        const [user, assistant, image, end] = ["user", "assistant", "image", "end"].map((name) =>
            this.tokenizer.specialId(`<|${name}|>`));
        const asked = (text) => [user, ...this.tokenizer.encode(text), assistant];
        const earlier = history.flatMap((turn) => [...asked(turn.question), ...this.tokenizer.encode(turn.answer), end]);
        return [...Array(this.facts.tokens_per_image).fill(image), ...earlier, ...asked(tidyQuestion(question))];
    }

    /** Each token as it is written: {id, piece, probability, runnersUp: [{piece, probability}], looked: [rows][columns]}. */
    async *answer(picture, prompt) {
        const end = this.tokenizer.specialId("<|end|>");
        const room = this.facts.context_length - prompt.length;
        if (room < 1) throw new Error("The conversation is too long for this model: start a new one.");
        let past = new this.ort.Tensor("float32", new Float32Array(0), this.facts.past_shape);
        let ids = prompt;
        for (let written = 0; written < Math.min(room, MOST_TOKENS); written++) {
            const { logits, present, looked } = await this.reading.run({ ids: this.#ids(ids), picture, past });
            const [best, ...others] = likeliest(logits.data, this.facts.never_said, 1 + RUNNERS_UP);
            if (best.id === end) return;
            const named = ({ id, probability }) => ({ id, piece: this.tokenizer.piece(id), probability });
            yield { ...named(best), runnersUp: others.map(named), looked: rows(looked) };
            [ids, past] = [[best.id], present];
        }
    }

    #ids(ids) {
        return new this.ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
    }
}

/** The `count` likeliest tokens with their probabilities; forbidden ones are never written, and have none. */
export function likeliest(logits, forbidden, count) {
    const allowed = Array.from(logits, (logit, id) => ({ id, logit })).filter(({ id }) => !forbidden.includes(id));
    allowed.sort((a, b) => b.logit - a.logit);
    const weight = ({ logit }) => Math.exp(logit - allowed[0].logit);
    const total = allowed.reduce((sum, token) => sum + weight(token), 0);
    return allowed.slice(0, count).map((token) => ({ id: token.id, probability: weight(token) / total }));
}

function rows({ data, dims: [height, width] }) {
    return Array.from({ length: height }, (_, y) => [...data.slice(y * width, (y + 1) * width)]);
}
