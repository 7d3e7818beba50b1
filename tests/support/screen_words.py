"""The words of the screens, as the page has them: read from `static/i18n/`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent.parent / "static" / "i18n"
LANGUAGES = ("en", "es")
_USER_ID = re.compile("[0-9a-f]{32}")
_TOKEN = re.compile(
    r"(?P<open>\w+): \{|(?P<close>\})|(?P<name>\w+):\s*(?P<text>'[^']*'|\"[^\"]*\")"
)


@cache
def words(language: str) -> dict[str, str]:
    """Every message of a language by its dotted name, without `satmachine.`."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.rglob(f"{language}.js")):
        at: list[str] = []
        for token in _TOKEN.finditer(path.read_text()):
            if token["open"]:
                at.append(token["open"])
            elif token["close"] and at:
                at.pop()
            elif token["name"]:
                found[".".join([*at[1:], token["name"]])] = token["text"][1:-1]
    return found


def without_words(*names: str) -> list[str]:
    """Those of the dotted names that a language has no words for."""
    return [
        f"{language}: {name}"
        for language in LANGUAGES
        for name in names
        if name not in words(language)
    ]


def of_the_log(entry: Mapping[str, Any]) -> list[str]:
    """What `write_audit` was called with and the log has no words for."""
    names = [f"audit_action.{entry['action']}", f"subject.{entry['subject_type']}"]
    if not _USER_ID.fullmatch(entry["actor"]):
        names.append(f"audit_actor.{entry['actor']}")
    for facts in (entry["before_json"], entry["after_json"]):
        names += [f"field.{name}" for name in json.loads(facts or "{}")]
    return without_words(*names)
