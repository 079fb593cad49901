"""Bad requests over REST against a real server: each gets an error that says what is wrong,
and changes nothing. (Over gRPC: test_bad_input_grpc.py.)"""

import http.client
import json

import pytest

POINT = {"id": 1, "vector": [1, 2, 3, 4]}


@pytest.fixture(scope="module")
def points(shared_server):
    """The path of a collection of two points that nothing may change."""
    path = "/collections/bad_input"
    settings = {"vectors": {"size": 4, "distance": "Euclid"}}
    assert shared_server.http("PUT", path, settings)[0] == 200
    stored = {"points": [POINT, {"id": 2, "vector": [4, 3, 2, 1]}]}
    assert shared_server.http("PUT", path + "/points", stored)[0] == 200
    return path + "/points"


def put(*points):
    return "PUT", "", {"points": list(points)}


def query(**fields):
    return "POST", "/query", {"query": [1, 2, 3, 4], **fields}


CASES = {
    "wrong dimension": (put(POINT, {"id": 7, "vector": [1, 2]}), ["point 1", "id 7", "dimension 2"]),
    "wrong dimension of a query": (query(query=[1, 2]), ["dimension 2", "expected 4"]),
    "larger than a float": (put({"id": 7, "vector": [1, 2, 3, 1e39]}), ["vector"]),
    "null in a vector": (put({"id": 7, "vector": [1, 2, 3, None]}), ["vector"]),
    "empty batch": (put(), ["point"]),
    "negative id": (put({"id": -1, "vector": [1, 2, 3, 4]}), ["id"]),
    "fractional id": (put({"id": 1.5, "vector": [1, 2, 3, 4]}), ["id"]),
    "text that is no UUID": (put({"id": "seven", "vector": [1, 2, 3, 4]}), ["id"]),
    "payload that is no object": (put({**POINT, "payload": [1]}), ["payload"]),
    "unknown field": (put({**POINT, "pay_load": {}}), ["pay_load"]),
    "unknown field of a query": (query(limits=3), ["limits"]),
    "k of 0": (query(limit=0), ["k is 0", "limit"]),
    "k too large": (query(limit=1_000_000), ["1000000", "16384"]),
    "ef out of range": (query(params={"hnsw_ef": 1_000_000}), ["1000000", "65536"]),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused_by_name_and_changes_nothing(shared_server, points, case):
    (method, path, body), named = CASES[case]
    code, answer = shared_server.http(method, points + path, body)
    assert code == 400, answer
    message = answer["status"]["error"]
    assert any(text in message for text in named), message
    _, found = shared_server.http("POST", points + "/scroll", {"with_vector": True})
    assert [(p["id"], p["vector"]) for p in found["result"]["points"]] == [
        (1, [1, 2, 3, 4]), (2, [4, 3, 2, 1])]


@pytest.mark.parametrize("name", ["..%2Fx", "x" * 256])
def test_bad_collection_names_are_refused(shared_server, name):
    settings = {"vectors": {"size": 4, "distance": "Euclid"}}
    code, answer = shared_server.http("PUT", f"/collections/{name}", settings)
    assert code == 400 and "name" in answer["status"]["error"], answer


def test_an_unknown_collection_is_named(shared_server):
    code, answer = shared_server.http("POST", "/collections/nowhere/points/query",
                                      {"query": [1, 2, 3, 4]})
    assert code == 404 and "nowhere" in answer["status"]["error"], answer


def test_an_existing_collection_is_not_made_again_with_other_settings(shared_server, points):
    code, answer = shared_server.http("PUT", points.removesuffix("/points"),
                                      {"vectors": {"size": 5, "distance": "Euclid"}})
    assert code == 409 and "bad_input" in answer["status"]["error"], answer


@pytest.mark.parametrize("payload, path", [
    ('{"a":[0,{"b":1e400}]}', "points[0].payload.a[1].b: a number too large"),
    ('{"a":' + "9" * 400 + "}", "points[0].payload.a: a number too large"),
    (r'{"a":{"b":"\ud800"}}', "points[0].payload.a.b: unpaired surrogate"),
])
def test_what_a_payload_cannot_hold_is_named_by_its_path(shared_server, points, payload, path):
    connection = http.client.HTTPConnection("127.0.0.1", shared_server.http_port, timeout=20)
    connection.request("PUT", points,
                       '{"points":[{"id":7,"vector":[1,2,3,4],"payload":%s}]}' % payload,
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 400 and path in answer["status"]["error"], answer


def test_the_depth_of_payloads_is_what_the_flag_says(make_server, run, tmp_path):
    def nested(depth):
        value = 1
        for _ in range(depth - 1):
            value = [value]
        return {"points": [{"id": 1, "vector": [1], "payload": {"a": value}}]}

    server = make_server("--payload-depth-max", "256").start()
    server.http("PUT", "/collections/c", {"vectors": {"size": 1, "distance": "Euclid"}})
    assert server.http("PUT", "/collections/c/points", nested(256))[0] == 200
    code, answer = server.http("PUT", "/collections/c/points", nested(257))
    assert code == 400 and answer["status"]["reason"] == "LIMIT_EXCEEDED", answer
    code, answer = server.http("GET", "/collections/c/points/1")
    assert code == 200 and answer["result"]["payload"] == nested(256)["points"][0]["payload"]
    done = run("serve", "--data-dir", tmp_path / "other", "--payload-depth-max", "257")
    assert done.returncode == 2 and "256" in done.stderr


def test_an_answer_that_would_be_too_large_is_refused_and_a_scroll_goes_by_pages(make_server):
    server = make_server("--response-bytes-max", "16KiB").start()
    path = "/collections/c"
    server.http("PUT", path, {"vectors": {"size": 2, "distance": "Euclid"}})
    stored = [{"id": i, "vector": [i, 1], "payload": {"text": "x" * 5000}} for i in range(20)]
    assert server.http("PUT", path + "/points", {"points": stored})[0] == 200
    seen, offset = [], 0
    while offset is not None:
        code, answer = server.http("POST", path + "/points/scroll", {"limit": 20, "offset": offset})
        assert code == 200, answer
        assert 1 <= len(answer["result"]["points"]) <= 4
        seen += [point["id"] for point in answer["result"]["points"]]
        offset = answer["result"]["next_page_offset"]
    assert seen == list(range(20))
    for route, body in [("", {"ids": seen, "with_payload": True}),
                        ("/query", {"query": [1, 1], "limit": 20, "with_payload": True})]:
        code, answer = server.http("POST", path + "/points" + route, body)
        assert code == 400 and "16384 bytes" in answer["status"]["error"], answer
        body["with_payload"] = False
        assert server.http("POST", path + "/points" + route, body)[0] == 200
