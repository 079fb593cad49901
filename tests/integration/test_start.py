"""What a process answers while it starts, and how its start is seen from outside."""

import fcntl
import http.client
import json
import socket

import grpc
import pytest


def request(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def health(channel):
    """The answer of grpc.health.v1.Health/Check for the whole server: 1 serving, 2 not."""
    answer = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
    return answer[1] if answer else 0


def test_a_process_that_starts_listens_at_once_and_says_so(server, vectors):
    server.bench("ingest", "--create", "--input", vectors.base, "--quiet")
    server.kill9()
    # Somebody else has the store of a shard, so that the start is not over before we look: it
    # tries again now and then.
    with open(next((server.data_dir / "shards").rglob("LOCK")), "r+b") as lock, \
            grpc.insecure_channel(server.grpc_address) as channel:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        server.args += ["--http-listen", f"127.0.0.1:{server.http_port}",
                        "--grpc-listen", server.grpc_address]
        server.spawn()
        server.wait_ports()
        assert request(server.http_port, "GET", "/livez")[0] == 200
        assert request(server.http_port, "GET", "/healthz")[0] == 200
        assert request(server.http_port, "GET", "/metrics")[0] == 200
        for method, path, body in [
                ("GET", "/readyz", None),
                ("GET", "/collections", None),
                ("POST", "/collections/bench/points/query", {"query": vectors.rows[0]})]:
            code, headers, text = request(server.http_port, method, path, body)
            assert code == 503 and '"reason":"STARTING"' in text and "starting" in text, text
            assert headers["Retry-After"] == "1"
        assert health(channel) == 2
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/vectron.v1.Vectron/ListCollections")(b"", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert b"STARTING" in dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
        fcntl.lockf(lock, fcntl.LOCK_UN)
        server.wait_ready()
        assert health(channel) == 1
    code, answer = server.http("POST", "/collections/bench/points/query",
                               {"query": vectors.rows[7], "limit": 1})
    assert code == 200 and answer["result"]["points"][0]["id"] == 7


def test_a_start_that_fails_frees_its_ports(server):
    """A damaged log ends the start; the process tells why, and does not stay as a zombie that
    answers for ever that it is starting."""
    assert server.stop() == 0
    segment = next((server.data_dir / "raft").rglob("*.log"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(bytes(data))
    server.spawn()
    assert server.wait_exit(30) != 0
    assert segment.name in server.log()
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", server.http_port)) != 0
