"""A disk that runs full: writes are refused by name, reads go on, room can be made, and all
resumes by itself; also over a restart, and with no byte left at all."""

import os
import shutil
import subprocess
import time

import pytest

MIB = 1 << 20
RESERVE = 64 * MIB
DIMENSION = 32


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, with 256 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256m", "vectron-test", str(folder)]
    if shutil.which("mount") is None:
        pytest.skip("there is no mount program to make a small file system with")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here (root is needed): {done.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def free_bytes(folder):
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


class Ballast:
    """Somebody else's file, which takes the room."""

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / "ballast"

    def leave(self, wanted_bytes):
        """Grows or shrinks it until about so much is free."""
        with open(self.path, "ab") as file:
            for _ in range(20):
                surplus = free_bytes(self.folder) - wanted_bytes
                size = max(0, file.seek(0, os.SEEK_END) + surplus)
                if surplus < 0:
                    os.truncate(self.path, size)
                try:
                    os.posix_fallocate(file.fileno(), 0, max(size, 1))
                except OSError:
                    pass  # somebody was quicker: again
        assert abs(free_bytes(self.folder) - wanted_bytes) < MIB, free_bytes(self.folder)

    def take_all(self):
        """Not one byte is left, whatever the server gives up meanwhile."""
        deadline = time.monotonic() + 10
        # Without a buffer, which the end of the block would try to write once more.
        with open(self.path, "ab", buffering=0) as file:
            while time.monotonic() < deadline:
                try:
                    file.write(bytes(64 << 10))
                except OSError:
                    return
        raise AssertionError("the disk would not fill up")


class Model:
    """What was acknowledged, and whether the server has just that."""

    def __init__(self, server):
        self.server = server
        self.points = {}
        self.next_id = 1

    def vector(self, point):
        return [float((point * 7 + i) % 101) for i in range(DIMENSION)]

    def create(self, name="c"):
        return self.server.http("PUT", f"/collections/{name}",
                                {"vectors": {"size": DIMENSION, "distance": "Euclid"}})

    def write(self, count=100):
        """(code, body) of an upsert of new points."""
        ids = range(self.next_id, self.next_id + count)
        code, body = self.server.http("PUT", "/collections/c/points", {"points": [
            {"id": i, "vector": self.vector(i), "payload": {"n": i, "pad": "x" * 200}} for i in ids]})
        if code == 200:
            self.points.update({i: {"n": i, "pad": "x" * 200} for i in ids})
            self.next_id += count
        return code, body

    def delete(self, point):
        code, body = self.server.http("POST", "/collections/c/points/delete", {"points": [point]})
        if code == 200:
            self.points.pop(point)
        return code, body

    def check(self):
        found, offset = {}, None
        while True:
            code, body = self.server.http("POST", "/collections/c/points/scroll",
                                          {"limit": 1000, "offset": offset, "with_vector": True})
            assert code == 200, body
            for record in body["result"]["points"]:
                found[record["id"]] = record["payload"]
                assert record["vector"] == self.vector(record["id"])
            offset = body["result"]["next_page_offset"]
            if offset is None:
                break
        assert found == self.points
        some = max(self.points)
        code, body = self.server.http("POST", "/collections/c/points/query",
                                      {"query": self.vector(some), "limit": 1})
        assert code == 200 and body["result"]["points"][0]["score"] == 0, body


def eventually(call, wanted_code, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while True:
        code, body = call()
        if code == wanted_code:
            return body
        assert time.monotonic() < deadline, (code, body)
        time.sleep(0.1)


@pytest.fixture
def full_server(small_disk, make_server):
    """(server, model, ballast) on the small disk."""
    server = make_server("--disk-reserve-bytes", "64MiB", data_dir=small_disk / "data").start()
    model = Model(server)
    assert model.create()[0] == 200
    assert model.create("other")[0] == 200
    for _ in range(10):
        assert model.write()[0] == 200
    return server, model, Ballast(small_disk)


def test_what_grows_is_refused_first_and_what_makes_room_goes_on(full_server):
    server, model, ballast = full_server
    ballast.leave(RESERVE - 8 * MIB)
    body = eventually(model.write, 507)
    said = body["status"]["error"]
    for part in ("--disk-reserve-bytes", str(server.data_dir), "72 MiB", "deletes"):
        assert part in said, said
    assert body["status"]["reason"] == "DISK_FULL"
    for path in ("payload", "payload?wait=true"):
        code, body = server.http("POST", f"/collections/c/points/{path}",
                                 {"points": [1], "payload": {"a": 1}})
        assert code == 507, body
    code, body = model.create("more")
    assert code == 507 and "--disk-reserve-bytes" in body["status"]["error"], body
    # Its refusal left nothing behind.
    assert server.http("GET", "/collections/more")[0] == 404
    assert model.delete(1)[0] == 200
    model.check()

    # Below a quarter, points cannot be deleted either; a collection can.
    ballast.leave(RESERVE // 4 - 2 * MIB)
    body = eventually(lambda: model.delete(max(model.points)), 507)
    assert "16 MiB" in body["status"]["error"], body
    assert server.http("DELETE", "/collections/other")[0] == 200
    model.check()
    assert server.http("GET", "/readyz")[0] == 200

    # Writes resume once there is an eighth more than the reserve.
    ballast.leave(RESERVE + 2 * MIB)
    time.sleep(2)
    assert model.write()[0] == 507
    ballast.leave(RESERVE + 12 * MIB)
    eventually(model.write, 200)
    model.check()


@pytest.mark.parametrize("room", [RESERVE // 2, RESERVE // 8, 0])
def test_a_restart_on_a_full_disk_serves_reads(full_server, room):
    server, model, ballast = full_server
    for stop in (server.kill9, server.stop):
        model.write()
        ballast.leave(room) if room > 0 else ballast.take_all()
        eventually(model.write, 507)
        stop()
        server.start(30)
        model.check()
        code, body = model.write()
        assert code == 507, body
        ballast.path.unlink()
        eventually(model.write, 200)
        model.check()


def test_without_a_byte_left_nothing_is_lost_and_a_collection_can_be_dropped(full_server):
    server, model, ballast = full_server
    ballast.take_all()
    assert free_bytes(ballast.folder) < MIB
    eventually(model.write, 507)
    model.check()
    ballast.take_all()
    assert server.http("DELETE", "/collections/other")[0] == 200
    ballast.take_all()
    server.kill9()
    server.start(30)
    model.check()
    assert server.http("GET", "/collections/other")[0] == 404
    ballast.path.unlink()
    eventually(model.write, 200)
    eventually(lambda: model.create("other"), 200)
    server.kill9()
    server.start()
    model.check()


def test_writes_that_run_into_the_end_of_the_disk_are_not_lost(small_disk, make_server):
    """No reserve: what the log and the stores write finds no room, under way."""
    server = make_server("--disk-reserve-bytes", "0", data_dir=small_disk / "data").start()
    model = Model(server)
    assert model.create()[0] == 200
    assert model.write()[0] == 200
    ballast = Ballast(small_disk)
    ballast.leave(2 * MIB)
    refused = None
    for _ in range(200):
        code, body = model.server.http("PUT", "/collections/c/points?timeout=2", {"points": [
            {"id": 10**6, "vector": model.vector(10**6), "payload": {"pad": "x" * 100_000}}]})
        if code != 200:
            refused = (code, body)
            break
    assert refused is not None and refused[0] in (504, 507), refused
    assert server.http("POST", "/collections/c/points/count", {})[0] == 200
    ballast.path.unlink()
    eventually(model.write, 200)
    body = server.http("GET", f"/collections/c/points/{10**6}")[1]
    assert body["result"]["vector"] == model.vector(10**6)
    model.points[10**6] = {"pad": "x" * 100_000}
    model.check()
    server.kill9()
    server.start()
    model.check()


def test_a_new_database_on_a_full_disk_comes_up_and_says_why_it_takes_nothing(small_disk,
                                                                              make_server):
    Ballast(small_disk).leave(RESERVE - 16 * MIB)
    server = make_server("--disk-reserve-bytes", "64MiB", data_dir=small_disk / "data").start(30)
    code, body = Model(server).create()
    assert code == 507 and "--disk-reserve-bytes" in body["status"]["error"], body
