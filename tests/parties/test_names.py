"""A name in a notice is a name and nothing else."""

from __future__ import annotations

import pytest

from satmachineadmin.parties.names import quoted

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Corner shop", '"Corner shop"'),
        ("Doña Ana  \n 24 h", '"Doña Ana 24 h"'),
        ('a "quoted" one', "\"a 'quoted' one\""),
        (None, '"…"'),
        ("", '"…"'),
        ("https://evil.example/login", '"…"'),
        (
            "Your wallet is locked: HTTP://evil.example now",
            '"Your wallet is locked: now"',
        ),
        ("open evil.example/x today", '"open today"'),
        ("evil\u3002example", '"…"'),
        ("\uff48\uff54\uff54\uff50\uff53://evil", '"…"'),
        ("write to me@evil.example", '"write to"'),
        ("javascript://x", '"…"'),
        ("No. 5", '"No. 5"'),
        ("\u202eelpmaxe\u202c", '"elpmaxe"'),
        ("<a href=x>shop</a>", '"<a href=x>shop</a>"'),
    ],
)
def test_what_is_left_of_a_name(name: str | None, shown: str) -> None:
    assert quoted(name) == shown


def test_a_long_name_is_cut_at_60() -> None:
    assert quoted("W" * 61) == '"' + "W" * 59 + '…"'
    assert quoted("W" * 60) == '"' + "W" * 60 + '"'
