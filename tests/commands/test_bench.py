"""`python -m rsnet bench`: that it runs and what it writes, not what it measures."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "rsnet", "bench"]
LIMIT_S = 100


def run_bench(*arguments: object, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """first: a folder whose modules stand in for installed ones."""
    path = [str(first)] * (first is not None) + os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return subprocess.run(
        [*BENCH, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.fixture(scope="module")
def floor() -> Path:
    built = ["cargo", "build", "--quiet", "--locked", "--package", "rsnet-floor"]
    subprocess.run([*built, "--target-dir", ROOT / "target"], cwd=ROOT, check=True)
    return ROOT / "target" / "debug" / "rsnet-floor"


def test_quick_run_measures_every_row(tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    done = run_bench("--quick", "--json", written)
    assert done.returncode == 0, done.stderr
    document = json.loads(written.read_text())
    names = [line.split()[0] for line in run_bench("--list").stdout.splitlines()]
    assert [row["name"] for row in document["rows"]] == names
    assert document["quick"] is True
    assert 0 <= document["others_share"] <= 1
    for row in document["rows"]:
        assert row["title"] in done.stdout
        if row["missing"]:
            # A package or a program of somebody else may not be installed here.
            assert row["verdict"] == "missing"
            continue
        assert {"stdlib", "rsnet"} <= set(row["variants"])
        assert "floor" not in row["variants"]
        for variant in row["variants"].values():
            spread = variant["figures"][row["metric"]]
            assert 0 < spread["low"] <= spread["median"] <= spread["high"]
        assert row["verdict"] in ("met", "near", "missed", "no target")
    assert "The floor is left out" in done.stdout


def test_floor_is_measured_where_it_is_built(floor: Path, tmp_path: Path) -> None:
    written = tmp_path / "figures.json"
    done = run_bench("--quick", "--row", "*tcp*", "--floor", floor, "--json", written)
    assert done.returncode == 0, done.stderr
    rows = json.loads(written.read_text())["rows"]
    assert {"recv-tcp", "tcp-client"} <= {row["name"] for row in rows}
    for row in rows:
        assert row["variants"]["floor"]["figures"]["ns"]["median"] > 0
        kinds = {target["kind"] for target in row["targets"]}
        assert not row["targets"] or {"stdlib", "floor"} <= kinds
    assert "The floor is left out" not in done.stdout


def test_far_end_of_python_serves_as_well_as_that_of_the_floor() -> None:
    done = run_bench("--quick", "--row", "*client", "--row", "http-get", "--row", "*bulk")
    assert done.returncode == 0, done.stderr
    assert "  missing: " not in done.stdout


def test_unknown_row_is_an_error() -> None:
    done = run_bench("--row", "no-such-row")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "No row is called no-such-row: see --list.\n"


@pytest.mark.parametrize("option", ["--json", "--floor"])
def test_wrong_path_is_found_before_measuring(option: str) -> None:
    done = run_bench(option, "/nonexistent/file")
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert "/nonexistent/file" in sentence


def test_plot_without_matplotlib_says_so_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    done = run_bench("--plot", tmp_path / "plot.png", first=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "--plot needs matplotlib: install it, or leave --plot away.\n"


def test_ctrl_c_prints_what_was_measured() -> None:
    command = [*BENCH, "--quick", "--row", "recv-tcp", "--row", "convoy-*", "--row", "harm-*"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as bench:
        # The line of the first row is whole when that row is done and the next one begins.
        progress = bench.stderr.readline()
        bench.send_signal(signal.SIGINT)
        table, errors = bench.communicate(timeout=LIMIT_S)
    assert progress.startswith("[1/")
    assert bench.returncode == 130
    assert errors.endswith("interrupted: these rows were measured\n")
    assert "recv 64 B ready, blocking, TCP" in table
    assert "threads: 16 ask" not in table


def test_row_that_cannot_be_measured_is_an_error_beside_the_others(tmp_path: Path) -> None:
    """A worker that dies costs its row and the exit code, not the run."""
    # As redis-py: it breaks when it is imported.
    (tmp_path / "redis.py").write_text("raise RuntimeError('out of order')\n")
    done = run_bench("--quick", "--row", "redis-get", "--row", "recv-tcp", first=tmp_path)
    assert done.returncode == 1
    assert "failed: RuntimeError: out of order" in done.stdout
    assert "recv 64 B ready, blocking, TCP" in done.stdout


def test_strict_fails_for_a_row_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "redis.py").write_text("raise ImportError\n")
    done = run_bench("--quick", "--strict", "--row", "redis-get", first=tmp_path)
    assert done.returncode == 1
    assert "missing: the package redis" in done.stdout
