"""The unmodified qdrant-client from PyPI, over REST."""

import math
import uuid
import warnings

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

DIMENSION = 8
COUNT = 500


@pytest.fixture(scope="module")
def client(shared_server):
    # The client warns about a server whose version it does not know.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = QdrantClient(url=shared_server.http_url, timeout=60)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(7).normal(size=(COUNT, DIMENSION)).astype(np.float32)


@pytest.fixture
def make_collection(client, request):
    """make_collection(vectors, **settings) -> its name; dropped when the test ends."""
    made = []

    def make(vectors, **settings):
        name = f"{request.node.originalname}-{len(made)}"
        assert client.create_collection(name, vectors_config=vectors, **settings)
        made.append(name)
        return name

    yield make
    for name in made:
        client.delete_collection(name)


@pytest.fixture
def filled(client, make_collection, rows):
    """A collection of all rows by Euclidean distance, ids 0 .. COUNT-1."""
    name = make_collection(models.VectorParams(size=DIMENSION, distance=models.Distance.EUCLID))
    client.upsert(name, points=[
        models.PointStruct(id=i, vector=row.tolist(), payload={"row": i, "even": i % 2 == 0})
        for i, row in enumerate(rows)])
    return name


def nearest(rows, query, count):
    distances = np.linalg.norm(rows.astype(np.float64) - query, axis=1)
    return np.argsort(distances, kind="stable")[:count], distances


def test_collections(client, make_collection):
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    name = make_collection(params, hnsw_config=models.HnswConfigDiff(m=24, ef_construct=128),
                           quantization_config=models.ScalarQuantization(
                               scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8)),
                           shard_number=2, on_disk_payload=True)
    assert client.collection_exists(name)
    assert not client.collection_exists(name + "-not")
    assert name in [c.name for c in client.get_collections().collections]
    info = client.get_collection(name)
    assert info.status == models.CollectionStatus.GREEN
    assert info.optimizer_status == models.OptimizersStatusOneOf.OK
    assert info.points_count == 0
    assert info.config.params.vectors == params
    assert info.config.params.shard_number == 2
    assert info.config.hnsw_config.m == 24
    assert info.config.hnsw_config.ef_construct == 128
    assert info.config.quantization_config.scalar.type == models.ScalarType.INT8
    with pytest.raises(UnexpectedResponse) as exists:
        client.create_collection(name, vectors_config=params)
    assert exists.value.status_code == 409
    assert client.delete_collection(name)
    assert not client.delete_collection(name)
    with pytest.raises(UnexpectedResponse) as gone:
        client.get_collection(name)
    assert gone.value.status_code == 404


def test_what_was_stored_comes_back(client, filled, rows):
    payload = {"text": "naïve \"quotes\" \n", "nested": {"a": [1, 2.5, None, True]}, "empty": {}}
    name = uuid.uuid4()
    result = client.upsert(filled, points=[
        models.PointStruct(id=str(name), vector=rows[0].tolist(), payload=payload),
        models.PointStruct(id=2**64 - 1, vector=rows[1].tolist())])
    assert result.status == models.UpdateStatus.COMPLETED
    first, second = client.retrieve(filled, ids=[str(name), 2**64 - 1], with_vectors=True)
    assert first.id == str(name)
    assert first.payload == payload
    assert np.array_equal(np.array(first.vector, dtype=np.float32), rows[0])
    assert second.id == 2**64 - 1
    assert second.payload == {}
    assert client.retrieve(filled, ids=[999_999]) == []
    assert client.count(filled).count == COUNT + 2


def test_upsert_replaces(client, filled, rows):
    client.upsert(filled, points=[models.PointStruct(id=3, vector=rows[4].tolist())])
    (record,) = client.retrieve(filled, ids=[3], with_vectors=True)
    assert record.payload == {}
    assert np.array_equal(np.array(record.vector, dtype=np.float32), rows[4])
    assert client.count(filled).count == COUNT


def test_batch_form(client, make_collection, rows):
    name = make_collection(models.VectorParams(size=DIMENSION, distance=models.Distance.DOT))
    client.upsert(name, points=models.Batch(ids=list(range(50)), vectors=rows[:50].tolist(),
                                            payloads=[{"row": i} for i in range(50)]))
    client.upload_collection(name, vectors=rows[50:], ids=range(50, COUNT), batch_size=100,
                             wait=True)
    assert client.count(name, exact=True).count == COUNT
    hits = client.query_points(name, query=rows[0].tolist(), limit=5,
                               search_params=models.SearchParams(exact=True)).points
    expected = rows.astype(np.float64) @ rows[0]
    assert [hit.id for hit in hits] == np.argsort(-expected, kind="stable")[:5].tolist()
    assert [hit.score for hit in hits] == pytest.approx(np.sort(expected)[::-1][:5], rel=1e-5)


@pytest.mark.parametrize("params", [None, models.SearchParams(hnsw_ef=256),
                                    models.SearchParams(exact=True)])
