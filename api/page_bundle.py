"""The page's files as one script, and the words of a language as another.

The browser asked for each component, screen and style by itself: 45 of the 57 requests
of the first screen. Put together on the server they are two, without a build step: the
files stay what people edit, and the script follows them. It is asked for anew at each
visit and answered with 304 as long as nothing changed; a version in the address would
have to stand in `static/index.js`, which LNbits' browsers keep as they like.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response

from .rights import RIGHTS

STATIC = Path(__file__).resolve().parent.parent / "static"
# In this order: each uses what those before it made.
LIB = (
    *("api", "format", "typed", "sentences", "store", "help", "components"),
    "contrast",
)
STYLES = ("page", "parts", "screens")
PARTS = ("components", "screens")
WORDS = ("", "desk", "log", "platform", "cash", "team", "insight", "books")
LANGUAGES = ("en", "es")

# Adds a style or templates to the document, as LNbits' loaders do.
_ADD = """window.satmachine = window.satmachine || {}
window.satmachine.add = (tag, text) => {
  const made = document.createElement(tag)
  made[tag === 'style' ? 'textContent' : 'innerHTML'] = text
  document[tag === 'style' ? 'head' : 'body'].appendChild(made)
}
"""


@dataclass(frozen=True)
class Bundle:
    body: bytes
    zipped: bytes
    etag: str


_made: dict[tuple[str, int], Bundle] = {}


def _pack(name: str, files: list[Path], text: str) -> Bundle:
    body = text.encode()
    digest = hashlib.sha256(body).hexdigest()[:20]
    bundle = Bundle(body, gzip.compress(body, mtime=0), f'"{digest}"')
    for old in [key for key in _made if key[0] == name]:
        del _made[old]
    _made[(name, _newest(files))] = bundle
    return bundle


def _newest(files: list[Path]) -> int:
    """A sign of the files as they are: it moves with every edit."""
    return sum(file.stat().st_mtime_ns for file in files)


def page_bundle() -> Bundle:
    """Styles, templates and scripts of all screens."""
    styles = [STATIC / "css" / f"{name}.css" for name in STYLES]
    lib = [STATIC / "lib" / f"{name}.js" for name in LIB]
    parts = [file for part in PARTS for file in sorted((STATIC / part).glob("*.js"))]
    templates = [file.with_suffix(".vue") for file in parts]
    files = [*styles, *lib, *parts, *templates]
    known = _made.get(("page", _newest(files)))
    if known:
        return known
    css = "\n".join(file.read_text() for file in styles)
    html = "\n".join(file.read_text() for file in templates)
    scripts = (f"{file.read_text()}\n;\n" for file in [*lib, *parts])
    text = (
        f"{_ADD}satmachine.add('style', {json.dumps(css)})\n"
        f"satmachine.add('div', {json.dumps(html)})\n"
        # what is closed to who works for an operator is not offered to them
        f"satmachine.rights = {json.dumps(_rights())}\n{''.join(scripts)}"
    )
    return _pack("page", files, text)


def _rights() -> dict[str, list[str]]:
    return {route: sorted(roles) for route, roles in RIGHTS.items()}


def words_bundle(language: str) -> Bundle:
    """All messages of a language of `LANGUAGES`."""
    files = [STATIC / "i18n" / part / f"{language}.js" for part in WORDS]
    known = _made.get((language, _newest(files)))
    if known:
        return known
    text = "".join(f"{file.read_text()}\n;\n" for file in files)
    return _pack(language, files, text)


def script_answer(request: Request, bundle: Bundle) -> Response:
    """The script, or 304 to who has it already."""
    headers = {
        "ETag": bundle.etag,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
    }
    if bundle.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = bundle.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = bundle.zipped
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type="text/javascript; charset=utf-8", headers=headers)
