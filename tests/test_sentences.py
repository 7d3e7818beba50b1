"""What the server says in English is said in Spanish on the Spanish screen.

The API's sentences are English: `detail`, `error_message`, what needs attention, the
differences of a reconciliation. The page translates them by the patterns in
`static/i18n/sentences/es.json` (`static/lib/sentences.js`). Here every text of the
source that reads like one is looked for among the patterns: a new sentence fails
until it has a Spanish one, or is listed below as shown on no screen.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import screen_words

from satmachineadmin.api.log_words import LOG_CODES

from dev import installation

pytestmark = pytest.mark.pure

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = ROOT / "static" / "i18n" / "sentences" / "es.json"

# Said to a machine, which reads English; or never said.
SILENT_FILES = {
    "__init__.py",
    "api/log_words.py",  # the log's words for it
    "api/reference.py",  # a page for programmers, in English
    "api/sheet_words.py",  # a spreadsheet's words, in both languages
    "books/accounting.py",  # the CSV's own words
    "books/trade_lines.py",  # the accounting file's words
    "books/opening.py",  # printed by a developers' tool
    "books/statement.py",  # the paper's words are in templates/words.jinja
    "host/balances_view.py",  # SQL, shown as it is
    "desk/digest.py",  # messages, on no screen
    "line/answers.py",
    "line/available.py",
    "line/calls.py",
    "line/crud.py",
    "line/engine.py",
    "line/payout.py",
    "line/verdicts.py",
    "migrations.py",
    "router.py",  # a name for LNbits' own pages
    "views.py",
}
# Calls whose texts are for developers: the log, OpenAPI, SQL.
SILENT_CALLS = re.compile(
    r"logger\.(opt\(.*\)\.)?\w+|\w*router\.\w+|Field|Query|Path|execute(_many)?|fetch_\w+"
)
SQL = re.compile(
    r"\b(SELECT|FROM|WHERE|UPDATE|INSERT|AND|ORDER|NULLS?|COALESCE|DELETE|CASE|EXISTS"
    r"|JOIN|WHEN|THEN|ELSE|SET|CONFLICT|CAST|UNION|ESCAPE|NOT|IN|AS|LIKE)\b"
    r"|[\w.{}]+ [=<>]+ |\.(dca|cash)_"
)
# In SQL a sentence stands between single quotes.
IN_SQL = re.compile(r"'([A-Z][^'=:]* [^'=:]+[.])'")

# What reads like a sentence and is on no screen by itself.
NOT_SHOWN = {
    # accounts, named one after another
    "splits operator_fees",
    # SQL of the journal's period
    "j.at {} :{}",
    # what a relay says begins with this, or holds it
    "slow down",
    "too many",
    "too many filters",
    # a loop that begins again says so in the log
    "what was waited for was cancelled",
    "a loop of the relays ended: {}",
    "a payment was cancelled from within",
    # a kind of LNbits' payments; the subject of a ValueError for developers
    "Admin credit",
    "The discount",
    "An entry of {} does not add up: {}.",
    # a plain-text file for accountants, and what its OpenAPI document says of it
    'option "title" "Satoshi Machine" option "operating_currency" "SAT"',
    "{}.journal j",
    "1970-01-01 open {}",
    "{} {} SAT",
    "What is held is positive, what is owed or kept is negative: the lines of an entry "
    "add up to 0 in sats, in fiat and in counter value, each.",
    "target: {}",
    # documentation and file names
    "npub or 64 hex",
    "{}=value, or {}[op]=value with op one of eq, ne, gt, ge, lt, le, in, ex{}",
    "The whole filtered list as CSV, formulas defused.",
    "Bad input; the sentence says which field, and why.",
    "Nobody is logged in.",
    "Not allowed: the extension is not enabled for the user, or only the super user "
    "may do this.",
    "No such row, or it is somebody else's.",
    "It conflicts with the present state.",
    "LNbits' own refusals, such as too many requests (429).",
    # frames and parts of sentences: what they make is among the patterns
    "{}: {}",
    "{}: {}.",
    "{} {}.",
    "{} {}",
    "{} {} {}",
    "{} UTC: {}",
    "The body",
    "Number {}:",
    "is missing",
    "must not be null",
    "must be true or false",
    "must be a whole number",
    "must be a list",
    "must be a JSON object",
    "must be a time like 2025-01-31T12:00:00Z",
    "(left out)",
    "a {}",
    "a number of more than 60 digits",
    "an object",
    "a list",
    "and {} more",
    "(And there are more like this.)",
    "(And {} more.)",
    # a mistake of ours, not of who looks at the screen
    "{} must be an int, not {}.",
    "{} must be a Decimal, not {}.",
    "{} is {}: it must be from 0 to 1.",
    "denominator is {}: it must be positive.",
    "A weight must be an int or a Decimal, not {}.",
    "A weight is {}: it must be finite.",
    "A weight is {}: it must not be negative.",
    "The relay pool is not running.",
    'Cassettes look like {"positions": {"1": {"denomination": 20, "count": 100}}}.',
    # about events of machines: in the log only
    "The event is dated more than ten minutes ahead.",
    "The event names no service key of ours.",
    "The content is not a JSON object.",
    "The content is wrong: {}",
    "No event of this name is read.",
    "A message may have at most {} bytes.",
    "{} is no JSON number",
    "a text holds a NUL character",
    "The message is not a JSON object.",
    "requestId is missing or longer than {} characters.",
    "rpcName must be text and body a JSON object.",
    "it is nested too deeply",
    "The message is not JSON: {}.",
    "The content is not NIP-44 version 2 for this service key.",
    # names of work, of states and of payments
    "plan {}",
    "round of wallet {}",
    "Satoshi Machine payout {}",
    "satmachineadmin: landed {} {} of {} sat ({}), {}",
    "{} x {}",
    "service key",
    "not tried",
    "in flight",
    "invoice failed",
    # LNbits' notifications, which are English
    "Satoshi Machine: {}",
    "{}: your deposit of {} is confirmed and at work.",
    "{}: you received {} sat for {}.",
    "{}: a customer paid {} sat for {}.",
    "{}: a customer brought {} for {} sat.",
    "{machine}: a visit was closed. What was counted differs by {difference} from what "
    "was expected.",
    "This is a test. You will be told what happens at your machines like this.",
    "(Over since {}.)",
    "{} messages.",
    "And {} more: open Satoshi Machine.",
    "Satoshi Machine",
}


def _text(node: ast.AST) -> str | None:
    """The text of a literal, `{}` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}"
            for part in node.values
        )
    return None


