"""Chapter 02: text to token ids and back.

Two tokenizers with one interface. `Tokenizer` is byte-level byte-pair encoding (BPE): it starts from the 256 bytes, so
it can write *any* text, and learns which neighbours to join. `CharTokenizer` has one id per character of its training
text. In both, the special tokens that give a conversation its form have ids that no text can produce.

Sources: Sennrich, Haddow, Birch (2016), "Neural Machine Translation of Rare Words with Subword Units", for BPE;
Radford et al. (2019), "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.2, for bytes.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

from tqdm.auto import tqdm

from minigpt4v.foreign_files import plain, read_json, reason, shown
from minigpt4v.paths import write_atomically

SPECIAL_TOKENS = ("<|pad|>", "<|user|>", "<|assistant|>", "<|image|>", "<|end|>")

# GPT-2's pattern in Python's own `re`: a contraction, or a run of letters, of digits, of other signs (each with the one
# space before it), or of white space. `re` has no \p{L} and \p{N}: letters are [^\W\d_], which also takes in the few
# numbers that are not decimal digits (such as "½", "²", "Ⅷ"); digits are \d. Every character falls in just one run.
PRE_TOKEN_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+"
_PRE_TOKENS = re.compile(PRE_TOKEN_PATTERN)

_FILE_VERSION = 1
_CACHE_ENTRIES = 65_536  # words kept with their ids
_CACHE_CHARACTERS = 64  # longer words are rare, and would make the bound on entries no bound on memory

Pair = tuple[int, int]


def split_words(text: str) -> list[str]:
    """Split a text into pre-tokens ("words", most with the space before them); joined again they give the text.

    >>> split_words("A dog's tail, 狗。")
    ['A', ' dog', "'s", ' tail', ',', ' 狗', '。']
    """
    return _PRE_TOKENS.findall(text)


def load_tokenizer(path: str | Path) -> Tokenizer | CharTokenizer:
    """Read a tokenizer file of either type.

    Raises:
        ValueError: the file is not a valid tokenizer; the message names the file and the fault.
        OSError: the file cannot be read.
    """
    return _FILE_TYPES[_read_file(path)["type"]].load(path)


class _Vocabulary(ABC):
    """What both tokenizers share: the table from id to bytes, decoding, the special tokens, the file."""

    file_type: ClassVar[str]
    special_tokens: Sequence[str]
    _table: tuple[bytes, ...]  # id -> bytes; the special tokens come first

    @abstractmethod
    def encode(self, text: str) -> list[int]: ...

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values."""

    @classmethod
    @abstractmethod
    def _from_content(cls, content: dict[str, Any]) -> Self: ...

    @property
    def vocabulary_size(self) -> int:
        return len(self._table)

    def special_id(self, name: str) -> int:
        """The id of a special token, such as "<|end|>"."""
        if name not in self.special_tokens:
            raise ValueError(f"no special token {name!r}; there are {plain(', '.join(self.special_tokens), 300)}")
        return self.special_tokens.index(name)

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; for a special token, its name."""
        if not 0 <= token_id < len(self._table):
            raise ValueError(f"token id {int(token_id)} is outside this vocabulary of 0 to {len(self._table) - 1}")
        return self._table[token_id]

    def piece(self, token_id: int) -> str:
        r"""One token for display: bytes that are no whole character are shown as \xNN."""
        return self.token_bytes(token_id).decode("utf-8", errors="backslashreplace")

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text for display, see `piece`."""
        return [self.piece(token_id) for token_id in self.encode(text)]

    def decode(self, ids: Iterable[int], *, errors: str = "replace", show_special: bool = False) -> str:
        """Token ids to text.

        Args:
            ids: token ids, in 0 .. vocabulary_size - 1.
            errors: what to do where the bytes are not UTF-8 (a model can write half a character), as in
                `bytes.decode`: "replace" puts U+FFFD, "strict" raises UnicodeDecodeError (a ValueError).
            show_special: write the special tokens by name; otherwise they are left out.
        """
        first_text_id = 0 if show_special else len(self.special_tokens)
        parts = [(token_id, self.token_bytes(token_id)) for token_id in ids]
        return b"".join(part for token_id, part in parts if token_id >= first_text_id).decode("utf-8", errors)

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as a JSON file; an interrupted write leaves the old file as it was."""
        header = {"type": self.file_type, "version": _FILE_VERSION, "special_tokens": list(self.special_tokens)}
        write_atomically(path, json.dumps(header | self._content()) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a tokenizer that `save` wrote.

        Raises:
            ValueError: the file is not a valid tokenizer of this type; the message names the file and the fault.
            OSError: the file cannot be read.
        """
        content = _read_file(path)
        if content["type"] != cls.file_type:
            raise ValueError(
                f"{plain(path)}: holds a {content['type']!r} tokenizer, not {cls.file_type!r}; use load_tokenizer"
            )
        try:
            return cls._from_content({key: content[key] for key in content if key not in ("type", "version")})
        except (TypeError, ValueError) as fault:
            raise ValueError(f"{plain(path)}: {reason(fault)}") from fault

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocabulary_size={self.vocabulary_size})"


