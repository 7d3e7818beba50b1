"""The guides: every link leads somewhere, what must be complete is, and their commands
do what they say.

Commands in blocks marked `sh run` are run, page by page, in a folder with the files of
an LNbits on SQLite. Everything else is read as text.
"""

from __future__ import annotations

import ast
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from screen_words import words

from dev import dist, hosts
from dev.installation import ROOT, package_sources

pytestmark = pytest.mark.pure

DOCS = ROOT / "docs"
GUIDES = sorted(path for path in dist.guides() if path.suffix == ".md")
SPANISH = sorted(path for path in GUIDES if path.parent.name == "es")
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"(?ms)^```sh run\n(.*?)^```$")
_CODE = re.compile(r"(?ms)^```.*?^```$")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def places(path: Path) -> set[str]:
    """The anchors of a page: of its headings as forges make them, and its own."""
    text = _CODE.sub("", read(path))
    found = set(re.findall(r'<a id="([\w-]+)">', text))
    for heading in re.findall(r"(?m)^#+ (.+)$", text):
        kept = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(kept.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_CODE.sub("", read(page))):
        if re.match(r"[a-z]+://", link):
            continue
        name, _, place = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), f"{named(page)} links to {link}"
        if place:
            assert place in places(target), f"{named(page)} links to {link}"
        # What is served has nothing beside it but what is served.
        if page in GUIDES and name:
            shipped = {(ROOT / path).resolve() for path in dist.runtime_files()}
            assert target in shipped, f"{named(page)} links to {link}"


def test_the_index_leads_to_the_pages_of_each_reader() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in GUIDES}
    wanted = (
        "operator lp collector administrator backup troubleshooting api faq".split()
    )
    assert {f"{name}.md" for name in [*wanted, "machines", "support"]} <= pages
    assert {f"es/{name}.md" for name in ("operator", "lp", "collector")} <= pages


# ------------------------------------------------------------------------- complete


