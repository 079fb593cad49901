"""Bad requests over gRPC against a real server: each gets an error that says what is wrong, for
people and for machines, and changes nothing. (Over REST: test_bad_input.py.)"""

import math
import socket
import struct
import time

import grpc
import h2.config
import h2.connection
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)
UNLIMITED = ("grpc.max_send_message_length", -1)


@pytest.fixture(scope="module")
def channel(shared_server):
    with grpc.insecure_channel(shared_server.grpc_address, options=[UNLIMITED]) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(grpc_api, channel):
    return grpc_api.stub(channel)


@pytest.fixture(scope="module")
def v1(grpc_api):
    return grpc_api.messages


@pytest.fixture(scope="module")
def collection(stub, v1):
    """A collection of two points that nothing may change."""
    config = v1.CollectionConfig(name="bad_grpc", vectors=[
        v1.VectorConfig(dimension=4, metric=v1.METRIC_L2)])
    stub.CreateCollection(v1.CreateCollectionRequest(config=config), timeout=30)
    stub.StoreVector(v1.StoreVectorRequest(collection="bad_grpc", points=[
        point(v1, 1, [1, 2, 3, 4]), point(v1, 2, [4, 3, 2, 1])]), timeout=30)
    return "bad_grpc"


def point(v1, number, vector, **fields):
    return v1.Point(id=v1.PointId(number=number), vector=vector, **fields)


