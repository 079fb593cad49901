"""Damage at the end of the raft log, behind which nothing shows what is missing: the start
refuses with exit code 4, names the file and leaves it as it is."""

import shutil

import pytest

COLLECTION = {"vectors": {"size": 2, "distance": "Dot"}}
POINT_BYTES = 900_000
# A segment has 64 MiB.
FIRST_COUNT = 80


def upsert(server, point):
    code, body = server.http("PUT", "/collections/c/points", {"points": [
        {"id": point, "vector": [1.0, 2.0], "payload": {"text": "x" * POINT_BYTES}}]})
    assert code == 200, body


def count(server):
    code, body = server.http("POST", "/collections/c/points/count", {})
    assert code == 200, body
    return body["result"]["count"]


def segments(data):
    return sorted((data / "raft").glob("*.log"))


def zero_start(path):
    with open(path, "r+b") as file:
        file.write(bytes(4096))


def zero_all(path):
    size = path.stat().st_size
    path.write_bytes(bytes(size))


def cut(size):
    def damage(path):
        with open(path, "r+b") as file:
            file.truncate(size)
    return damage


DAMAGES = {
    "zeros at its start": zero_start,
    "only zeros": zero_all,
    "empty": cut(0),
    "60 bytes": cut(60),
    "gone": lambda path: path.unlink(),
}


@pytest.fixture(scope="module")
def two_segments(binary, tmp_path_factory):
    """A data directory after kill -9, the log's second segment holding acknowledged writes."""
    import vectron_process

    folder = tmp_path_factory.mktemp("two")
    server = vectron_process.Server(binary, folder / "data", folder / "log").start()
    code, body = server.http("PUT", "/collections/c", COLLECTION)
    assert code == 200, body
    point = 0
    while len(segments(server.data_dir)) < 2 or segments(server.data_dir)[-1].stat().st_size < 3e6:
        assert point < 3 * FIRST_COUNT
        upsert(server, point)
        point += 1
    server.kill9()
    return server.data_dir, point


def opened_copy(make_server, two_segments):
    data, points = two_segments
    server = make_server()
    shutil.copytree(data, server.data_dir)
    return server, points


def refuses(server, path):
    for _ in range(2):
        before = len(server.log())
        content = path.read_bytes() if path.exists() else None
        server.spawn()
        assert server.wait_exit(60) == 4, server.log()[before:]
        said = server.log()[before:]
        assert "vectron: " in said and str(path) in said, said
        assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_segment_is_refused(make_server, two_segments, damage):
    server, points = opened_copy(make_server, two_segments)
    last = segments(server.data_dir)[-1]
    intact = last.read_bytes()
    DAMAGES[damage](last)
    refuses(server, last)
    last.write_bytes(intact)
    server.start()
    assert count(server) == points


@pytest.mark.parametrize("damage", [*DAMAGES, "half", "all but a byte"])
def test_after_a_stop_its_end_is_known(make_server, two_segments, damage):
    server, points = opened_copy(make_server, two_segments)
    server.start()
    assert server.stop() == 0
    last = segments(server.data_dir)[-1]
    intact = last.read_bytes()
    size = len(intact)
    {**DAMAGES, "half": cut(size // 2), "all but a byte": cut(size - 1)}[damage](last)
    refuses(server, last)
    last.write_bytes(intact)
    server.start()
    assert count(server) == points


def test_a_tail_that_is_dropped_is_reported_and_kept(make_server, two_segments):
    server, points = opened_copy(make_server, two_segments)
    last = segments(server.data_dir)[-1]
    size = last.stat().st_size
    cut(size - 1000)(last)
    server.start()
    # What was cut is the end of the last record, or of all that were only commits.
    assert points - 1 <= count(server) <= points
    said = server.log()
    copy = last.with_name(last.name + ".dropped")
    assert "unless the file was altered since" in said and str(copy) in said, said
    assert f"{copy.stat().st_size} bytes are dropped" in said, said


def test_a_log_without_its_note_is_refused(make_server, two_segments):
    server, _ = opened_copy(make_server, two_segments)
    note = server.data_dir / "raft" / "SYNCED"
    note.unlink()
    refuses(server, note)
