"""The other commands: bench, admin, version, against a real server."""

import json
import re

import pytest

import vectron_process


@pytest.fixture(scope="module")
def loaded(shared_server, vectors, tmp_path_factory):
    """A server with the small data set in collection `small`, and its exact neighbours."""
    truth = tmp_path_factory.mktemp("truth") / "truth.ivecs"
    import subprocess
    subprocess.run([str(shared_server.binary), "bench", "groundtruth", "--base", vectors.base,
                    "--queries", vectors.queries, "--k", "10", "--out", truth, "--quiet"],
                   check=True, timeout=120)
    result = shared_server.bench("ingest", "--create", "--collection", "small", "--input",
                                 vectors.base, "--batch", 500, "--clients", 4, "--m", 12,
                                 "--ef-construction", 100, "--shards", 2, "--wait-indexed", "--quiet")
    return shared_server, truth, result


def test_a_command_that_does_not_exist_is_named(run):
    for arguments in (["foo"], ["foo", "--help"]):
        done = run(*arguments)
        assert done.returncode == 2 and "'foo'" in done.stderr and "serve" in done.stderr, done
    assert run("--help").returncode == 0
    assert run().returncode == 2


def test_ingest_reports_what_it_did(loaded, vectors):
    _, _, result = loaded
    assert result["points"] == result["acked_points"] == result["point_count"] == len(vectors.rows)
    assert result["dimension"] == vectors.dimension
    assert result["batches"]["ok"] == 12 and result["batches"]["failed"] == 0
    assert 0 < result["acked_seconds"] <= result["indexed_seconds"]
    latency = result["batches"]["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]


def test_search_measures_recall_and_finds_the_ef_for_a_target(loaded, vectors):
    server, truth, _ = loaded
    common = ["search", "--collection", "small", "--queries", vectors.queries, "--groundtruth", truth,
              "--quiet"]
    exact = server.bench(*common, "--exact")["runs"][0]
    assert exact["recall_at_10"] == 1.0
    target = server.bench(*common, "--target-recall", 0.95, "--server-pid", server.pid)["runs"][0]
    assert target["recall_at_10"] >= 0.95 and target["ef"] >= 10
    assert target["server_cpu_us_per_op"] >= 0
    sweep = server.bench(*common, "--ef-sweep", "10,200")["runs"]
    assert [run["ef"] for run in sweep] == [10, 200]
    assert sweep[0]["recall_at_10"] <= sweep[1]["recall_at_10"]


def test_search_offers_an_open_loop(loaded, vectors):
    server, _, _ = loaded
    run = server.bench("search", "--collection", "small", "--queries", vectors.queries, "--rate", 200,
                       "--duration", 1, "--clients", 8, "--quiet")["runs"][0]
    assert run["ok"] == 200 and run["failed"] == 0
    assert 0.9 < run["seconds"] < 3
    assert run["target_per_second"] == 200


def test_search_counts_errors_by_code_and_fails(loaded, vectors):
    server, _, _ = loaded
    done = server.client("bench", "search", "--collection", "nowhere", "--queries", vectors.queries,
                         "--quiet", check=False)
    assert done.returncode == 1
    errors = json.loads(done.stdout)["runs"][0]["errors"]
    assert errors["COLLECTION_NOT_FOUND"]["count"] == 100
    assert "nowhere" in done.stderr


def test_ingest_tells_why_the_server_refuses(loaded, vectors, tmp_path):
    server, _, _ = loaded
    done = server.client("bench", "ingest", "--create", "--collection", "small", "--input",
                         vectors.base, "--quiet", check=False)
    assert done.returncode == 1 and "small" in done.stderr and "exist" in done.stderr
    wrong = tmp_path / "wrong.fvecs"
    wrong.write_bytes(bytes([1, 0, 0, 0]) + bytes(4))
    done = server.client("bench", "ingest", "--collection", "small", "--input", wrong, "--quiet",
                         check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["batches"]["errors"]["INVALID_ARGUMENT"]["count"] == 1
    assert "dimension" in done.stderr


@pytest.mark.parametrize("content, message", [
    (b"", "no record"),
    (b"\x02\0\0\0" + bytes(7), "torn"),
    (b"\x01\0\0\0" + bytes(4) + b"\x02\0\0\0" + bytes(8), "torn|components"),
])
def test_bad_input_files_are_refused_before_anything_is_sent(run, tmp_path, content, message):
    path = tmp_path / "bad.fvecs"
    path.write_bytes(content)
    done = run("bench", "ingest", "--input", path)
    assert done.returncode == 2
    assert str(path) in done.stderr and re.search(message, done.stderr)


def test_the_empty_rpc_is_measured(loaded):
    server, _, _ = loaded
    result = server.bench("rpc", "--count", 500, "--server-pid", server.pid)
    assert result["ok"] == 500 and result["failed"] == 0
    assert result["latency_ms"]["p50"] > 0


def test_admin_shows_the_cluster_and_its_collections(loaded, vectors):
    server, _, _ = loaded
    status = json.loads(server.client("admin", "status", "--json").stdout)
    assert len(status["workers"]) == 1
    worker = status["workers"][0]
    assert worker["alive"] is True and worker["state"] == "up"
    assert status["placement_leader_node_id"] == worker["node_id"]
    assert len(worker["replicas"]) == 2 and all(r["leader"] for r in worker["replicas"])

    collections = json.loads(server.client("admin", "collections", "--json").stdout)["collections"]
    (small,) = [c for c in collections if c["name"] == "small"]
    assert small["points"] == small["indexed_vectors"] == len(vectors.rows)
    assert small["pending_vectors"] == 0 and small["shards"] == 2
    assert small["vectors"][0] | {"dimension": 32, "metric": "l2", "m": 12,
                                  "ef_construction": 100} == small["vectors"][0]

    text = server.client("admin", "collections").stdout
    assert re.search(r"^small +32 l2 +2 +6000 +6000 +0 ", text, re.M), text
    assert re.search(r"^NODE +STATE", server.client("admin", "status").stdout, re.M)


def test_clients_say_when_nobody_answers(run):
    done = run("admin", "status", "--server", "127.0.0.1:1", "--timeout", "0.5")
    assert done.returncode == 1 and "127.0.0.1:1" in done.stderr


def test_version_says_what_was_built(run):
    text = run("version")
    assert text.returncode == 0 and re.match(r"vectron \d+\.\d+\.\d+\nrevision \S+\n", text.stdout)
    as_json = json.loads(run("version", "--json").stdout)
    assert as_json["version"] in text.stdout and as_json["vector_instructions"]


def test_verify_notices_what_is_missing_or_never_sent(server, vectors, tmp_path):
    log = tmp_path / "acks"
    server.bench("ingest", "--create", "--input", vectors.base, "--rows", 1000, "--payload",
                 "--ack-log", log, "--quiet")
    verify = ["verify", "--input", vectors.base, "--ack-log", log, "--payload", "--quiet"]
    assert server.bench(*verify)["ok"] is True

    # A point that nobody sent; one that is gone; one with another payload.
    row = {"vector": vectors.rows[0]}
    points = "/collections/bench/points"
    assert server.http("PUT", points, {"points": [row | {"id": 5000}]})[0] == 200
    assert server.http("POST", points + "/delete", {"points": [17]})[0] == 200
    assert server.http("PUT", points, {"points": [{"id": 18, "vector": vectors.rows[18]}]})[0] == 200
    done = server.client("bench", *verify, check=False)
    assert done.returncode == 4
    found = json.loads(done.stdout)
    assert (found["ok"], found["never_sent"], found["missing"], found["wrong_payload"]) == (
        False, 1, 1, 1)


def test_a_server_that_dies_while_starting_is_reported(make_server, tmp_path):
    server = make_server("--data-dir", str(tmp_path / "a-file" / "data"))
    (tmp_path / "a-file").write_text("not a folder")
    with pytest.raises(vectron_process.ServerFailed, match="a-file"):
        server.start()