@dataclass(frozen=True, repr=False)
class Tokenizer(_Vocabulary):
    """Byte-level BPE. Ids: the special tokens, then the 256 bytes in order, then one token for each merge.

    Args:
        merges: pairs of byte strings to join, in the order they were learnt. Both parts must be tokens by then, and
            what they make must be new, so that merges, ids and byte strings stand one to one.
        special_tokens: names of the special tokens; their ids are 0, 1, 2...

    Raises:
        TypeError, ValueError: a merge or a special token breaks these rules; the message names it.
    """

    file_type = "bpe"
    merges: Sequence[tuple[bytes, bytes]]
    special_tokens: Sequence[str] = SPECIAL_TOKENS
    _merged_ids: dict[Pair, int] = field(init=False, compare=False)
    _cache: dict[str, list[int]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        special_tokens = _checked_special_tokens(self.special_tokens)
        first_merge = len(special_tokens) + 256
        token_ids = {bytes([value]): len(special_tokens) + value for value in range(256)}
        merged_ids: dict[Pair, int] = {}  # a pair's new id is its rank as well: earlier merges have smaller ids
        for new_id, merge in enumerate(self.merges, first_merge):
            left, right = _checked_merge(new_id - first_merge, merge, token_ids)
            merged_ids[token_ids[left], token_ids[right]] = token_ids[left + right] = new_id
        _set(self, special_tokens=special_tokens, merges=tuple((left, right) for left, right in self.merges))
        _set(self, _table=(*(name.encode() for name in special_tokens), *token_ids), _merged_ids=merged_ids, _cache={})

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        special_tokens: Sequence[str] = SPECIAL_TOKENS,
        show_progress: bool = False,
    ) -> Self:
        """Learn merges from texts: again and again join the most frequent pair of neighbours.

        Each text is split into words on its own and no merge crosses a word, so a list of words (Chinese ones, say)
        keeps the words apart. Of equally frequent pairs the one with the smaller ids is joined. If every word has
        become a single token, training stops with a smaller vocabulary than asked for.

        Raises:
            ValueError: vocabulary_size leaves no room for the special tokens and the 256 bytes, or a text holds a
                lone surrogate.
        """
        smallest = len(special_tokens) + 256
        if vocabulary_size < smallest:
            raise ValueError(
                f"vocabulary_size {vocabulary_size} is too small: {len(special_tokens)} special tokens and 256 bytes "
                f"need {smallest}"
            )
        words = Counter(word for text in _checked_texts(texts) for word in split_words(text))
        counts = {word.encode(): count for word, count in words.items()}
        return cls(tuple(_learn_merges(counts, vocabulary_size - smallest, show_progress)), tuple(special_tokens))

    def encode(self, text: str) -> list[int]:
        """Text to token ids. Never a special token's id, whatever the text says: "<|end|>" is seven plain characters.

        Raises:
            ValueError: the text holds a lone surrogate (half of a UTF-16 pair), which no bytes can stand for.
        """
        ids: list[int] = []
        for word in split_words(_checked_text(text)):
            word_ids = self._cache.get(word)
            if word_ids is None:
                word_ids = self._merge(word.encode())
                if len(word) <= _CACHE_CHARACTERS:
                    if len(self._cache) >= _CACHE_ENTRIES:
                        self._cache.clear()
                    self._cache[word] = word_ids
            ids += word_ids
        return ids

    def _merge(self, word: bytes) -> list[int]:
        """Apply the merges to one word, the earliest learnt first and, of the same merge, the leftmost first.

        The tokens form a linked list and the possible merges a heap, so a word of n bytes costs n log n.
        """
        ids = [len(self.special_tokens) + value for value in word]
        before, after = _links([len(word)])
        heap = [
            (self._merged_ids[pair], place, pair)
            for place, pair in enumerate(pairwise(ids))
            if pair in self._merged_ids
        ]
        heapify(heap)
        while heap:
            new_id, left, pair = heappop(heap)
            right = after[left]
            if right < 0 or (ids[left], ids[right]) != pair:
                continue  # an earlier merge used up one of the two
            _join(ids, before, after, left, new_id)
            for start in (before[left], left):
                if start >= 0 and after[start] >= 0:
                    pair = ids[start], ids[after[start]]
                    if pair in self._merged_ids:
                        heappush(heap, (self._merged_ids[pair], start, pair))
        return [token_id for token_id in ids if token_id >= 0]

    def _content(self) -> dict[str, Any]:
        # JSON has no bytes: each byte is written as the character with its number (Latin-1).
        return {"merges": [[part.decode("latin-1") for part in merge] for merge in self.merges]}

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Self:
        _check_keys(content, {"special_tokens", "merges"})
        merges = content["merges"]
        if not isinstance(merges, list):
            raise ValueError(f"'merges' must be a list of pairs, not {type(merges).__name__}")
        for number, merge in enumerate(merges):
            if not (isinstance(merge, list) and len(merge) == 2 and all(_is_latin(part) for part in merge)):
                raise ValueError(
                    f"merge {number} must be a pair of strings of characters U+0000 to U+00FF, not {shown(merge)}"
                )
        return cls(
            tuple((left.encode("latin-1"), right.encode("latin-1")) for left, right in merges),
            content["special_tokens"],
        )


