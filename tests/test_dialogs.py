"""Every dialog and every list of the page, by what its template says of it."""

from __future__ import annotations

import re
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "static"
TEMPLATES = [*STATIC.glob("components/*.vue"), *STATIC.glob("screens/*.vue")]
# A password is not kept; what stands in the others is chosen, not typed.
NOTHING_TYPED = {"session", "pairing", "statement", "dialog"}


def test_every_dialog_asks_before_it_throws_away_what_was_typed() -> None:
    """The frame asks (tests/browser/test_typed.py); each dialog tells it what was
    typed, and nobody makes a frame of their own for a form."""
    assert len(TEMPLATES) > 80
    for template in TEMPLATES:
        text = template.read_text()
        name = template.stem
        for opening in re.findall(r"<satm-dialog\b[^>]*>", text):
            if name not in NOTHING_TYPED:
                assert ":typed=" in opening, name
        if "<q-dialog" in text:
            assert name in NOTHING_TYPED, name
            assert "<q-input" not in text, name


def test_every_list_of_a_screen_keeps_its_state_in_the_address() -> None:
    """Filters, search, order and page survive Back and reload; a list within a thing's
    own page is short and has the whole list behind it."""
    for template in STATIC.glob("screens/*.vue"):
        for opening in re.findall(r"<satm-list\b[^>]*>", template.read_text()):
            assert re.search(r"\burl\b", opening), template.stem
            assert re.search(r"\bcsv\b", opening), template.stem


MEMBER = re.compile(r"^      (?:async )?(\w+)\([^)]*\) \{$", re.M)


def test_no_component_takes_a_name_that_all_of_them_have() -> None:
    """Vue lets a computed value of all hide a method of one, without a word."""
    text = (STATIC / "lib" / "components.js").read_text()
    shared = set(MEMBER.findall(text[: text.index("const isTransient")]))
    assert {"narrow", "phone", "words", "go"} <= shared
    for script in (*STATIC.glob("components/*.js"), *STATIC.glob("screens/*.js")):
        taken = shared & set(MEMBER.findall(script.read_text()))
        assert not taken, f"{script.stem}: {sorted(taken)}"
