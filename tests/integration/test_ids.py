"""Ids that one interface stores and the other one reads."""

import grpc


def test_points_stored_over_grpc_are_reached_over_rest(grpc_api, shared_server):
    v1 = grpc_api.messages
    uuids = [f"AAAAAAAA-0000-4000-8000-00000000000{i}" for i in range(6)]
    others = [f"doc-{i}" for i in range(1, 4)]
    with grpc.insecure_channel(shared_server.grpc_address) as channel:
        stub = grpc_api.stub(channel)
        config = v1.CollectionConfig(name="ids", shard_count=2, vectors=[
            v1.VectorConfig(dimension=2, metric=v1.METRIC_L2)])
        stub.CreateCollection(v1.CreateCollectionRequest(config=config), timeout=30)
        stub.StoreVector(v1.StoreVectorRequest(collection="ids", points=[
            v1.Point(id=v1.PointId(text=text), vector=[1, 2]) for text in uuids + others]), timeout=30)

    def scroll(limit):
        ids, offset = [], None
        while True:
            code, answer = shared_server.http("POST", "/collections/ids/points/scroll",
                                              {"limit": limit, "offset": offset})
            assert code == 200, answer
            ids += [point["id"] for point in answer["result"]["points"]]
            offset = answer["result"]["next_page_offset"]
            if offset is None:
                return ids

    expected = [text.lower() for text in uuids] + others
    assert scroll(2) == expected
    assert scroll(1) == expected
    for text in (uuids[0], uuids[0].lower(), uuids[0].replace("-", "")):
        code, answer = shared_server.http("GET", f"/collections/ids/points/{text}")
        assert code == 200 and answer["result"]["id"] == expected[0], answer
    code, answer = shared_server.http("POST", "/collections/ids/points/delete",
                                      {"points": [uuids[0]]})
    assert code == 200, answer
    assert scroll(10) == expected[1:]
