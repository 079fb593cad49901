"""Files that are missing: the start refuses, with exit code 4, and says what is missing; but not
those that a crash may not have made yet, or have deleted already."""

import random
import shutil
import threading
import time

import pytest

DIMENSION = 8
COLLECTION = {"vectors": {"size": DIMENSION, "distance": "Dot"}}


def vector(point):
    return [float((point * 5 + i) % 17 + 1) for i in range(DIMENSION)]


def fill(server, name="c", count=300):
    code, body = server.http("PUT", f"/collections/{name}", COLLECTION)
    assert code == 200, body
    code, body = server.http("PUT", f"/collections/{name}/points", {"points": [
        {"id": i, "vector": vector(i)} for i in range(count)]})
    assert code == 200, body


def count(server, name="c"):
    code, body = server.http("POST", f"/collections/{name}/points/count", {})
    return body["result"]["count"] if code == 200 else None


def only(paths):
    found = list(paths)
    assert len(found) == 1, found
    return found[0]


def shard_dir(data):
    return only((data / "shards").glob("shard-*"))


def store_dir(data):
    return only((shard_dir(data)).glob("state-*/store"))


# What is removed, and what the error has to name. Paths below the data directory.
CASES = {
    "the manifest of a store": lambda data: (only(store_dir(data).glob("MANIFEST-*")),) * 2,
    "the store's CURRENT": lambda data: (store_dir(data) / "CURRENT",) * 2,
    "a table of a store": lambda data: (next(store_dir(data).glob("*.sst")),) * 2,
    "a store": lambda data: (store_dir(data),) * 2,
    "a shard's state": lambda data: (store_dir(data).parent,) * 2,
    "a shard's CURRENT": lambda data: (shard_dir(data) / "CURRENT",) * 2,
    "a shard": lambda data: (shard_dir(data),) * 2,
    "all shards": lambda data: (data / "shards", shard_dir(data)),
    "the raft log": lambda data: (data / "raft",) * 2,
    "the files of the raft log": lambda data: (only((data / "raft").glob("*.log")), data / "raft"),
    "the format": lambda data: (data / "FORMAT",) * 2,
    "the catalogue": lambda data: (data / "placement",) * 2,
}


@pytest.mark.parametrize("stop", ["stop", "kill9"])
@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_refused_and_named(server, case, stop):
    fill(server)
    # So that the store has files, whatever way it stops.
    assert server.stop() == 0
    server.start()
    getattr(server, stop)()
    path, named = CASES[case](server.data_dir)
    aside = path.with_name(path.name + ".aside")
    if path.parent.name == "shards":  # what is no shard is refused there
        aside = server.data_dir.with_name("aside")
    shutil.move(path, aside)
    for _ in range(2):  # refusing changes nothing
        before = len(server.log())
        server.spawn()
        assert server.wait_exit(30) == 4, server.log()[before:]
        said = server.log()[before:]
        assert "vectron: " in said and str(named) in said, said
    if path.exists():
        shutil.rmtree(path)
    shutil.move(aside, path)
    server.start()
    assert count(server) == 300


def test_a_crash_while_collections_come_and_go_leaves_none_half(server):
    """kill -9 at random moments of creating and dropping."""
    fill(server, "kept", 50)
    rng = random.Random(20240611)
    for round_number in range(8):
        stop = threading.Event()

        def churn(worker):
            i = 0
            while not stop.is_set():
                name = f"c{worker}-{round_number}-{i}"
                i += 1
                try:
                    if server.http("PUT", f"/collections/{name}", COLLECTION, 10)[0] == 200:
                        server.http("PUT", f"/collections/{name}/points",
                                    {"points": [{"id": 1, "vector": vector(1)}]}, 10)
                        if i % 4 != 0:
                            server.http("DELETE", f"/collections/{name}", timeout_s=10)
                except OSError:
                    return

        threads = [threading.Thread(target=churn, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.05, 0.5))
        server.kill9()
        stop.set()
        for thread in threads:
            thread.join()
        server.start(30)
        assert count(server, "kept") == 50
        listed = [c["name"] for c in server.http("GET", "/collections")[1]["result"]["collections"]]
        for name in listed:
            assert count(server, name) in (0, 1, 50), name
            if name != "kept":
                assert server.http("DELETE", f"/collections/{name}")[0] == 200
    deadline = time.monotonic() + 10
    while len(list((server.data_dir / "shards").glob("shard-*"))) > 1:
        assert time.monotonic() < deadline, list((server.data_dir / "shards").glob("shard-*"))
        time.sleep(0.1)
