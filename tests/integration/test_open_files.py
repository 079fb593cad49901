"""A process that may open few files: says so, refuses what it could not do, never hangs."""

import os
import pathlib
import socket

import pytest

COLLECTION = {"vectors": {"size": 8, "distance": "Dot"}}


@pytest.fixture
def limited(binary, make_server, tmp_path):
    """limited(N) -> a server that may have N files open, not started."""

    def make(count, *args):
        script = tmp_path / "limited"
        script.write_text(f'#!/bin/sh\nulimit -Sn {count // 2} && ulimit -Hn {count} && '
                          f'exec "{binary}" "$@"\n')
        script.chmod(0o755)
        server = make_server(*args)
        server.binary = script
        return server

    return make


def open_files(server):
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def test_collections_are_refused_before_files_run_out(limited):
    server = limited(256).start()
    assert "256 files open" in server.log()
    refused = None
    names = []
    for i in range(100):
        code, body = server.http("PUT", f"/collections/k{i}", COLLECTION, timeout_s=20)
        if code != 200:
            refused = code, body
            break
        names.append(f"k{i}")
    assert refused is not None and refused[0] == 507, refused
    assert refused[1]["status"]["reason"] == "TOO_MANY_SHARDS"
    assert "files" in refused[1]["status"]["error"]
    assert len(names) >= 3
    for name in names:
        code, body = server.http("PUT", f"/collections/{name}/points",
                                 {"points": [{"id": 1, "vector": [1.0] * 8}]})
        assert code == 200, body

    # As many connections as were promised, with all collections in use.
    held = []
    try:
        for _ in range(20):
            held.append(socket.create_connection(("127.0.0.1", server.http_port), timeout=5))
        assert open_files(server) < 256
    finally:
        for sock in held:
            sock.close()

    # A limit is counted, so a drop makes room for another one.
    assert server.http("DELETE", f"/collections/{names[0]}")[0] == 200
    code, body = server.http("PUT", "/collections/again", COLLECTION)
    assert code == 200, body
    assert server.stop() == 0
    server.start()
    for name in names[1:]:
        code, body = server.http("POST", f"/collections/{name}/points/count", {})
        assert code == 200 and body["result"]["count"] == 1, body


def test_the_soft_limit_is_raised_to_the_hard_one(limited):
    server = limited(600).start()
    limits = pathlib.Path(f"/proc/{server.pid}/limits").read_text().splitlines()
    line = next(line for line in limits if line.startswith("Max open files"))
    assert line.split()[3:5] == ["600", "600"], line
