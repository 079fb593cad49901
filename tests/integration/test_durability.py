"""What was acknowledged survives: restarts, kill -9, corruption."""

import json
import os
import random
import threading
import time

COLLECTION = "bench"


def verify(server, vectors, log):
    result = server.bench("verify", "--input", vectors.base, "--ack-log", log, "--payload", "--quiet",
                          "--searches", 50)
    assert result["ok"] is True
    return result


def ingest(server, vectors, log, *args, **kwargs):
    return server.client("bench", "ingest", "--input", vectors.base, "--payload", "--ack-log", log,
                         "--quiet", "--stop-on-error", *args, **kwargs)


def exact_answers(server, vectors, path):
    server.bench("search", "--queries", vectors.queries, "--exact", "--dump", path, "--quiet")
    return path.read_text()


def test_everything_is_there_after_a_stop_and_after_a_crash(server, vectors, tmp_path):
    log = tmp_path / "acks"
    ingest(server, vectors, log, "--create", "--wait-indexed")
    before = exact_answers(server, vectors, tmp_path / "before")
    collections = server.http("GET", "/collections")[1]["result"]
    server.restart()
    assert server.http("GET", "/collections")[1]["result"] == collections
    assert exact_answers(server, vectors, tmp_path / "stopped") == before
    server.kill9()
    server.start()
    assert verify(server, vectors, log)["points"] == len(vectors.rows)
    assert exact_answers(server, vectors, tmp_path / "killed") == before


def test_kill_9_at_random_moments_of_ingestion_loses_nothing(server, vectors, tmp_path):
    log = tmp_path / "acks"
    ingest(server, vectors, log, "--create", "--rows", 100)
    rng = random.Random(20240607)
    first, acknowledged = 100, 100
    for _ in range(4):
        rows = 1400
        timer = threading.Timer(rng.uniform(0.02, 0.25), server.kill9)
        timer.start()
        ingest(server, vectors, log, "--first-row", first, "--rows", rows, "--batch", 20,
               "--clients", 4, check=False)
        timer.join()
        server.kill9()
        server.start()
        result = verify(server, vectors, log)
        assert result["acknowledged"] >= acknowledged
        acknowledged = result["acknowledged"]
        first += rows
    # It is a working database still.
    code, body = server.http("PUT", f"/collections/{COLLECTION}/points",
                             {"points": [{"id": 0, "vector": vectors.rows[1]}]})
    assert code == 200, body


def test_a_write_is_retried_over_a_restart_and_done_once(server, vectors, tmp_path):
    server.args += ["--grpc-listen", server.grpc_address]
    server.restart()
    log = tmp_path / "acks"
    ingest(server, vectors, log, "--create", "--rows", 1)

    def crash():
        # In the middle of the load: after some of it, long before all.
        deadline = time.monotonic() + 20
        while len(log.read_text().splitlines()) < 20 and time.monotonic() < deadline:
            time.sleep(0.002)
        server.kill9()
        server.start()

    crasher = threading.Thread(target=crash)
    crasher.start()
    done = ingest(server, vectors, log, "--batch", 10, "--clients", 2, "--rate", 4000,
                  "--retry-seconds", 30, check=False)
    crasher.join()
    result = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert result["acked_points"] == len(vectors.rows) and result["retries"] > 0
    assert verify(server, vectors, log)["points"] == len(vectors.rows)


def largest(folder, *patterns):
    files = [path for pattern in patterns for path in folder.rglob(pattern)]
    assert files, f"no {patterns} below {folder}: {[str(p) for p in folder.rglob('*')]}"
    return max(files, key=lambda path: path.stat().st_size)


def flip_bytes(path, offset, count=16):
    with open(path, "r+b") as file:
        file.seek(offset)
        damaged = bytes(byte ^ 0xFF for byte in file.read(count))
        assert damaged, f"{path} has nothing at {offset}"
        file.seek(offset)
        file.write(damaged)


def refuses(server, *parts):
    """Not started, exit code 4, and the error names where."""
    before = len(server.log())
    server.spawn()
    assert server.wait_exit(60) == 4, server.log()[before:]
    said = server.log()[before:]
    for part in parts:
        assert part in said, said


def test_a_corrupt_log_is_refused_and_named(server, vectors, tmp_path):
    ingest(server, vectors, tmp_path / "acks", "--create", "--rows", 3000, "--batch", 100)
    server.kill9()
    log = largest(server.data_dir / "raft", "*.log")
    flip_bytes(log, log.stat().st_size // 2)
    refuses(server, str(server.data_dir / "raft"))


def test_a_store_that_is_cut_off_is_refused_and_named(server, vectors, tmp_path):
    ingest(server, vectors, tmp_path / "acks", "--create", "--wait-indexed")
    assert server.stop() == 0
    table = largest(server.data_dir / "shards", "*.sst", "*.blob")
    os.truncate(table, table.stat().st_size - 1)
    refuses(server, str(table))


def test_damage_within_a_store_is_found_behind_the_start_and_ends_the_service(server, vectors,
                                                                              tmp_path):
    """A start reads no more than it needs; what reads the rest says what and where."""
    ingest(server, vectors, tmp_path / "acks", "--create", "--wait-indexed")
    assert server.stop() == 0
    table = largest(server.data_dir / "shards", "*.sst", "*.blob")
    flip_bytes(table, table.stat().st_size // 2)
    server.start()
    query = {"query": vectors.rows[0], "limit": 1}
    for _ in range(600):
        code, body = server.http("POST", f"/collections/{COLLECTION}/points/query", query)
        if code != 200:
            break
        time.sleep(0.1)
    assert code == 500, body
    said = json.dumps(body)
    assert str(table) in said and "offset" in said, said
    for _ in range(50):  # gauges follow within a second
        metrics = server.http("GET", "/metrics")[1]
        if "vectron_worker_shards_failed 1" in metrics:
            break
        time.sleep(0.1)
    assert "vectron_worker_shards_failed 1" in metrics, metrics
    code, body = server.http("GET", f"/collections/{COLLECTION}")
    assert code == 200 and body["result"]["status"] == "red", body
    assert str(table) in body["result"]["optimizer_status"]["error"]
    for _ in range(50):  # with the next heartbeat
        status = server.client("admin", "status").stdout
        if "cannot serve" in status:
            break
        time.sleep(0.1)
    assert "cannot serve" in status and str(table) in status, status
    server.kill9()
    # From now on a start reads all, until all is intact again.
    refuses(server, str(table), "offset")
    flip_bytes(table, table.stat().st_size // 2)
    server.start()
    assert server.http("POST", f"/collections/{COLLECTION}/points/query", query)[0] == 200


def test_a_corrupt_catalogue_is_refused_and_named(server, vectors, tmp_path):
    ingest(server, vectors, tmp_path / "acks", "--create", "--rows", 10)
    assert server.stop() == 0
    state = largest(server.data_dir / "placement", "*")
    flip_bytes(state, state.stat().st_size // 2, 4)
    refuses(server, str(server.data_dir / "placement"))