def kinds_of_attention() -> set[str]:
    """The kinds that the code makes: by what `Kind`, `Gone`, `AttentionItem` say."""
    found = set()
    for path in package_sources():
        if path.parent.name != "desk":
            continue
        for node in ast.walk(ast.parse(read(path))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id not in ("Kind", "Gone", "AttentionItem"):
                continue
            named_so = [k.value for k in node.keywords if k.arg == "kind"]
            for said in [*node.args[:1], *named_so]:
                if isinstance(said, ast.Constant):
                    found.add(str(said.value))
    return found


def table_under(heading: str) -> set[str]:
    """The codes in the first column of the table under a heading."""
    text = read(DOCS / "troubleshooting.md").partition(f"\n## {heading}\n")[2]
    return set(re.findall(r"(?m)^\| `(\w+)`", text.partition("\n## ")[0]))


def test_every_kind_of_attention_is_explained() -> None:
    kinds = kinds_of_attention()
    assert {"leg_failed", "lp_gone", "low_cash", "no_fee_wallet", "unstamped"} <= kinds
    text = read(DOCS / "troubleshooting.md").partition("## States of a payment")[0]
    told = re.findall(
        r'<a id="(\w+)"></a>\n### .+\n\n\*\*Cause\.\*\* .*\*\*Do\.\*\* ', text
    )
    assert set(told) == kinds and len(told) == len(kinds)
    # The page's list of icons knows them too, and both languages have their words.
    shown = read(ROOT / "static" / "components" / "attention.js")
    assert set(re.findall(r"(?m)^    (\w+): \[", shown)) == kinds
    for language in ("en", "es"):
        missing = {k for k in kinds if f"attention_kind.{k}" not in words(language)}
        assert not missing, language


def test_every_state_is_explained() -> None:
    def of_screen(group: str) -> set[str]:
        return {n.split(".")[1] for n in words("en") if n.startswith(f"{group}.")}

    assert table_under("States of a payment") == of_screen("leg_status")
    assert table_under("States of a settlement") == of_screen("settlement_status")
    tree = ast.parse(read(ROOT / "models.py"))
    (codes,) = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "WaitCode"
    ]
    values = {
        node.value.value
        for node in codes.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    assert table_under("Why a payment waits") == values


def test_the_screens_help_leads_to_paragraphs() -> None:
    text = read(ROOT / "static" / "lib" / "help.js")
    targets = re.findall(r"(?m)^  (\w+): '([\w-]+)#([\w-]+)'", text)
    assert len(targets) > 10
    for screen, page, place in targets:
        assert f"'{screen}'" in read(ROOT / "static" / "index.js")
        pages = [DOCS / f"{page}.md", DOCS / "es" / f"{page}.md"]
        for path in pages:
            if path.exists():
                assert place in places(path), f"{screen}: {named(path)}#{place}"
    (listed,) = re.findall(
        r"SPANISH = \[(.*?)\]", read(ROOT / "static" / "screens" / "help.js")
    )
    assert sorted(re.findall(r"\w+", listed)) == [path.stem for path in SPANISH]


def test_the_support_matrix_says_what_is_run() -> None:
    text = read(DOCS / "support.md")
    workflow = read(ROOT / ".github" / "workflows" / "check.yml")
    pythons = re.findall(
        r"'(3\.\d+)'", workflow.partition("python: [")[2].split("]")[0]
    )
    assert f"| LNbits | {', '.join(hosts.VERSIONS)} |" in text
    assert f"| Python | {', '.join(pythons)} |" in text
    for command in ("make quick", "make hosts", "make test"):
        assert f"run: {command}\n" in workflow


# ------------------------------------------------------------------------- readable


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_sentences_are_short(page: Path) -> None:
    """A tired person reads them: 40 words at most, outside of tables and code."""
    if page.name in ("machines.md", "cash.md"):
        return  # references, by and for others
    text = _CODE.sub("", read(page))
    for line in text.splitlines():
        if line.startswith(("|", "#")):
            continue
        for sentence in re.split(r"(?<=[.!?:;])\s", line):
            assert len(sentence.split()) <= 40, f"{named(page)}: {sentence}"


# --------------------------------------------------------------------------- followed


def blocks() -> Iterator[tuple[str, list[str]]]:
    for page in GUIDES:
        found = _BLOCK.findall(read(page))
        if found:
            yield named(page), found


@pytest.mark.parametrize(("page", "commands"), [*blocks()])
def test_the_commands_do_what_they_say(
    page: str, commands: list[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    files = ("database.sqlite3", "ext_satoshimachine.sqlite3")
    for name in files:
        with sqlite3.connect(data / name) as conn:
            conn.execute("CREATE TABLE kept (what TEXT)")
            conn.execute("INSERT INTO kept VALUES ('then')")
    (data / ".lnbits_auth_key").write_text("secret")
    said = ""
    for index, command in enumerate(commands):
        if page == "docs/backup.md" and index == 2:
            # what happens between the backup and the day that it is needed
            for name in files:
                (data / name).write_bytes(b"broken")
                (data / f"{name}-wal").write_bytes(b"of the broken one")
            (data / ".lnbits_auth_key").unlink()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],  # noqa: S607
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{page}: {command}{done.stderr}"
        said += done.stdout
    if page == "docs/backup.md":
        assert said.count(" ok\n") == 2
        for name in files:
            with sqlite3.connect(data / name) as conn:
                assert conn.execute("SELECT what FROM kept").fetchone() == ("then",)
        assert (data / ".lnbits_auth_key").read_text() == "secret"
        assert not list(data.glob("*-wal"))


def test_the_glossary_has_the_words_of_the_screens() -> None:
    rows = re.findall(
        r"(?m)^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", read(DOCS / "glossary.md")
    )
    rows = [row for row in rows if row[0] not in ("English", "---")]
    assert len(rows) > 25
    for place, language in enumerate(("en", "es")):
        said = " ".join(words(language).values())
        missing = [row[place] for row in rows if row[place] not in said]
        assert missing == [], language
