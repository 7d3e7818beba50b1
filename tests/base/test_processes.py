"""Who is gone? Told of real processes, and never of one that may be alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from satmachineadmin.base import processes

pytestmark = [
    pytest.mark.pure,
    pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="no /proc"),
]


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    process = subprocess.Popen(sleeper)
    yield process
    process.kill()
    process.wait()


def name_of(process: subprocess.Popen[bytes]) -> str:
    name = processes.name_of(process.pid)
    assert name
    return name


def test_a_name_says_boot_namespace_process_and_start() -> None:
    name = processes.name_of(os.getpid())
    assert name
    boot, namespace, pid, started = name.split(":")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert f"pid:[{namespace}]" == os.readlink("/proc/self/ns/pid")
    assert (int(pid), int(started) > 0) == (os.getpid(), True)


def test_a_process_that_was_killed_is_gone(other: subprocess.Popen[bytes]) -> None:
    name = name_of(other)
    assert not processes.is_gone(name)
    assert not processes.is_gone(f"{name}:2")  # loaded again in it
    other.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    assert not processes.is_gone(name)  # frozen is not gone
    other.kill()
    # also before anybody has asked how it ended
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert processes.is_gone(name)
    other.wait()
    assert processes.is_gone(name)
    assert processes.is_gone(f"{name}:2")


def test_another_process_with_its_number_is_not_it(
    other: subprocess.Popen[bytes],
) -> None:
    head, _, started = name_of(other).rpartition(":")
    assert processes.is_gone(f"{head}:{int(started) - 1}")


def test_nobody_is_gone_of_whom_nothing_can_be_known(
    other: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = name_of(other)
    other.kill()
    other.wait()
    boot, namespace, pid, started = name.split(":")
    elsewhere = [
        *(f"other:{namespace}:{pid}:{started}", f"{boot}:1:{pid}:{started}"),
        *(f"{boot}:{namespace}:x:{started}", f"{boot}:{namespace}:0:{started}"),
        *(f"{boot}:{namespace}:{'9' * 30}:{started}", f"{boot}:{namespace}:{pid}"),
        *("0" * 32, "", None),
    ]
    assert not any(processes.is_gone(one) for one in elsewhere)
    # others' processes are hidden from us, and the kernel knows the number
    monkeypatch.setattr(processes, "_look_at", lambda _: None)
    assert not processes.is_gone(f"{boot}:{namespace}:1:5")


def test_without_proc_names_are_random_and_nobody_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, other: subprocess.Popen[bytes]
) -> None:
    name = name_of(other)
    other.kill()
    other.wait()
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert processes.name_of(os.getpid()) is None
    assert ":" not in processes.new_name()
    assert processes.new_name() != processes.new_name()
    assert not processes.is_gone(name)


def test_code_that_is_loaded_again_is_somebody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SATMACHINEADMIN_LOADS", raising=False)
    ours = processes.name_of(os.getpid())
    assert [processes.new_name() for _ in range(3)] == [ours, f"{ours}:2", f"{ours}:3"]
    # a child has its parent's environment, and is a first load all the same
    monkeypatch.setenv("SATMACHINEADMIN_LOADS", "1:7")
    assert processes.new_name() == ours
