"""The pure parts of `bench/`: what its tables say. Its figures are never tested: they are the machine's as well."""

from __future__ import annotations

import pytest

from bench.figures import OURS, STOCK, TTYD, Figure, percentile, table
from bench.soak import WARM_UP, Sample, report
from bench.ttyd import RunningTtyd


def figure(ours, stock, **aim):
    made = Figure("echo", "ms", **aim)
    for value in ours:
        made.add(OURS, value)
    for value in stock:
        made.add(STOCK, value)
    return made


@pytest.mark.parametrize(
    ("ours", "stock", "aim", "is_met"),
    [
        ([1, 2, 9], [4], {"most": 0.5}, True),
        ([1, 3, 9], [4], {"most": 0.5}, False),
        ([80], [70], {"least": 1}, True),
        ([60], [70], {"least": 1}, False),
        ([60], [10], {"most": 100, "is_absolute": True}, True),
        ([160], [1000], {"most": 100, "is_absolute": True}, False),
        ([1], [4], {}, None),
        ([1], [], {"most": 0.5}, None),
        ([], [4], {"most": 0.5}, None),
    ],
)
def test_whether_an_aim_is_met(ours, stock, aim, is_met):
    assert figure(ours, stock, **aim).is_met is is_met


def test_percentiles():
    assert percentile(range(101), 50) == 50
    assert percentile(range(101), 99) == 99


def test_a_table_with_what_took_part():
    echo = figure([1, 2, 3], [4], aim="0.4x", most=0.4)
    assert table([echo], [OURS, STOCK]).splitlines() == [
        "          brokerd  ssh -J  ratio  aim",
        "---------------------------------------------",
        "echo, ms     2.00    4.00   0.50  0.4x  short",
    ]
    echo.add(TTYD, 8)
    alone = Figure("agents", "MB")
    alone.add(OURS, 123.4)
    rows = table([echo, alone], [OURS, STOCK, TTYD]).splitlines()
    assert rows[0].split() == [OURS, "ssh", "-J", "ratio", TTYD, "ratio", "aim"]
    assert rows[2].split() == ["echo,", "ms", "2.00", "4.00", "0.50", "8.00", "0.25", "0.4x", "short"]
    assert rows[3].split() == ["agents,", "MB", "123", "-", "-", "-", "-"]


def test_ttyd_takes_part_only_where_it_is_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert RunningTtyd.program() is None
    program = tmp_path / "ttyd"
    program.touch(mode=0o755)
    assert RunningTtyd.program() == str(program)


def test_what_a_soak_reports():
    """Half a megabyte for each thousand terminals, at two thousand an hour; the first rounds do not count."""
    cold = [Sample(0, 0, 500, 90, 90, 0, 1)] * WARM_UP
    warm = [Sample(hour, 2000 * hour, 100 + hour, 14, 9, 0, 1) for hour in range(6)]
    rows = {row.split()[0]: row.split()[1:] for row in report([*cold, *warm]).splitlines()}
    assert rows["memory_mb"] == ["101.0", "104.0", "+1.0", "+0.50"]
    assert rows["descriptors"] == ["14.0", "14.0", "+0.0", "+0.00"]
    assert rows["tasks"] == ["9.0", "9.0", "+0.0", "+0.00"]
