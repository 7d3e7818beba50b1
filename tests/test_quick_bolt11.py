"""What the tests' LNbits does faster is what the library does."""

from __future__ import annotations

import pytest
import quick_bolt11
from bolt11 import bit_utils
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.pure


@given(st.lists(st.integers(0, 31), max_size=60))
def test_an_invoices_bits_are_those_of_the_library(words: list[int]) -> None:
    bits = bit_utils.u5_to_bitarray(words)
    assert quick_bolt11.bits_of(words) == bits
    assert quick_bolt11.words_of(bits) == bit_utils.bitarray_to_u5(bits) == words
