"""Names that people gave, as our own sentences carry them to others.

LNbits sends our notices as its own: a name must not be able to say anything there but
a name. It is quoted, cut at 60 characters, and its links, line breaks and marks that
turn the reading direction are taken out.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 60
NAMELESS = "…"

# A scheme and what follows; an address of mail or Lightning; a host with a dot in it.
_LINKS = (
    r"\S*[a-z][a-z0-9+.-]*:/{1,2}\S*",
    r"\S*@\S+",
    r"\S*\w[.\u3002\uff0e]\w{2}\S*",
)
_LINK = re.compile("|".join(_LINKS), re.IGNORECASE)
_QUOTES = str.maketrans(dict.fromkeys('"“”„«»', "'"))


def without_links(text: str) -> str:
    """The text as one line, with what could be followed or could disguise taken out."""
    plain = unicodedata.normalize("NFKC", text)
    visible = "".join(
        " " if unicodedata.category(c)[0] in "ZC" and c != "\u200d" else c
        for c in plain
    )
    return " ".join(_LINK.sub(" ", visible).split())


def quoted(name: str | None) -> str:
    """A name for a notice, in quotes."""
    cut = without_links(name or "").translate(_QUOTES)
    if len(cut) > MAX_LENGTH:
        cut = cut[: MAX_LENGTH - 1].rstrip() + "…"
    return f'"{cut or NAMELESS}"'
