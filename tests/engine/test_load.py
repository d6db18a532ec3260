"""How many cores others keep busy: by hand from the kernel's counters, and beside a process."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nfe.engine import load

TICKS = os.sysconf("SC_CLK_TCK")


def counters(path: Path, **seconds: float) -> None:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")
    ticks = [round(TICKS * seconds.get(name, 0)) for name in names]
    path.write_text(f"cpu  {' '.join(map(str, ticks))} 0\ncpu0 1 2 3\n")


def test_busy_is_what_all_but_this_process_has_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=100.0, mine=(5.0, 1.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(load.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(load.os, "times", lambda: clock.mine)
    monkeypatch.setattr(load, "_STAT", tmp_path / "stat")
    counters(tmp_path / "stat", user=10, system=3, idle=50)
    others = load.Others()
    # 12 seconds in all, of which this process and its children spent 7; guests stand in user.
    spent = {"user": 15, "nice": 2, "system": 4, "irq": 1, "softirq": 1, "steal": 2, "guest": 4}
    counters(tmp_path / "stat", **spent, idle=90, iowait=30)
    clock.now, clock.mine = 110.0, (9.0, 2.0, 1.5, 0.5, 0.0)
    assert others.cores() == pytest.approx((12 - 7) / 10)


def test_a_process_beside_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        others = load.Others()
        time.sleep(1)
        beside = others.cores()
        other.kill()
    # Where all cores are busy with others anyway it gets its share of them.
    assert beside is not None and beside > 0.3


def test_where_the_kernel_does_not_tell_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_STAT", tmp_path / "none")
    assert load.Others().cores() is None


@pytest.mark.parametrize(("cores", "allowed"), [(1, 0.25), (2, 0.25), (64, 6.4), (None, 0.25)])
def test_the_limit_is_stated_and_kept(
    cores: int | None, allowed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(load.ALLOW)
    monkeypatch.setattr(load.os, "cpu_count", lambda: cores)
    assert load.limit() == pytest.approx(allowed)
    assert not load.too_high(allowed)
    assert load.too_high(allowed + 0.01)
    assert f"allowed: up to {allowed:.2f}" in str(load.refused(allowed + 0.01))
    monkeypatch.setenv(load.ALLOW, "1")
    assert not load.too_high(allowed + 0.01)
