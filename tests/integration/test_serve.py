"""`vectron serve` as a process: how it starts, refuses to start, and stops."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time

import grpc
import pytest


def test_says_what_it_opened_and_how_to_stop_it(server):
    text = server.log()
    for part in (str(server.data_dir), server.http_url, server.grpc_address, f"{server.pid}"):
        assert part in text, text
    assert "SIGTERM" in text or "Ctrl-C" in text
    assert len([line for line in text.splitlines() if not line[:4].isdigit()]) <= 8, text


def test_ports_file_names_process_and_addresses(server):
    ports = json.loads((server.data_dir / "ports.json").read_text())
    assert ports["pid"] == server.pid
    assert ports["http"].startswith("127.0.0.1:") and not ports["http"].endswith(":0")
    assert ports["grpc"].startswith("127.0.0.1:") and not ports["grpc"].endswith(":0")


def test_listens_on_loopback_only(server):
    """Nothing is reachable from other machines unless the user says so."""
    inodes = set()
    for path in open_files(server.pid):
        if path.startswith("socket:["):
            inodes.add(path[8:-1])
    listening = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    listening.append(fields[1].partition(":")[0])
    assert listening, "the server listens on nothing"
    # 127.0.0.1, as such and as IPv6 tells it (gRPC's sockets speak both).
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}, listening


def open_files(pid):
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            yield os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue


def begin_request(sock):
    """A request whose body never comes; the server waits for it when this returns."""
    sock.sendall(b"PUT /collections/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
    assert sock.recv(1024).startswith(b"HTTP/1.1 100 ")
    sock.sendall(b"{")


@contextlib.contextmanager
def endless_stream(server):
    """A gRPC request that is under way until the block ends."""
    ended = threading.Event()

    def requests():
        yield b""
        ended.wait(20)

    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = channel.stream_stream("/vectron.v1.Vectron/StoreVectors")(requests())
        assert next(stream)  # that its first message is refused
        assert stream.is_active()
        try:
            yield
        finally:
            ended.set()


def wait_until(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_order(server, number):
    server.process.send_signal(number)
    assert server.wait_exit(30) == 0
    # What it had is there again.
    server.start()
    assert server.http("GET", "/collections")[0] == 200


def test_a_second_signal_ends_it_at_once(make_server):
    server = make_server("--drain-seconds", "60").start()
    # A request under way: draining would take the whole minute.
    with endless_stream(server):
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Stopping" in server.log())
        server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert server.wait_exit(10) == 128 + signal.SIGTERM
        assert time.monotonic() - start < 8


def test_both_interfaces_drain_within_one_deadline(make_server):
    server = make_server("--drain-seconds", "2").start()
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as half, \
            endless_stream(server):
        begin_request(half)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_exit(20) == 0
        assert 1.5 < time.monotonic() - start < 3.8


@pytest.mark.parametrize("half", [b"GET / HT", b"PUT /collections/x HTTP/1.1\r\nHost: x\r\n"
                                  b"Content-Length: 9\r\n\r\n{", None])
def test_half_a_rest_request_does_not_hold_up_a_stop(server, half):
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as sock:
        if half is None:
            begin_request(sock)
        else:
            sock.sendall(half)
        time.sleep(0.1)
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 5


def test_a_second_process_is_told_who_has_the_directory(server, make_server):
    second = make_server()
    second.spawn()
    assert second.wait_exit(30) == 3
    assert f"pid {server.pid}" in second.log()
    # The first is none the worse for it.
    assert server.http("GET", "/collections")[0] == 200


@pytest.mark.parametrize("flag", ["--http-listen", "--grpc-listen"])
def test_a_busy_port_is_named(make_server, flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server = make_server(flag, address)
        # The later flag wins over the one that make_server gives.
        server.spawn()
        assert server.wait_exit(30) == 1
        assert address in server.log()


def test_newer_format_is_refused(server, make_server):
    assert server.stop() == 0
    (server.data_dir / "FORMAT").write_text("vectron data, format 999\n")
    server.spawn()
    assert server.wait_exit(30) == 4
    assert "format 999" in server.log() and "newer" in server.log()


def test_shards_of_another_database_are_refused_and_left_alone(server, make_server, tmp_path):
    other = make_server(name="other", data_dir=tmp_path / "other")
    other.start()
    for each in (server, other):
        assert each.http("PUT", "/collections/c", {"vectors": {"size": 2, "distance": "Dot"}})[0] == 200
        assert each.stop() == 0
    shards = server.data_dir / "shards"
    aside = tmp_path / "aside"
    shutil.move(shards, aside)
    shutil.copytree(other.data_dir / "shards", shards)
    files = sorted(path.name for path in shards.rglob("*"))
    server.spawn()
    assert server.wait_exit(30) == 4
    assert "belongs to cluster" in server.log()
    assert sorted(path.name for path in shards.rglob("*")) == files
    shutil.rmtree(shards)
    shutil.move(aside, shards)
    server.start()
    assert server.http("GET", "/collections/c")[0] == 200


def test_a_directory_of_something_else_is_left_alone(make_server, tmp_path):
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "thesis.tex").write_text("x")
    server = make_server(data_dir=folder)
    server.spawn()
    assert server.wait_exit(30) == 2
    assert "thesis.tex" in server.log()
    assert {path.name for path in folder.iterdir()} <= {"thesis.tex", "LOCK"}


@pytest.mark.parametrize("args, named", [
    (["--no-such-flag"], "--no-such-flag"),
    (["--k-max", "many"], "--k-max"),
    (["--peers", "10.0.0.1:6335"], "--peers"),
    (["--join", "10.0.0.1:6335"], "--join"),
    (["--roles", "worker"], "--roles"),
    (["--log-level", "loud"], "--log-level"),
    (["--http-listen", "6333"], "--http-listen"),
])
def test_bad_flags_are_refused_by_name(run, tmp_path, args, named):
    done = run("serve", "--data-dir", tmp_path / "data", *args)
    assert done.returncode == 2
    assert named in done.stderr
    assert not (tmp_path / "data").exists()


def test_settings_come_from_file_and_variables_too(run, make_server, tmp_path):
    config = tmp_path / "vectron.yaml"
    config.write_text("k-max: 7\nef-max: many\n")
    done = run("serve", "--config", config, "--data-dir", tmp_path / "data")
    assert done.returncode == 2 and f"{config}: ef-max" in done.stderr
    config.write_text("k-maximum: 7\n")
    done = run("serve", "--config", config, "--data-dir", tmp_path / "data")
    assert done.returncode == 2 and "'k-maximum'" in done.stderr
    config.write_text("k-max: 7\nef-max: 100\n")
    server = make_server("--config", str(config), env={"VECTRON_K_MAX": "9"}).start()
    create(server, "c", 2)
    code, body = server.http("POST", "/collections/c/points/query", {"query": [1, 2], "limit": 10})
    assert code == 400 and "9" in json.dumps(body), body
    assert server.http("POST", "/collections/c/points/query", {"query": [1, 2], "limit": 9})[0] == 200


def create(server, name, dimension):
    code, body = server.http("PUT", f"/collections/{name}",
                             {"vectors": {"size": dimension, "distance": "Euclid"}})
    assert code == 200, body


def test_metrics_that_only_grow_are_counters(server):
    def kinds_shown():
        text = server.http("GET", "/metrics")[1]
        return dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE "))

    # The worker's come within seconds.
    wait_until(lambda: "vectron_store_stall_seconds_total" in kinds_shown())
    kinds = kinds_shown()
    for name in ("process_cpu_seconds", "store_flush_written_bytes", "store_stall_seconds"):
        assert kinds[f"vectron_{name}_total"] == "counter", kinds
    assert not [name for name, kind in kinds.items()
                if name.endswith("_total") != (kind == "counter")], kinds