@dataclass(frozen=True, repr=False)
class CharTokenizer(_Vocabulary):
    """One token per character. Ids: the special tokens, then the characters in order of code point.

    Args:
        characters: the characters it knows, sorted, each once.
        special_tokens: names of the special tokens; their ids are 0, 1, 2...
    """

    file_type = "char"
    characters: Sequence[str]
    special_tokens: Sequence[str] = SPECIAL_TOKENS
    _ids: dict[str, int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        special_tokens = _checked_special_tokens(self.special_tokens)
        characters = tuple(self.characters)
        for character in characters:
            if not isinstance(character, str) or len(character) != 1:
                raise ValueError(f"'characters' must hold single characters, not {shown(character)}")
            _checked_text(character)
        if list(characters) != sorted(set(characters)):
            raise ValueError("'characters' must be sorted, each character once")
        ids = {character: len(special_tokens) + number for number, character in enumerate(characters)}
        table = (*(name.encode() for name in special_tokens), *(character.encode() for character in characters))
        _set(self, special_tokens=special_tokens, characters=characters, _ids=ids, _table=table)

    @classmethod
    def train(cls, texts: Iterable[str], special_tokens: Sequence[str] = SPECIAL_TOKENS) -> Self:
        """Collect the characters of the texts."""
        characters = {character for text in _checked_texts(texts) for character in text}
        return cls(tuple(sorted(characters)), tuple(special_tokens))

    def encode(self, text: str) -> list[int]:
        """Text to token ids, one a character, never a special token's id.

        Raises:
            ValueError: a character was not in the training text; the message names it.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError as fault:
            character = fault.args[0]
            raise ValueError(
                f"character {character!r} (U+{ord(character):04X}) was not in the training text of this "
                f"CharTokenizer of {len(self.characters)} characters; remove it, or use the BPE Tokenizer"
            ) from None

    def _content(self) -> dict[str, Any]:
        return {"characters": "".join(self.characters)}

    @classmethod
    def _from_content(cls, content: dict[str, Any]) -> Self:
        _check_keys(content, {"special_tokens", "characters"})
        if not isinstance(content["characters"], str):
            raise ValueError(f"'characters' must be a string, not {type(content['characters']).__name__}")
        return cls(tuple(content["characters"]), content["special_tokens"])


_FILE_TYPES: dict[str, type[Tokenizer | CharTokenizer]] = {"bpe": Tokenizer, "char": CharTokenizer}


def _learn_merges(words: dict[bytes, int], number: int, show_progress: bool) -> Iterator[tuple[bytes, bytes]]:
    """The first `number` merges of BPE, or as many as there are, for distinct words and how often each occurs."""
    corpus = _Corpus(words)
    table = [bytes([value]) for value in range(256)]
    queue = [(-count, pair) for pair, count in corpus.counts.items()]
    heapify(queue)
    with tqdm(total=number, desc="merges", disable=not show_progress) as progress:
        while queue and len(table) < 256 + number:
            count, pair = heappop(queue)
            if corpus.counts.get(pair) != -count:
                continue  # out of date: the pair was queued again when its count changed
            left, right = (table[token_id] for token_id in pair)
            for changed in corpus.join(pair, len(table)):
                if changed in corpus.counts:
                    heappush(queue, (-corpus.counts[changed], changed))
            table.append(left + right)
            progress.update()
            yield left, right


class _Corpus:
    """All distinct words in one linked list of tokens, with the count and the places of each pair of neighbours.

    A join costs as much as the places it changes: counts are updated, never taken again.
    """

    def __init__(self, words: dict[bytes, int]) -> None:
        self.ids = [value for word in words for value in word]
        self.weights = [count for word, count in words.items() for _ in word]
        self.before, self.after = _links(len(word) for word in words)
        self.counts: Counter[Pair] = Counter()
        self.places: defaultdict[Pair, set[int]] = defaultdict(set)
        for start in range(len(self.ids)):
            self._count(start, 1)

    def join(self, pair: Pair, new_id: int) -> set[Pair]:
        """Put new_id wherever the pair stands, from the left; returns the pairs whose counts changed."""
        changed: set[Pair | None] = set()
        for left in sorted(self.places[pair]):
            right = self.after[left]
            if right < 0 or (self.ids[left], self.ids[right]) != pair:
                continue  # the two pairs in "x x x" overlap, and the first has been joined
            changed |= {self._count(start, -1) for start in (self.before[left], left, right)}
            _join(self.ids, self.before, self.after, left, new_id)
            changed |= {self._count(start, 1) for start in (self.before[left], left)}
        return {changed_pair for changed_pair in changed if changed_pair}

    def _count(self, start: int, sign: int) -> Pair | None:
        """Count the pair that starts at a place in (sign 1) or out (sign -1); returns the pair, if there is one."""
        if start < 0 or self.after[start] < 0:
            return None
        pair = self.ids[start], self.ids[self.after[start]]
        self.counts[pair] += sign * self.weights[start]
        if sign > 0:
            self.places[pair].add(start)
        else:
            self.places[pair].remove(start)
            if not self.places[pair]:
                del self.places[pair], self.counts[pair]
        return pair


def _links(lengths: Iterable[int]) -> tuple[list[int], list[int]]:
    """The linked list of words end to end: the place before and the place after each place, -1 at a word's edge."""
    before: list[int] = []
    after: list[int] = []
    for length in lengths:
        start = len(before)
        before += [-1, *range(start, start + length - 1)]
        after += [*range(start + 1, start + length), -1]
    return before, after


def _join(ids: list[int], before: list[int], after: list[int], left: int, new_id: int) -> None:
    """Put new_id at `left` for the two tokens there; the place of the second is out of use, with id -1."""
    right = after[left]
    ids[left], ids[right] = new_id, -1
    after[left], after[right] = after[right], -1
    if after[left] >= 0:
        before[after[left]] = left


def _checked_text(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as fault:
        raise ValueError(
            f"text holds a lone surrogate, U+{ord(text[fault.start]):04X}, at position {fault.start}: half a character "
            "that no bytes can stand for; remove it, for example with text.encode('utf-8', 'replace').decode()"
        ) from None
    return text


def _checked_texts(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        raise TypeError("texts must be several texts, for example a list: put a single text in brackets, [text]")
    return map(_checked_text, texts)


def _checked_special_tokens(names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"special_tokens must be a list of names, not {shown(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"special_tokens holds a name twice: {shown(list(names))}")
    return tuple(_checked_text(name) for name in names)


def _checked_merge(number: int, merge: Sequence[bytes], token_ids: dict[bytes, int]) -> tuple[bytes, bytes]:
    if not (isinstance(merge, Sequence) and len(merge) == 2 and all(isinstance(part, bytes) for part in merge)):
        raise TypeError(f"merge {number} must be a pair of bytes, not {shown(merge)}")
    left, right = merge
    for part in merge:
        if part not in token_ids:
            raise ValueError(f"merge {number}, {shown(left)} + {shown(right)}: {shown(part)} is not a token yet")
    if left + right in token_ids:
        raise ValueError(f"merge {number}, {shown(left)} + {shown(right)}: {shown(left + right)} is a token already")
    return left, right


def _set(instance: _Vocabulary, **values: Any) -> None:
    """Set attributes of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(instance, name, value)


def _read_file(path: str | Path) -> dict[str, Any]:
    """A tokenizer file's content, after the checks that both types share."""
    content, path = read_json(Path(path)), plain(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a tokenizer file holds one JSON object, not a {type(content).__name__}")
    version = content.get("version")
    if type(version) is not int or version != _FILE_VERSION:
        raise ValueError(
            f"{path}: version {shown(version)} of the tokenizer file format; this library reads {_FILE_VERSION}"
        )
    kind = content.get("type")
    if not isinstance(kind, str) or kind not in _FILE_TYPES:
        raise ValueError(f"{path}: unknown type {shown(kind)}; known are {', '.join(map(repr, _FILE_TYPES))}")
    return content


def _check_keys(content: dict[str, Any], expected: set[str]) -> None:
    if content.keys() != expected:
        missing, unknown = sorted(expected - content.keys()), sorted(content.keys() - expected)
        raise ValueError(f"keys missing: {missing}, keys unknown: {shown(unknown)}")
    if not isinstance(content["special_tokens"], list):
        raise ValueError(f"'special_tokens' must be a list of names, not {shown(content['special_tokens'])}")


def _is_latin(part: Any) -> bool:
    return isinstance(part, str) and all(ord(character) < 256 for character in part)
