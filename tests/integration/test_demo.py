"""scripts/demo and bench/standalone.sh, on a data set small enough for a test."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def texmex_set(vectors, binary, tmp_path_factory):
    """A folder as the TEXMEX sets come: base, queries, ground truth."""
    folder = tmp_path_factory.mktemp("texmex")
    (folder / "small_base.fvecs").symlink_to(vectors.base)
    (folder / "small_query.fvecs").symlink_to(vectors.queries)
    subprocess.run([binary, "bench", "groundtruth", "--base", vectors.base, "--queries",
                    vectors.queries, "--k", "10", "--out", folder / "small_groundtruth.ivecs",
                    "--quiet"], check=True, timeout=120)
    return folder


def test_the_demo_runs_to_its_table_and_report(binary, texmex_set, tmp_path):
    done = subprocess.run([sys.executable, ROOT / "scripts" / "demo", "--binary", binary, "--data",
                           texmex_set, "--out", tmp_path / "out"], capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("6,000 x 32", "recall@10", "kill -9 to first correct search",
                 "the same for 100 exact searches"):
        assert line in done.stdout, done.stdout
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 60 * 11
    assert "http://" not in report and "https://" not in report


def test_the_demo_fails_by_name(binary, tmp_path):
    done = subprocess.run([sys.executable, ROOT / "scripts" / "demo", "--binary", binary, "--data",
                           tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "no base.bvecs" in done.stdout


def test_standalone_measures_and_survives_kills(binary, texmex_set, tmp_path):
    if not (binary.parent / "hnswlib_build").exists():
        subprocess.run(["ninja", "-C", binary.parent, "hnswlib_build", "inprocess_search"],
                       check=True, timeout=600, capture_output=True)
    out = tmp_path / "standalone.json"
    done = subprocess.run([ROOT / "bench" / "standalone.sh", texmex_set, "--quick", "--kills", "2",
                           "--binary", binary, "--out", out], capture_output=True, text=True,
                          timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["search"]["recall"] >= 0.95
    assert result["kills"]["count"] == 2
    assert all(outcome["ok"] for outcome in result["kills"]["outcomes"])
    assert "MISSED" in done.stdout or "met" in done.stdout