def test_query_by_vector(client, filled, rows, params):
    query = rows[17] + np.float32(0.01)
    ids, distances = nearest(rows, query, 10)
    hits = client.query_points(filled, query=query.tolist(), limit=10, search_params=params,
                               with_payload=True, with_vectors=True).points
    assert [hit.id for hit in hits] == ids.tolist()
    for hit in hits:
        assert hit.score == pytest.approx(distances[hit.id], rel=1e-4)
        assert hit.payload == {"row": hit.id, "even": hit.id % 2 == 0}
        assert np.array_equal(np.array(hit.vector, dtype=np.float32), rows[hit.id])


def test_pages_and_thresholds(client, filled, rows):
    query = rows[5].tolist()
    ids, distances = nearest(rows, rows[5], 20)
    page = client.query_points(filled, query=query, limit=5, offset=10).points
    assert [hit.id for hit in page] == ids[10:15].tolist()
    threshold = float(distances[ids[3]] + distances[ids[4]]) / 2
    near = client.query_points(filled, query=query, limit=20, score_threshold=threshold).points
    assert [hit.id for hit in near] == ids[:4].tolist()


def test_query_by_id_leaves_the_point_out(client, filled, rows):
    ids, _ = nearest(rows, rows[42], 6)
    hits = client.query_points(filled, query=42, limit=5).points
    assert [hit.id for hit in hits] == ids[1:].tolist()


def test_query_batch(client, filled, rows):
    answers = client.query_batch_points(filled, requests=[
        models.QueryRequest(query=rows[i].tolist(), limit=3, with_payload=i == 1)
        for i in range(4)])
    for i, answer in enumerate(answers):
        assert [hit.id for hit in answer.points] == nearest(rows, rows[i], 3)[0].tolist()
        assert (answer.points[0].payload is not None) == (i == 1)


def test_cosine_scores_are_similarities(client, make_collection):
    name = make_collection(models.VectorParams(size=2, distance=models.Distance.COSINE))
    client.upsert(name, points=[models.PointStruct(id=1, vector=[3.0, 4.0]),
                                models.PointStruct(id=2, vector=[0.0, 2.0])])
    hits = client.query_points(name, query=[0.0, 1.0], with_vectors=True).points
    assert [hit.id for hit in hits] == [2, 1]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.8], abs=1e-6)
    # As they were given, where Qdrant gives them normalised.
    assert [hit.vector for hit in hits] == [[0.0, 2.0], [3.0, 4.0]]


def test_named_vectors(client, make_collection):
    name = make_collection({
        "image": models.VectorParams(size=2, distance=models.Distance.EUCLID),
        "text": models.VectorParams(size=3, distance=models.Distance.DOT)})
    client.upsert(name, points=[
        models.PointStruct(id=i, vector={"image": [float(i), 0.0], "text": [0.0, 0.0, float(i)]})
        for i in range(5)])
    hits = client.query_points(name, query=[0.0, 0.0, 1.0], using="text", limit=2,
                               with_vectors=["image"]).points
    assert [hit.id for hit in hits] == [4, 3]
    assert hits[0].vector == {"image": [4.0, 0.0]}
    hits = client.query_points(name, query=[1.2, 0.0], using="image", limit=2).points
    assert [hit.id for hit in hits] == [1, 2]


def test_scroll_returns_every_point_once(client, filled):
    seen, offset, pages = [], None, 0
    while True:
        records, offset = client.scroll(filled, limit=64, offset=offset, with_payload=["row"])
        assert all(record.payload == {"row": record.id} for record in records)
        seen += [record.id for record in records]
        pages += 1
        if offset is None:
            break
    assert seen == list(range(COUNT))
    assert pages == math.ceil(COUNT / 64)


def test_delete(client, filled, rows):
    client.delete(filled, points_selector=[0, 1, 2, 999_999])
    assert client.count(filled).count == COUNT - 3
    assert client.retrieve(filled, ids=[0, 1, 2]) == []
    hits = client.query_points(filled, query=rows[0].tolist(), limit=10).points
    assert not {0, 1, 2} & {hit.id for hit in hits}


def test_payloads(client, filled):
    def payload(point):
        return client.retrieve(filled, ids=[point])[0].payload

    client.set_payload(filled, payload={"colour": "red", "even": None}, points=[0, 1])
    assert payload(0) == {"row": 0, "even": None, "colour": "red"}
    client.overwrite_payload(filled, payload={"only": [1]}, points=[1])
    assert payload(1) == {"only": [1]}
    client.delete_payload(filled, keys=["row", "not there"], points=[0])
    assert payload(0) == {"even": None, "colour": "red"}
    client.clear_payload(filled, points_selector=[0])
    assert payload(0) == {}
    with pytest.raises(UnexpectedResponse) as missing:
        client.set_payload(filled, payload={"a": 1}, points=[2, 999_999])
    assert missing.value.status_code == 404
    assert "999999" in str(missing.value)
    assert payload(2) == {"row": 2, "even": True}