def refused(call, *args):
    """(code, reason, message) of a call that must fail."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*args, timeout=30)
    error = raised.value
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    reason = None
    if status is not None:
        for detail in status.details:
            if detail.Unpack(info) and info.domain == "vectron":
                reason = info.reason
    return error.code().name, reason, error.details()


NESTED = '{"a":' + "[" * 100 + "]" * 100 + "}"

# What is wrong -> (the points after a good one, the reason, what the message names).
POINTS = {
    "wrong dimension": (lambda v1: point(v1, 7, [1, 2]), "INVALID_ARGUMENT",
                        ["point 1 (id 7)", "dimension 2, expected 4"]),
    "NaN": (lambda v1: point(v1, 7, [1, 2, math.nan, 4]), "INVALID_ARGUMENT",
            ["point 1 (id 7)", "component 2 is NaN"]),
    "infinity": (lambda v1: point(v1, 7, [1, 2, 3, -math.inf]), "INVALID_ARGUMENT",
                 ["point 1 (id 7)", "component 3 is infinite"]),
    "too long a vector": (lambda v1: point(v1, 7, [3e38, 0, 0, 0]), "INVALID_ARGUMENT",
                          ["point 1 (id 7)", "8.5e+37"]),
    "no id": (lambda v1: v1.Point(vector=[1, 2, 3, 4]), "INVALID_ARGUMENT",
              ["point 1", "id is missing"]),
    "an empty id": (lambda v1: v1.Point(id=v1.PointId(text=""), vector=[1, 2, 3, 4]),
                    "INVALID_ARGUMENT", ["point 1", "empty"]),
    "a long id": (lambda v1: v1.Point(id=v1.PointId(text="x" * 513), vector=[1, 2, 3, 4]),
                  "LIMIT_EXCEEDED", ["point 1", "512"]),
    "an unknown vector": (lambda v1: point(v1, 7, [1, 2, 3, 4], vectors=[
        v1.NamedVector(name="other", values=[1])]), "INVALID_ARGUMENT", ["id 7", "'other'"]),
    "a payload that is no object": (lambda v1: point(v1, 7, [1, 2, 3, 4], payload="[1]"),
                                    "INVALID_ARGUMENT", ["point 1 (id 7): payload"]),
    "a payload that is no JSON": (lambda v1: point(v1, 7, [1, 2, 3, 4], payload='{"a":{"b":nope}}'),
                                  "INVALID_ARGUMENT", ["payload: a.b: expected a value"]),
    "a number beyond a double": (lambda v1: point(v1, 7, [1, 2, 3, 4], payload='{"a":[0,1e400]}'),
                                 "INVALID_ARGUMENT", ["payload: a[1]: a number too large"]),
    "a lone surrogate": (lambda v1: point(v1, 7, [1, 2, 3, 4], payload=r'{"a":"\ud800"}'),
                         "INVALID_ARGUMENT", ["payload: a: unpaired surrogate"]),
    "a deep payload": (lambda v1: point(v1, 7, [1, 2, 3, 4], payload=NESTED),
                       "LIMIT_EXCEEDED", ["payload", "nested deeper than 64"]),
    "a large payload": (lambda v1: point(v1, 7, [1, 2, 3, 4],
                                         payload='{"a":"' + "x" * (1 << 20) + '"}'),
                        "LIMIT_EXCEEDED", ["payload", "1048576"]),
}


@pytest.mark.parametrize("case", POINTS)
def test_a_bad_point_is_named_and_nothing_of_its_batch_is_stored(stub, v1, collection, case):
    make, reason, named = POINTS[case]
    request = v1.StoreVectorRequest(collection=collection,
                                    points=[point(v1, 9, [9, 9, 9, 9]), make(v1)])
    code, said, message = refused(stub.StoreVector, request)
    assert (code, said) == ("INVALID_ARGUMENT", reason), message
    assert all(text in message for text in named), message
    unchanged(stub, v1, collection)


def unchanged(stub, v1, collection):
    page = stub.Scroll(v1.ScrollRequest(collection=collection, limit=10,
                                        select=v1.Select(vectors=True)), timeout=30)
    assert [(p.id.number, list(p.vector)) for p in page.points] == [
        (1, [1, 2, 3, 4]), (2, [4, 3, 2, 1])]


def test_a_batch_that_is_empty_or_too_large_is_refused(stub, v1, collection):
    for call, request in [
            (stub.StoreVector, v1.StoreVectorRequest(collection=collection)),
            (stub.DeleteVectors, v1.DeleteVectorsRequest(collection=collection)),
            (stub.GetVectors, v1.GetVectorsRequest(collection=collection))]:
        code, reason, message = refused(call, request)
        assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT") and "has no" in message
    many = v1.StoreVectorRequest(collection=collection,
                                 points=[point(v1, i, [1, 2, 3, 4]) for i in range(10_001)])
    code, reason, message = refused(stub.StoreVector, many)
    assert (code, reason) == ("INVALID_ARGUMENT", "LIMIT_EXCEEDED") and "10000" in message
    unchanged(stub, v1, collection)


def test_of_equal_ids_in_a_batch_the_last_counts(stub, v1):
    config = v1.CollectionConfig(name="twice", vectors=[
        v1.VectorConfig(dimension=1, metric=v1.METRIC_L2)])
    stub.CreateCollection(v1.CreateCollectionRequest(config=config), timeout=30)
    stub.StoreVector(v1.StoreVectorRequest(collection="twice", points=[
        point(v1, 1, [1]), point(v1, 2, [2]), point(v1, 1, [3])]), timeout=30)
    found = stub.GetVectors(v1.GetVectorsRequest(
        collection="twice", ids=[v1.PointId(number=1)], select=v1.Select(vectors=True)), timeout=30)
    assert [list(p.vector) for p in found.points] == [[3]]
    assert stub.Count(v1.CountRequest(collection="twice"), timeout=30).count == 2


# Fields of the query -> (reason, what the message names).
QUERIES = {
    "wrong dimension": ({"vector": [1, 2]}, "INVALID_ARGUMENT", "dimension 2, expected 4"),
    "NaN": ({"vector": [1, 2, 3, math.nan]}, "INVALID_ARGUMENT", "component 3 is NaN"),
    "infinity": ({"vector": [math.inf, 2, 3, 4]}, "INVALID_ARGUMENT", "component 0 is infinite"),
    "k of 0": ({"k": 0}, "INVALID_ARGUMENT", "k is 0"),
    "k too large": ({"k": 16_385}, "LIMIT_EXCEEDED", "k is 16385, the limit is 16384"),
    "ef out of range": ({"ef": 65_537}, "LIMIT_EXCEEDED", "ef is 65537, the limit is 65536"),
    "an unknown vector": ({"vector_name": "other"}, "INVALID_ARGUMENT", "'other'"),
    "a threshold that is none": ({"score_threshold": math.nan}, "INVALID_ARGUMENT", "threshold"),
}


@pytest.mark.parametrize("case", QUERIES)
def test_a_bad_query_is_refused_by_name(stub, v1, collection, case):
    fields, reason, named = QUERIES[case]
    query = v1.Query(**{"vector": [1, 2, 3, 4], "k": 3, **fields})
    code, said, message = refused(stub.Search,
                                  v1.SearchRequest(collection=collection, queries=[query]))
    assert (code, said) == ("INVALID_ARGUMENT", reason), message
    assert named in message


@pytest.mark.parametrize("name", ["../x", "", "x" * 256, ".hidden", "a b", "ü"])
def test_bad_collection_names_are_refused(stub, v1, name):
    config = v1.CollectionConfig(name=name, vectors=[
        v1.VectorConfig(dimension=4, metric=v1.METRIC_L2)])
    code, reason, message = refused(stub.CreateCollection,
                                    v1.CreateCollectionRequest(config=config))
    assert code == "INVALID_ARGUMENT" and reason in ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
    assert "name" in message


def test_unknown_collections_and_existing_ones_are_told_apart(stub, v1, collection):
    for call, request in [
            (stub.StoreVector, v1.StoreVectorRequest(collection="nowhere",
                                                     points=[point(v1, 1, [1])])),
            (stub.Search, v1.SearchRequest(collection="nowhere",
                                           queries=[v1.Query(vector=[1], k=1)])),
            (stub.GetCollection, v1.GetCollectionRequest(name="nowhere"))]:
        code, reason, message = refused(call, request)
        assert (code, reason) == ("NOT_FOUND", "COLLECTION_NOT_FOUND") and "nowhere" in message
    config = v1.CollectionConfig(name=collection, vectors=[
        v1.VectorConfig(dimension=5, metric=v1.METRIC_L2)])
    code, reason, message = refused(stub.CreateCollection,
                                    v1.CreateCollectionRequest(config=config))
    assert (code, reason) == ("ALREADY_EXISTS", "COLLECTION_EXISTS") and collection in message


def test_write_sessions_are_checked_and_forgotten_writes_end_at_once(stub, v1, collection):
    def store(**session):
        return v1.DeleteVectorsRequest(collection=collection, ids=[v1.PointId(number=99)],
                                       session=v1.WriteSession(**session))

    for bad, named in [({"sequence": 1}, "number is 0"), ({"session": 5}, "sequence is 0"),
                       ({"session": 5, "sequence": 1, "acked_below": 2}, "acked_below is 2")]:
        code, reason, message = refused(stub.DeleteVectors, store(**bad))
        assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT") and named in message
    stub.DeleteVectors(store(session=5, sequence=9, acked_below=9), timeout=30)
    begin = time.monotonic()
    code, reason, message = refused(stub.DeleteVectors, store(session=5, sequence=8, acked_below=8))
    assert (code, reason) == ("FAILED_PRECONDITION", "OUTCOME_FORGOTTEN"), message
    assert "write 8" in message and time.monotonic() - begin < 5


def test_what_is_no_request_of_ours_is_refused(channel):
    code, reason, message = refused(channel.unary_unary("/vectron.v1.Vectron/Guess"), b"")
    assert (code, reason) == ("UNIMPLEMENTED", "UNKNOWN_ROUTE") and "Guess" in message
    code, reason, _ = refused(channel.unary_unary("/vectron.v1.Vectron/Search"), b"\xff\xff\xff")
    assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")


def test_a_stream_ends_with_an_error_at_what_is_no_message(channel, stub, v1, collection):
    first = v1.StoreVectorsRequest(collection=collection, points=[point(v1, 9, [1, 2])])
    call = channel.stream_stream("/vectron.v1.Vectron/StoreVectors")(
        iter([first.SerializeToString(), b"\xff\xff\xff"]), timeout=30)
    answers = []
    with pytest.raises(grpc.RpcError) as raised:
        for answer in call:
            answers.append(v1.StoreVectorsResponse.FromString(answer))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert [answer.error.reason for answer in answers] == ["INVALID_ARGUMENT"]
    unchanged(stub, v1, collection)


def test_a_request_over_the_limit_is_refused_and_the_connection_goes_on(stub, v1, collection):
    large = v1.StoreVectorRequest(collection=collection, points=[
        point(v1, i, [1, 2, 3, 4], payload='{"a":"' + "x" * 1_000_000 + '"}') for i in range(70)])
    code, reason, message = refused(stub.StoreVector, large)
    assert (code, reason) == ("RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE") and str(64 << 20) in message
    unchanged(stub, v1, collection)


def test_one_connection_too_many_is_told_so(make_server, grpc_api):
    server = make_server("--connections-max", "2").start()
    request = grpc_api.messages.ListCollectionsRequest()
    channels = [grpc.insecure_channel(server.grpc_address, options=[OWN_CONNECTION])
                for _ in range(3)]
    try:
        stubs = [grpc_api.stub(each) for each in channels]
        for each in stubs[:2]:
            each.ListCollections(request, timeout=30)
        code, reason, message = refused(stubs[2].ListCollections, request)
        assert (code, reason) == ("UNAVAILABLE", "TOO_MANY_CONNECTIONS"), message
        stubs[0].ListCollections(request, timeout=30)
    finally:
        for each in channels:
            each.close()


class RawCall:
    """A gRPC call byte by byte: what no gRPC library lets one send."""

    def __init__(self, server, method):
        self.sock = socket.create_connection(("127.0.0.1", server.grpc_port), timeout=20)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.http.initiate_connection()
        self.http.send_headers(1, [
            (":method", "POST"), (":scheme", "http"), (":path", f"/vectron.v1.Vectron/{method}"),
            (":authority", "localhost"), ("te", "trailers"), ("content-type", "application/grpc")])
        self.flush()

    def flush(self):
        self.sock.sendall(self.http.data_to_send())

    def send(self, data, end=False):
        self.http.send_data(1, data, end_stream=end)
        self.flush()

    def status(self):
        """grpc-status, once the server has ended the call; None if the connection ended first."""
        while True:
            data = self.sock.recv(65536)
            if not data:
                return None
            for event in self.http.receive_data(data):
                headers = dict(getattr(event, "headers", None) or [])
                if "grpc-status" in headers:
                    return int(headers["grpc-status"])
            self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def framed(message):
    data = message.SerializeToString()
    return struct.pack(">BI", 0, len(data)) + data


def test_half_a_request_harms_nobody(shared_server, stub, v1, collection):
    request = framed(v1.StoreVectorRequest(collection=collection,
                                           points=[point(v1, 9, [9, 9, 9, 9])]))
    # It ends in the middle, or the client goes.
    with RawCall(shared_server, "StoreVector") as call:
        call.send(request[:-3], end=True)
        assert call.status() not in (None, grpc.StatusCode.OK.value[0])
    with RawCall(shared_server, "StoreVector") as call:
        call.send(request[:-3])
    with RawCall(shared_server, "StoreVector") as call:
        call.send(b"", end=True)
        assert call.status() == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    unchanged(stub, v1, collection)


def test_slow_clients_are_served_and_hold_up_nobody(shared_server, stub, v1, collection):
    request = framed(v1.CountRequest(collection=collection))
    slow = [RawCall(shared_server, "Count") for _ in range(16)]
    try:
        for i, _ in enumerate(request):
            for call in slow:
                call.send(request[i:i + 1], end=i + 1 == len(request))
            begin = time.monotonic()
            assert stub.Count(v1.CountRequest(collection=collection), timeout=30).count == 2
            assert time.monotonic() - begin < 5
        assert [call.status() for call in slow] == [0] * len(slow)
    finally:
        for call in slow:
            call.sock.close()
