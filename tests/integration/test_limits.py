"""Requests that are too large, too slow or too many, against a real server."""

import json
import socket
import time

import pytest


def connect(server):
    return socket.create_connection(("127.0.0.1", server.http_port), timeout=20)


def read_response(sock):
    """(status, body) of one response; (None, b"") when the connection was closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            return None, b""
        if not part:
            return None, b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += sock.recv(65536)
    return int(head.split()[1]), body


def create(server, name, dimension=4):
    code, body = server.http("PUT", f"/collections/{name}",
                             {"vectors": {"size": dimension, "distance": "Euclid"}})
    assert code == 200, body


def alive(server):
    assert server.http("GET", "/collections")[0] == 200


def test_a_rest_request_over_the_limit_gets_413(make_server):
    server = make_server("--request-bytes-max", "64KiB").start()
    create(server, "c")
    body = json.dumps({"points": [{"id": 1, "vector": [1, 2, 3, 4],
                                   "payload": {"text": "x" * 100_000}}]}).encode()
    with connect(server) as sock:
        sock.sendall(b"PUT /collections/c/points HTTP/1.1\r\nHost: x\r\nContent-Type: "
                     b"application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        try:
            sock.sendall(body)
        except OSError:
            pass  # it may hang up on the rest
        code, answer = read_response(sock)
    assert code == 413, answer
    assert b"65536" in answer
    alive(server)


def test_a_grpc_request_over_the_limit_is_refused(make_server, vectors):
    server = make_server("--request-bytes-max", "64KiB").start()
    done = server.client("bench", "ingest", "--create", "--input", vectors.base, "--batch", 2000,
                         "--rows", 2000, "--quiet", check=False)
    assert done.returncode == 1
    errors = json.loads(done.stdout)["batches"]["errors"]
    assert list(errors) == ["REQUEST_TOO_LARGE"], errors
    assert "65536" in errors["REQUEST_TOO_LARGE"]["first_message"]
    # A smaller one goes through.
    server.bench("ingest", "--input", vectors.base, "--batch", 100, "--rows", 200, "--quiet")


def test_too_many_connections_are_refused_and_room_is_made_again(make_server):
    server = make_server("--connections-max", "8").start()
    held = [connect(server) for _ in range(8)]
    try:
        for sock in held:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_response(sock)[0] == 200
        with connect(server) as extra:
            try:
                extra.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                code, _ = read_response(extra)
            except OSError:
                code = None
            assert code in (None, 503)
        # Those that are open go on.
        held[0].sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_response(held[0])[0] == 200
    finally:
        for sock in held:
            sock.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            alive(server)
            return
        except (OSError, AssertionError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_half_a_request_harms_nobody(shared_server):
    with connect(shared_server) as sock:
        sock.sendall(b"PUT /collections/c HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 100\r\n\r\n{\"vec")
    alive(shared_server)
    with connect(shared_server) as sock:
        sock.sendall(b"GET /collec")
    alive(shared_server)


def test_slow_clients_do_not_hold_up_others(shared_server):
    """Many clients that send a byte now and then; a quick one among them is served."""
    slow = [connect(shared_server) for _ in range(32)]
    try:
        for round_number in range(5):
            for sock in slow:
                sock.sendall(b"GET /collections HTTP/1.1"[round_number:round_number + 1])
            start = time.monotonic()
            alive(shared_server)
            assert time.monotonic() - start < 2
    finally:
        for sock in slow:
            sock.close()


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 64,
                                     b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_garbage_is_answered_or_hung_up_on(shared_server, garbage):
    for port in (shared_server.http_port, shared_server.grpc_port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
    alive(shared_server)


def test_too_many_grpc_connections_are_refused_and_room_is_made_again(make_server):
    server = make_server("--connections-max", "4").start()
    done = server.client("bench", "rpc", "--clients", 8, "--count", 100, check=False)
    assert done.returncode == 1
    errors = json.loads(done.stdout)["errors"]
    assert list(errors) == ["TOO_MANY_CONNECTIONS"], errors
    assert errors["TOO_MANY_CONNECTIONS"]["first_message"] == "too many connections, the limit is 4"
    # Those clients have gone.
    server.client("bench", "rpc", "--clients", 4, "--count", 100)
    _, metrics = server.http("GET", "/metrics")
    refused = next(line for line in metrics.splitlines()
                   if line.startswith("vectron_grpc_connections_refused_total"))
    assert float(refused.split()[1]) >= 4


def test_payloads_are_bounded_by_the_setting(make_server):
    server = make_server("--payload-bytes-max", "4MiB").start()
    create(server, "c")
    large = "x" * (2 << 20)

    def change(method, path, **body):
        code, answer = server.http(method, f"/collections/c/points{path}", {"points": [1], **body})
        return code, str(answer)

    def upsert(payload):
        return server.http("PUT", "/collections/c/points?wait=true", {
            "points": [{"id": 1, "vector": [1, 2, 3, 4], "payload": payload}]})[0]

    assert upsert({"a": large}) == 200
    assert change("POST", "/payload", payload={"b": large})[0] == 400  # more than 4 MiB together
    assert change("PUT", "/payload", payload={"a": large})[0] == 200
    assert change("POST", "/payload", payload={"b": "x" * 10})[0] == 200
    assert change("POST", "/payload/delete", keys=["b"])[0] == 200
    server.stop()

    # A smaller setting: what is there may shrink, and nothing grows.
    server = make_server("--payload-bytes-max", "1000").start()
    assert change("POST", "/payload", payload={"b": "x" * 10})[0] == 400
    assert change("POST", "/payload", payload={"a": "x" * 500})[0] == 200
    code, answer = change("POST", "/payload", payload={"b": "x" * 600})
    assert code == 400 and "limit is 1000" in answer
    assert change("POST", "/payload", payload={"b": "x" * 300})[0] == 200


def test_answers_that_nobody_reads_are_bounded_together(make_server):
    server = make_server().start()
    create(server, "c")
    text = "x" * 1_000_000
    for number in range(0, 30, 10):
        assert server.http("PUT", "/collections/c/points?wait=true", {"points": [
            {"id": number + i, "vector": [1, 2, 3, 4], "payload": {"t": text}}
            for i in range(10)]})[0] == 200
    body = b'{"limit": 30}'
    request = (b"POST /collections/c/points/scroll HTTP/1.1\r\nHost: x\r\nContent-Type: "
               b"application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    held = []
    try:
        for _ in range(40):
            held.append(connect(server))
            held[-1].sendall(request)
        codes = []
        for sock in held:
            codes.append(sock.recv(12, socket.MSG_PEEK)[9:12])
        assert set(codes) == {b"200", b"429"} and codes.count(b"200") <= 17, codes
        assert server.memory_bytes() < 900 << 20
        alive(server)
        # Nor do they hold up a stop.
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 6
    finally:
        for sock in held:
            sock.close()
