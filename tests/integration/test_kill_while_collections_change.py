"""kill -9 and SIGTERM while several clients make collections, fill them and drop them: after each
start what was acknowledged holds, and every search of a client finds what it has just stored."""

import http.client
import random
import threading
import time

CLIENTS = 4
ROUNDS = 6


class Client(threading.Thread):
    """Makes, fills and drops one collection again and again until the server has gone."""

    def __init__(self, server, number, seed):
        super().__init__()
        self.server = server
        self.name_of_collection = f"c{number}"
        self.random = random.Random(seed)
        self.there = None  # None: the last change was not answered
        self.acknowledged = 0
        self.wrong = []

    def run(self):
        try:
            while True:
                self.cycle()
        except (OSError, http.client.HTTPException):
            pass  # the server has gone

    def ask(self, method, path, body=None):
        code, answer = self.server.http(method, f"/collections/{self.name_of_collection}{path}",
                                        body)
        # 503: SIGTERM was there first.
        if code not in (200, 503):
            self.wrong.append((method, path, code, answer))
        if code != 200:
            raise ConnectionError
        return answer

    def cycle(self):
        self.there = None
        self.ask("DELETE", "")
        self.there = False
        self.acknowledged = 0
        self.there = None
        self.ask("PUT", "", {"vectors": {"size": 4, "distance": "Euclid"},
                             "shard_number": self.random.randint(1, 3)})
        self.there = True
        for i in range(self.random.randint(1, 30)):
            points = [{"id": 10 * i + j, "vector": [i, j, 0, 1], "payload": {"i": i}}
                      for j in range(10)]
            self.ask("PUT", "/points?wait=true", {"points": points})
            self.acknowledged += len(points)
            found = self.ask("POST", "/points/query",
                             {"query": [i, 3, 0, 1], "limit": 3, "with_payload": True})
            best = found["result"]["points"][0]
            if best["id"] != 10 * i + 3 or best["payload"] != {"i": i}:
                self.wrong.append(("found", i, best))


def check(server, clients):
    _, listed = server.http("GET", "/collections")
    names = {collection["name"] for collection in listed["result"]["collections"]}
    for client in clients:
        assert client.wrong == []
        if client.there is None:
            continue
        assert (client.name_of_collection in names) == client.there
        if client.there:
            code, body = server.http(
                "POST", f"/collections/{client.name_of_collection}/points/count", {"exact": True})
            assert code == 200, body
            assert body["result"]["count"] >= client.acknowledged


def test_acknowledged_changes_hold(server):
    seconds = random.Random(1)
    answered = 0
    for number in range(ROUNDS):
        clients = [Client(server, i, 10 * number + i) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(seconds.uniform(0.5, 2.0))
        if number % 3 == 2:
            assert server.stop() == 0
        else:
            server.kill9()
        for client in clients:
            client.join(60)
            assert not client.is_alive()
        answered += sum(client.acknowledged for client in clients)
        server.start()
        check(server, clients)
    assert answered > 0
