"""Damage for files, drawn from a generator: any bytes, and with an eye to what is inside JSON, safetensors and PNG."""

from __future__ import annotations

import copy
import json
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

_LENGTHS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**53, 2**63 - 1)
_FLOATS = (math.nan, math.inf, -math.inf, 3e38, -3e38, 1e-45)
_TYPES = ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "I16", "U16", "F16", "BF16", "I32", "U32", "F32")
_WIDE_TYPES = ("F64", "I64", "U64", "C64", "F6_E2M3", "F6_E3M2", "Q4", "", "f32")
# JSON as text: what stands for a value after damage, also what Python's own writer would never write
_ODD_VALUES = (
    *("null", "true", "false", "0", "1", "-1", "0.5", "1e999", "-1e999", "1e308", "NaN", "Infinity", "-Infinity"),
    *("1073741824", "9223372036854775807", "9" * 40, "9" * 400, "9" * 5000, '""', '" "', "[]", "{}", "[[]]", "[null]"),
    *(r'"\u001b[2J\u001b]0;x\u0007"', r'"\ud800"', r'"\u0000"', r'"\u202e"', '"../../x"', '"/dev/zero"', '"<|end|>"'),
    *('"' + "x" * 70_000 + '"', '"a\\nb"', "[" * 600 + "]" * 600, '{"a":' * 900 + "0" + "}" * 900, "[" * 100_000),
)
_MARK = "\ue000 odd \ue000"


def damage_bytes(random: Random, content: bytes, tokens: Sequence[bytes] = ()) -> bytes:
    """A few places flipped, cut, doubled, moved, or replaced by a token or by a length that no file has."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        place = random.randrange(len(data) + 1)
        end = place + random.choice((0, 1, 1, 2, 4, 10, 40))
        kind = random.randrange(9)
        if kind == 0 and random.random() < 0.5:
            del data[place:]
        elif kind <= 2:
            data[place : place + 1] = bytes([data[place] ^ 1 << random.randrange(8)]) if place < len(data) else b"\0"
        elif kind == 3:
            data[place : place + 4] = _number(random)
        elif kind == 4:
            del data[place:end]
        elif kind == 5:
            data[place:end] = data[place:end] * random.choice((2, 2, 3, 50))
        elif kind == 6:
            other = random.randrange(len(data) + 1)
            data[place:end] = data[other : other + end - place]
        elif kind == 7 and tokens:
            data[place:end] = random.choice(tokens)
        else:
            data[place:end] = random.randbytes(random.choice((1, 1, 2, 8)))
    return bytes(data)


def _number(random: Random) -> bytes:
    """A length or a float in some byte order: what a reader may take at its word."""
    if random.random() < 0.3:
        return struct.pack(random.choice("<>") + "f", random.choice(_FLOATS))
    width = random.choice((1, 2, 4, 8))
    value = random.choice(_LENGTHS) & (1 << 8 * width) - 1
    return value.to_bytes(width, random.choice(("little", "big")))


def damage_json(random: Random, content: bytes) -> bytes:
    """One or two of the values, at any depth, gone, doubled, renamed, swapped for another, or of another type."""
    value = json.loads(content)
    for _ in range(random.choice((1, 1, 1, 2))):
        value = _damage_value(random, value)
    text = json.dumps(value, ensure_ascii=random.random() < 0.5)
    for mark in (json.dumps(_MARK), json.dumps(_MARK, ensure_ascii=False)):
        text = text.replace(mark, random.choice(_ODD_VALUES))
    if random.random() < 0.05:
        return damage_bytes(random, text.encode("utf-8", "surrogatepass"))
    return text.encode("utf-8", "surrogatepass")


def _damage_value(random: Random, root: Any) -> Any:
    """The value with one place in it changed; each depth is as likely as the others."""
    value, holder, key = root, None, None
    while isinstance(value, (dict, list)) and value and random.random() < 0.75:
        holder, key = value, random.choice([*value] if isinstance(value, dict) else range(len(value)))
        value = holder[key]
    if holder is None:
        return _MARK
    kind = random.randrange(7)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[random.choice((key + "x", key.upper(), "", "\x1b[31m", "__class__", "x" * 3000))] = holder.pop(key)
    elif kind == 2:
        other = random.choice([*holder] if isinstance(holder, dict) else range(len(holder)))
        holder[key], holder[other] = copy.deepcopy(holder[other]), holder[key]
    elif kind == 3:
        holder[key] = random.choice(([value], {"a": value}, str(value), [value] * 300))
    elif kind == 4 and isinstance(value, (int, float)):
        holder[key] = random.choice((-value, value + 1, value * 2, value // 2, value * 10**6, 2**62, float(value)))
    elif kind == 5 and isinstance(value, str):
        holder[key] = random.choice((value + "\x1b[2J", value * 3, value[:-1], value + "\0", value + "\ud800"))
    else:
        holder[key] = _MARK
    return root


def damage_safetensors(random: Random, content: bytes) -> bytes:
    """The length of the header, its JSON, a tensor's type, shape or name, or numbers that are not finite."""
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + size]), bytearray(content[8 + size :])
    kind = random.randrange(7)
    if kind == 0:
        return random.choice(_LENGTHS).to_bytes(8, "little") + content[8:]
    if kind == 1:
        return damage_bytes(random, content)
    if kind == 2:
        return _safetensors(damage_json(random, json.dumps(header).encode()), data)
    name = random.choice([name for name in header if name != "__metadata__"])
    entry = header[name]
    if kind == 3:
        place = random.randrange(*entry["data_offsets"]) if entry["data_offsets"][1] > entry["data_offsets"][0] else 0
        data[place - place % 4 : place - place % 4 + 4] = struct.pack("<f", random.choice(_FLOATS))
    elif kind == 4:
        entry["dtype"] = random.choice(_TYPES + _WIDE_TYPES)
        _resize(entry, header, data)
    elif kind == 5:
        entry["shape"] = random.choice(([], [0], [1], entry["shape"][::-1], [*entry["shape"], 1], [2**40, 0], [2**62]))
        _resize(entry, header, data)
    else:
        header[random.choice(("x", "", name + "x", "\x1b[2J" + name, "a\nb", "0/0/exp_avg", "9/9/9"))] = header.pop(
            name
        )
    return _safetensors(json.dumps(header).encode(), data)


