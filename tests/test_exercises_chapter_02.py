"""Chapter 02's exercises: other right answers pass, other wrong ones get the diagnosis of their mistake."""

from collections import Counter
from itertools import pairwise

from exercise_checks import assert_diagnosed, assert_passes

from minigpt4v.exercises.catalogue import find
from minigpt4v.tokenizer import Tokenizer


def test_the_worst_case():
    assert_passes("02.1", len(_text_of_the_task().encode()))
    assert_diagnosed("02.1", len(_text_of_the_task()), "number of characters")
    assert_diagnosed("02.1", 13, "one byte is missing")


def _text_of_the_task() -> str:
    return find("02.1").task.strip().splitlines()[-1].strip()


# 02.2


def test_the_next_merge():
    def by_sorting(words):
        text = [pair for tokens, count in words.items() for pair in count * list(pairwise(tokens))]
        return sorted(sorted(set(text)), key=text.count, reverse=True)[0]

    assert_passes("02.2", by_sorting)


def test_the_next_merge_mistakes():
    def without_counts(words):
        pairs = sorted(pair for tokens in words for pair in pairwise(tokens))
        return Counter(pairs).most_common(1)[0][0]

    def as_they_come(words):
        pairs = [pair for tokens, count in words.items() for _ in range(count) for pair in pairwise(tokens)]
        return Counter(pairs).most_common(1)[0][0]

    def last_of_the_sorted(words):
        pairs = [pair for tokens, count in words.items() for _ in range(count) for pair in pairwise(tokens)]
        return sorted(Counter(pairs).items(), key=lambda item: (item[1], item[0]))[-1][0]

    def one_step_too_early(words):
        return Counter(
            pair for tokens, count in words.items() for _ in range(count) for pair in pairwise(tokens)
        ).most_common()[0]

    assert_diagnosed("02.2", one_step_too_early, "pair alone")
    assert_diagnosed("02.2", without_counts, "each word once")
    assert_diagnosed("02.2", as_they_come, "met first")
    assert_diagnosed("02.2", last_of_the_sorted, "largest pair")


# 02.3


def test_encode_a_word():
    assert_passes("02.3", lambda word, ranks: _by_rank(word.encode(), ranks))
    assert_passes("02.3", _by_the_library)


def _by_rank(word, ranks):
    tokens = [word[place : place + 1] for place in range(len(word))]
    while known := [(ranks[pair], place) for place, pair in enumerate(pairwise(tokens)) if pair in ranks]:
        place = min(known)[1]
        tokens = [*tokens[:place], tokens[place] + tokens[place + 1], *tokens[place + 2 :]]
    return tokens


def _by_the_library(word, ranks):
    tokenizer = Tokenizer(sorted(ranks, key=ranks.get))
    return [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode(word)]


def _by_bytes(word):
    return [bytes([byte]) for byte in word.encode()]


def test_encode_a_word_mistakes():
    def greedy(word, merges):
        data, tokens, start = word.encode(), [], 0
        known = {left + right for left, right in merges}
        while start < len(data):
            end = next(e for e in range(len(data), start, -1) if data[start:e] in known or e == start + 1)
            tokens.append(data[start:end])
            start = end
        return tokens

    def by_characters(word, merges):
        tokens = list(word)
        for left, right in merges:
            joined = []
            for token in tokens:
                if joined and (joined[-1].encode(), token.encode()) == (left, right):
                    joined[-1] += token
                else:
                    joined.append(token)
            tokens = joined
        return [token.encode() for token in tokens]

    def backwards(word, merges):
        tokens = _by_bytes(word)
        while known := [(merges[pair], -place) for place, pair in enumerate(pairwise(tokens)) if pair in merges]:
            place = -max(known)[1]
            tokens[place : place + 2] = [tokens[place] + tokens[place + 1]]
        return tokens

    def once(word, merges):
        tokens = _by_bytes(word)
        known = [(merges[pair], place) for place, pair in enumerate(pairwise(tokens)) if pair in merges]
        for _, place in sorted(known)[:1]:
            tokens[place : place + 2] = [tokens[place] + tokens[place + 1]]
        return tokens

    assert_diagnosed("02.3", backwards, "largest rank")
    assert_diagnosed("02.3", once, "look again")
    assert_diagnosed("02.3", greedy, "longest token", "WordPiece")
    assert_diagnosed("02.3", by_characters, "begin with characters")


# 02.4


def test_a_chat_that_cannot_be_forged():
    def in_one_line(tokenizer, messages):
        special = tokenizer.special_tokens.index
        turns = [[special(f"<|{who}|>"), *tokenizer.encode(text), special("<|end|>")] for who, text in messages]
        return [token_id for turn in [*turns, [special("<|assistant|>")]] for token_id in turn]

    assert_passes("02.4", in_one_line)


def test_a_chat_that_cannot_be_forged_mistakes():
    def template(tokenizer, messages):
        return tokenizer.encode("".join(f"<|{who}|>{text}<|end|>" for who, text in messages) + "<|assistant|>")

    def no_turn_for_the_assistant(tokenizer, messages):
        ids = []
        for who, text in messages:
            ids.extend([tokenizer.special_id(f"<|{who}|>"), *tokenizer.encode(text), tokenizer.special_id("<|end|>")])
        return ids

    def censored(tokenizer, messages):
        ids = []
        for who, text in messages:
            for name in tokenizer.special_tokens:
                text = "".join(text.split(name))
            ids.extend([tokenizer.special_id(f"<|{who}|>"), *tokenizer.encode(text), tokenizer.special_id("<|end|>")])
        return [*ids, tokenizer.special_id("<|assistant|>")]

    def appended(tokenizer, messages):
        ids = []
        for who, text in messages:
            ids.append(tokenizer.special_id(f"<|{who}|>"))
            ids.append(tokenizer.encode(text))
            ids.append(tokenizer.special_id("<|end|>"))
        return [*ids, tokenizer.special_id("<|assistant|>")]

    assert_diagnosed("02.4", appended, "inside your list")
    assert_diagnosed("02.4", template, "plain text", "special_id")
    assert_diagnosed("02.4", no_turn_for_the_assistant, "<|assistant|>` is missing")
    assert_diagnosed("02.4", censored, "is changed")


# 02.5


def test_show_a_text_while_it_is_written():
    def by_trying(data):
        for end in range(len(data), len(data) - 4, -1):
            try:
                return data[:end].decode(), data[end:]
            except UnicodeDecodeError:
                continue
        raise AssertionError("no UTF-8")

    assert_passes("02.5", by_trying)


def test_show_a_text_while_it_is_written_mistakes():
    def ignoring(data):
        return str(data, "utf-8", "ignore"), b""

    def only_ascii(data):
        text = data.decode("ascii", "ignore")
        start = next((n for n in range(len(data)) if all(byte > 127 for byte in data[n:])), len(data))
        return data[:start].decode(), data[start:] if text is not None else b""

    assert_diagnosed("02.5", ignoring, "lost")
    assert_diagnosed("02.5", only_ascii, "unfinished")
