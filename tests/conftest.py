"""What the whole-process tests share: a server in a temporary directory, small data.

VECTRON_BINARY names the program under test; without it, the newest build is taken.
"""

import os
import pathlib
import random
import struct
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import vectron_process  # noqa: E402


@pytest.fixture(scope="session")
def binary():
    """The path of the vectron program."""
    named = os.environ.get("VECTRON_BINARY")
    if named:
        path = pathlib.Path(named).resolve()
        assert path.exists(), f"VECTRON_BINARY={named} does not exist"
        return path
    built = [ROOT / "build" / preset / "vectron" for preset in ("debug", "release")]
    built = [path for path in built if path.exists()]
    assert built, "no build/debug/vectron or build/release/vectron: run make build"
    return max(built, key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="session")
def run(binary):
    """Runs `vectron ARGS` to its end; returns the CompletedProcess."""
    import subprocess

    def call(*args, env=None, timeout_s=60, cwd=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VECTRON_")}
        clean.update(env or {})
        return subprocess.run([str(binary), *map(str, args)], env=clean, cwd=cwd, timeout=timeout_s,
                              capture_output=True, text=True, check=False)

    return call


@pytest.fixture
def make_server(binary, tmp_path):
    """make_server(*flags, name=..., env=...) -> a vectron_process.Server, not started.

    Servers of the same name have the same data directory. All are stopped, by
    their pids, when the test ends.
    """
    servers = []

    def make(*args, name="server", env=None, data_dir=None):
        server = vectron_process.Server(binary, data_dir or tmp_path / name,
                                        tmp_path / f"{name}.log", args, env)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def server(make_server):
    """A running server of the test's own."""
    return make_server().start()


@pytest.fixture(scope="module")
def shared_server(binary, tmp_path_factory):
    """A running server that the tests of one file share: use collections of your own."""
    folder = tmp_path_factory.mktemp("shared")
    server = vectron_process.Server(binary, folder / "data", folder / "server.log").start()
    yield server
    server.close()


def write_fvecs(path, rows):
    with open(path, "wb") as file:
        for row in rows:
            file.write(struct.pack(f"<i{len(row)}f", len(row), *row))
    return path


def clustered_rows(count, dimension, seed):
    """Vectors around a few centres, as real data are, and no two alike."""
    rng = random.Random(seed)
    centres = [[rng.uniform(0, 200) for _ in range(dimension)] for _ in range(32)]
    rows = []
    for _ in range(count):
        centre = rng.choice(centres)
        rows.append([x + rng.gauss(0, 20) for x in centre])
    return rows


class Vectors:
    """A small data set: files, and the rows as lists."""

    def __init__(self, folder, count, query_count, dimension):
        self.dimension = dimension
        self.rows = clustered_rows(count, dimension, 1)
        self.base = write_fvecs(folder / "base.fvecs", self.rows)
        self.queries = write_fvecs(folder / "query.fvecs", clustered_rows(query_count, dimension, 1))


@pytest.fixture(scope="session")
def vectors(tmp_path_factory):
    return Vectors(tmp_path_factory.mktemp("vectors"), 6000, 100, 32)


class GrpcApi:
    """vectron.v1 as Python: the messages, and stubs for servers."""

    def __init__(self, folder):
        from grpc_tools import protoc

        source = ROOT / "proto" / "vectron" / "v1" / "vectron.proto"
        arguments = ["protoc", f"-I{source.parent}", f"--python_out={folder}",
                     f"--grpc_python_out={folder}", str(source)]
        assert protoc.main(arguments) == 0
        sys.path.insert(0, str(folder))
        try:
            import vectron_pb2
            import vectron_pb2_grpc
        finally:
            sys.path.remove(str(folder))
        self.messages = vectron_pb2
        self._stubs = vectron_pb2_grpc

    def stub(self, channel):
        return self._stubs.VectronStub(channel)


@pytest.fixture(scope="session")
def grpc_api(tmp_path_factory):
    return GrpcApi(tmp_path_factory.mktemp("stubs"))
