"""Collections that are dropped while requests for them are under way."""

import threading

WRITER_COUNT = 2
READER_COUNT = 2


def test_requests_on_a_collection_that_is_dropped_are_told_so(shared_server):
    """Each ends as if it had come before the drop or after it. Only a write that was under way
    may be unknown; nobody is told that the server is shutting down."""
    answers = []

    def write(path, stop):
        number = 0
        while not stop.is_set():
            number += 1
            points = [{"id": number * 8 + i, "vector": [i, number]} for i in range(8)]
            answers.append(("write", *shared_server.http("PUT", path + "/points",
                                                         {"points": points})))

    def read(path, stop):
        while not stop.is_set():
            answers.append(("read", *shared_server.http("POST", path + "/points/query",
                                                        {"query": [1, 1], "limit": 3})))

    for turn in range(8):
        path = f"/collections/dropped_{turn}"
        settings = {"vectors": {"size": 2, "distance": "Euclid"}, "shard_number": 2}
        assert shared_server.http("PUT", path, settings)[0] == 200
        stop = threading.Event()
        threads = [threading.Thread(target=target, args=(path, stop))
                   for target in [write] * WRITER_COUNT + [read] * READER_COUNT]
        first = len(answers)
        for thread in threads:
            thread.start()
        while len(answers) < first + 50:
            stop.wait(0.001)
        assert shared_server.http("DELETE", path)[0] == 200
        after = len(answers)
        while len(answers) < after + 20:
            stop.wait(0.001)
        stop.set()
        for thread in threads:
            thread.join()

    for kind, code, answer in answers:
        reason = "OK" if code == 200 else answer["status"]["reason"]
        allowed = {"OK", "COLLECTION_NOT_FOUND"} | ({"OUTCOME_UNKNOWN"} if kind == "write" else set())
        assert reason in allowed, (kind, code, answer)
        assert code == {"OK": 200, "COLLECTION_NOT_FOUND": 404, "OUTCOME_UNKNOWN": 504}[reason]
    assert {code for _, code, _ in answers} >= {200, 404}