def _resize(entry: dict[str, Any], header: dict[str, Any], data: bytearray) -> None:
    """Give a tensor as many bytes as its type and shape now ask for, if that can be, and move the others."""
    bits = {"BOOL": 8, "F4": 4, "C64": 64, "BF16": 16}.get(entry["dtype"]) or int("0" + entry["dtype"][1:3].strip("_E"))
    wanted = math.prod(entry["shape"]) * (bits or 32) // 8
    start, end = entry["data_offsets"]
    if not bits or wanted > 100_000:
        return
    data[start:end] = (data[start:end] * (wanted // max(1, end - start) + 1))[:wanted].ljust(wanted, b"\0")
    for other in header.values():
        if "data_offsets" in other and other["data_offsets"][0] >= end and other is not entry:
            other["data_offsets"] = [offset + wanted - (end - start) for offset in other["data_offsets"]]
    entry["data_offsets"] = [start, start + wanted]


def _safetensors(header: bytes, data: bytes | bytearray) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(data)


def damage_png(random: Random, content: bytes) -> bytes:
    """Chunks gone, doubled, swapped, renamed, or with other content, all with sums that are right again."""
    chunks, place = [], 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append([content[place + 4 : place + 8], content[place + 8 : place + 8 + size]])
        place += 12 + size
    number = random.randrange(len(chunks))
    kind = random.randrange(7)
    if kind == 0:
        sides = [random.choice((0, 1, 3, 20_000, 9_000, 2**31 - 1, 2**32 - 1)) for _ in "wh"]
        chunks[0][1] = struct.pack(">II", *sides) + chunks[0][1][8:]
    elif kind == 1:
        header = bytearray(chunks[0][1])
        header[random.randrange(8, 13)] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        chunks[0][1] = bytes(header)
    elif kind == 2:
        del chunks[number]
    elif kind == 3:
        chunks.insert(number, chunks[random.randrange(len(chunks))])
    elif kind == 4:
        chunks[number] = [random.choice(_PNG_NAMES), chunks[number][1]]
    elif kind == 5:
        chunks[number] = [chunks[number][0], damage_bytes(random, chunks[number][1])]
    else:
        chunks.insert(random.randrange(len(chunks) + 1), [*random.choice(_PNG_INSERTED)])
    return content[:8] + b"".join(map(_chunk, chunks))


def _chunk(chunk: Sequence[bytes]) -> bytes:
    name, body = chunk
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


_PNG_NAMES = (
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"gAMA",
    b"acTL",
    b"fcTL",
    b"fdAT",
    b"eXIf",
    b"iCCP",
    b"xxxx",
)
_BOMB = zlib.compress(bytes(20_000_000), 9)
_PNG_INSERTED = (
    (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
    (b"acTL", b""),
    (b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 1, 0, 0, 0, 0, 9, 9)),
    (b"fdAT", b"\0\0\0\1"),
    (b"tRNS", b"\0"),
    (b"PLTE", bytes(3)),
    (b"gAMA", bytes(4)),
    (b"pHYs", b"\xff"),
    (b"eXIf", b"MM\0\x2a\xff\xff\xff\xff"),
    (b"iCCP", b"x\0\0" + _BOMB),
    (b"zTXt", b"x\0\0" + _BOMB),
    (b"iTXt", b"x\0\1\0\0\0" + _BOMB),
    (b"tEXt", b"\x1b[2J\0\x1b]0;x\x07"),
    (b"IEND", b""),
)

Damage = Callable[[Random, bytes], bytes]


def damage_for(name: str, content: bytes) -> list[Damage]:
    """The kinds of damage that suit a file, by its name and first bytes."""
    if name.endswith(".safetensors"):
        return [damage_safetensors]
    if name.endswith((".json", ".ipynb")):
        return [damage_bytes, damage_json, damage_json, damage_json]
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return [damage_bytes, damage_png, damage_png]
    return [damage_bytes]