def _docstring(node: ast.AST) -> ast.AST | None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        if not isinstance(node, ast.AsyncFunctionDef):
            return None
    first = node.body[0] if node.body else None
    return first.value if isinstance(first, ast.Expr) else None


def _silent(tree: ast.AST) -> set[int]:
    """What is no sentence of its own: documentation, logs, parts of f-strings."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if (docstring := _docstring(node)) is not None:
            found.add(id(docstring))
        if isinstance(node, ast.Call):
            if SILENT_CALLS.fullmatch(ast.unparse(node.func)):
                found |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.JoinedStr):
            parts = [v for v in node.values if isinstance(v, ast.Constant)]
            found |= {id(part) for part in parts}
            for value in node.values:
                if isinstance(value, ast.FormattedValue) and value.format_spec:
                    found |= {id(inner) for inner in ast.walk(value.format_spec)}
    return found


def sentences() -> Iterator[tuple[str, str]]:
    """(where, text) of everything in the source that reads like a sentence."""
    for path in installation.package_sources():
        name = path.relative_to(ROOT).as_posix()
        if name in SILENT_FILES:
            continue
        tree = ast.parse(path.read_text())
        silent = _silent(tree)
        for node in ast.walk(tree):
            text = _text(node)
            if text is None:
                continue
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if SQL.search(text):
                yield from ((where, said) for said in IN_SQL.findall(text))
            elif id(node) not in silent and re.search(r"[a-z{}.:] [\w({]", text):
                yield where, " ".join(text.split())


def _regex(pattern: str) -> re.Pattern[str]:
    """The pattern as `static/lib/sentences.js` reads it."""
    parts = re.split(r"\{\w+\}", pattern)
    return re.compile("(.+?)".join(re.escape(part) for part in parts), re.DOTALL)


def _names(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


@pytest.fixture(scope="module")
def spanish() -> dict[str, str]:
    found: dict[str, str] = json.loads(PATTERNS.read_text())
    return found


def _filled(text: str) -> str:
    """As the server says it: something stands where something is filled in."""
    return text.replace("{}", "<1>")


def test_every_sentence_of_the_server_has_a_spanish_one(
    spanish: dict[str, str],
) -> None:
    patterns = [_regex(pattern) for pattern in spanish]
    said = [(where, text) for where, text in sentences() if text not in NOT_SHOWN]
    assert len(said) > 250
    without = [
        f"{where}: {text}"
        for where, text in said
        if not any(p.fullmatch(_filled(text)) for p in patterns)
    ]
    assert without == [], "add them to static/i18n/sentences/es.json, or to NOT_SHOWN"


def test_no_pattern_is_of_a_sentence_that_is_gone(spanish: dict[str, str]) -> None:
    said = "\n".join(text for _, text in sentences())
    gone = []
    for pattern in spanish:
        literals = re.split(r"\{\w+\}", pattern)
        longest = max(literals, key=len).strip(" .:")
        if longest not in said:
            gone.append(pattern)
    assert gone == []
    assert sorted(NOT_SHOWN - {text for _, text in sentences()}) == []


def test_the_log_has_words_for_its_codes() -> None:
    """What is written to it while the tests run is checked in `conftest.py`."""
    entry = {"actor": "nobody", "action": "machine.change", "subject_type": "machine"}
    facts = {"before_json": None, "after_json": '{"status": 1, "odd": 2}'}
    missing = screen_words.of_the_log({**entry, **facts})
    assert missing == [
        f"{language}: {name}"
        for language in ("en", "es")
        for name in ("audit_actor.nobody", "field.odd")
    ]
    # what the SQL of the log makes of actors, and what other readers see of a status
    actors = ("super", "operator", "lp", "engine", "machine", "system", "another_user")
    names = [f"audit_actor.{one}" for one in actors]
    names += [f"dispense_state.{one}" for one in ("awaiting", "confirmed", "partial")]
    names += ["dca_mode.flow", "dca_mode.fixed"]
    assert screen_words.without_words(*names) == []


def test_a_translation_fills_in_what_its_sentence_gives(
    spanish: dict[str, str],
) -> None:
    wrong = [p for p, text in spanish.items() if not _names(text) <= _names(p)]
    assert wrong == []


def test_spanish_is_formal_and_cash_in_is_no_income() -> None:
    """*Usted* throughout; what customers put in is *efectivo recibido*: *ingresos* is
    what a business earns."""
    folder = ROOT / "static" / "i18n"
    files = [*folder.glob("**/es.js*"), ROOT / "templates" / "words.jinja"]
    assert len(files) > 7
    wrong = re.compile(
        r"\b(tú|tus?|ti|tuy[oa]s?|contigo|te (debe|paga|env[ií]a)|ingresos?)\b", re.I
    )
    found = [
        f"{file.name}: {line.strip()}"
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if wrong.search(line)
    ]
    assert found == []


# What programs say among themselves.
_CODE = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")


def test_no_screen_says_a_code() -> None:
    """The words of the screens say no field's name; for those that the server's
    sentences say, the page has words (`plain` in `static/lib/sentences.js`)."""
    for language in screen_words.LANGUAGES:
        known = screen_words.words(language)
        said = {
            f"{language} {name}: {text}"
            for name, text in known.items()
            if _CODE.search(re.sub(r"\{\w+\}", "", text)) and "DROP INDEX" not in text
        }
        assert said == set()
        codes = {
            code
            for _, text in sentences()
            if text not in NOT_SHOWN
            for code in _CODE.findall(text)
        }
        groups = ("field", "tx_type", "settlement_status", "leg_type")
        unknown = {c for c in codes if not any(f"{g}.{c}" in known for g in groups)}
        assert unknown == set(), language


def test_the_log_is_called_the_same_in_a_spreadsheet() -> None:
    """What happened, to what, by whom: the words of the screens."""
    groups = {"action": "audit_action", "subject_type": "subject"}
    for column, codes in LOG_CODES.items():
        group = groups.get(column, "audit_actor")
        for place, language in enumerate(screen_words.LANGUAGES):
            said = {
                name.removeprefix(f"{group}."): text
                for name, text in screen_words.words(language).items()
                if name.startswith(f"{group}.")
            }
            theirs = {
                code if column == "action" else code.replace(" ", "_"): both[place]
                for code, both in codes.items()
                if code != "you"
            }
            assert theirs == said, (column, language)
