"""Screens in every look: both sizes, both themes, both languages; what is wrong."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from stage import Stage, Watched

from dev.accounts import UserSession

LOOKS = list(itertools.product((False, True), (True, False), ("en", "es")))
# axe takes a second: both sizes, both themes and both languages, once.
FOR_SCREEN_READERS = ((False, True, "en"), (True, False, "es"))
# Between a phone and a desk: the table that becomes cards, LNbits' drawer.
BETWEEN = (768, 1024)
# An icon that the font has not is a word, which is wider than it is high.
NO_ICON = """() => [...document.querySelectorAll('.satm .q-icon')]
  .filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.textContent)"""
# What a screen says that was given what it did not think of.
NO_WORDS = ("[object", "undefined", "NaN", "satmachine.")


async def look_at(
    watched: Watched, path: str, looks: Iterable[tuple[bool, bool, str]] = LOOKS
) -> list[str]:
    """What is wrong with the open page, in every look."""
    wrong: list[str] = []
    for phone, dark, language in looks:
        look = f"{path} {'phone' if phone else 'desk'} {'dark' if dark else 'light'}"
        await watched.wear(phone=phone, dark=dark, language=language)
        if await watched.sideways() > 0:
            wrong.append(f"{look} {language}: scrolls sideways")
        wrong += [f"{look} {language}: cut {e}" for e in await watched.cut_off()]
        if (phone, dark, language) in FOR_SCREEN_READERS:
            wrong += [f"{look}: {finding}" for finding in await watched.unreadable()]
    for width in BETWEEN:
        await watched.page.set_viewport_size({"width": width, "height": 900})
        await watched.fits()
        if await watched.sideways() > 0:
            wrong.append(f"{path} at {width}: scrolls sideways")
        wrong += [f"{path} at {width}: cut {e}" for e in await watched.cut_off()]
    missing = await watched.page.evaluate(NO_ICON)
    wrong += [f"{path}: no icon {one}" for one in missing]
    text = await watched.page.locator(".satm").first.inner_text()
    wrong += [f"{path}: says {word}" for word in NO_WORDS if word in text]
    if await watched.page.evaluate("'ran' in window"):
        wrong.append(f"{path}: a name was run")
    wrong += [f"{path}: {problem}" for problem in watched.problems]
    watched.problems.clear()
    return wrong


async def screens_of(stage: Stage, who: UserSession, paths: list[str]) -> list[str]:
    watched = await stage.open(who, paths[0])
    wrong: list[str] = []
    for path in paths:
        if path != paths[0]:
            await stage.turn(watched, path)
            # a bookmark of it, or a reload, is no 404
            loaded = await who.core.get(f"/satmachineadmin/{path}")
            assert loaded.status_code == 200, path
        wrong += await look_at(watched, path)
    await watched.page.context.close()
    return wrong


def assert_none(wrong: list[str]) -> None:
    assert not wrong, "\n" + "\n".join(dict.fromkeys(wrong))
