"""An invoice's bits in one go.

The bolt11 library reads and writes an invoice five bits at a time, each a call of the
parser of bitstring's formats: nine tenths of decoding one, which LNbits does for each
payment twice, and a seventh of what a test of paying costs. The tests' shared LNbits
does the same at once; servers that tests start as processes have the library's way.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bitstring import BitArray, Bits


def bits_of(words: list[int]) -> BitArray:
    """Of numbers below 32."""
    return BitArray(bin="".join(f"{word:05b}" for word in words))


def words_of(bits: Bits) -> list[int]:
    assert len(bits) % 5 == 0
    text = bits.bin
    return [int(text[at : at + 5], 2) for at in range(0, len(text), 5)]


def quicken() -> None:
    # the package's functions of these names hide its modules
    decoding: Any = import_module("bolt11.decode")
    encoding: Any = import_module("bolt11.encode")
    assert decoding.u5_to_bitarray and encoding.bitarray_to_u5
    decoding.u5_to_bitarray = bits_of
    encoding.bitarray_to_u5 = words_of