def test_consistency_and_ordering_are_accepted(client, filled, rows):
    client.upsert(filled, points=[models.PointStruct(id=1, vector=rows[1].tolist())], wait=False,
                  ordering=models.WriteOrdering.STRONG)
    for level in (1, models.ReadConsistencyType.MAJORITY, models.ReadConsistencyType.ALL):
        hits = client.query_points(filled, query=rows[1].tolist(), limit=1, consistency=level,
                                   timeout=30).points
        assert hits[0].id == 1
        assert client.retrieve(filled, ids=[1], consistency=level)[0].payload == {}


def test_asking_for_nothing_answers_nothing(client, filled, rows):
    assert client.retrieve(filled, ids=[]) == []
    assert client.query_batch_points(filled, requests=[]) == []
    assert client.query_points(filled, query=rows[0].tolist(), limit=3, offset=COUNT).points == []
    assert client.scroll(filled, offset=COUNT) == ([], None)
    assert client.delete(filled, points_selector=[999_998]).status == models.UpdateStatus.COMPLETED
    for call in (lambda: client.retrieve("nowhere", ids=[]),
                 lambda: client.query_batch_points("nowhere", requests=[])):
        code, text = refused(call)
        assert code == 404 and "COLLECTION_NOT_FOUND" in text


def test_selectors(client, filled):
    def payload(selector):
        return client.retrieve(filled, ids=[3], with_payload=selector)[0].payload

    both = {"row": 3, "even": False}
    assert payload(True) == payload(models.PayloadSelectorExclude(exclude=[])) == both
    assert not payload(False) and not payload([]) and not payload(["nothing"])
    assert payload(["row"]) == payload(models.PayloadSelectorInclude(include=["row"])) == {"row": 3}
    assert payload(models.PayloadSelectorExclude(exclude=["row"])) == {"even": False}

    def vector(selector):
        return client.retrieve(filled, ids=[3], with_vectors=selector)[0].vector

    assert vector(False) is None
    assert len(vector(True)) == len(vector([""])) == DIMENSION


def test_what_clients_leave_to_the_server(client, filled, rows):
    """Small forms of requests that mean the same as the long ones."""
    query = rows[9].tolist()
    ids = [hit.id for hit in client.query_points(filled, query=query).points]
    assert ids == nearest(rows, rows[9], 10)[0].tolist()
    for same in ({"using": ""}, {"query_filter": models.Filter()}, {"score_threshold": 1e9},
                 {"query_filter": models.Filter(must=[])}, {"offset": 0},
                 {"search_params": models.SearchParams(exact=True)}):
        assert [hit.id for hit in client.query_points(filled, query=query, **same).points] == ids
    assert client.query_points(filled, query=rows[9], limit=1).points[0].id == 9
    assert client.count(filled, exact=False).count == COUNT
    assert len(client.scroll(filled)[0]) == 10
    client.upsert(filled, points=models.Batch(ids=[COUNT], vectors=[query]))
    assert client.retrieve(filled, ids=[COUNT])[0].payload == {}


def refused(call, *args, **kwargs):
    """The (code, text) of the answer to a call that must fail."""
    with pytest.raises(UnexpectedResponse) as error:
        call(*args, **kwargs)
    return error.value.status_code, error.value.content.decode()


def test_what_is_not_supported_is_refused_by_name(client, filled, make_collection):
    code, text = refused(make_collection,
                         models.VectorParams(size=2, distance=models.Distance.MANHATTAN))
    assert code == 400 and "Manhattan" in text
    condition = models.Filter(must=[models.FieldCondition(
        key="row", match=models.MatchValue(value=1))])
    code, text = refused(client.query_points, filled, query=[0.0] * DIMENSION,
                         query_filter=condition)
    assert code == 400 and "filters are not supported" in text
    code, text = refused(client.delete, filled, points_selector=condition)
    assert code == 400 and "filters are not supported" in text
    code, text = refused(client.query_points, filled, query=models.RecommendQuery(
        recommend=models.RecommendInput(positive=[1])))
    assert code == 400 and "recommend" in text
    code, text = refused(client.create_payload_index, filled, "row", "integer")
    assert code == 400 and "/index is not supported" in text


def test_errors_say_what_is_wrong(client, filled):
    code, text = refused(client.query_points, filled, query=[1.0, 2.0])
    assert code == 400 and "2" in text and str(DIMENSION) in text
    code, text = refused(client.upsert, filled, points=[
        models.PointStruct(id=1, vector=[0.0] * DIMENSION),
        models.PointStruct(id=77, vector=[0.0] * (DIMENSION + 1))])
    assert code == 400 and "77" in text
    code, text = refused(client.upsert, filled, points=[
        models.PointStruct(id="not-a-uuid", vector=[0.0] * DIMENSION)])
    assert code == 400 and "UUID" in text
    code, text = refused(client.query_points, filled, query=[0.0] * DIMENSION, limit=1_000_000)
    assert code == 400 and "limit" in text
    code, text = refused(client.query_points, "nowhere", query=[0.0])
    assert code == 404 and "nowhere" in text
    assert client.count(filled).count == COUNT
