// The unmodified client against the server at VECTRON_URL; run by node --test.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { QdrantClient } from '@qdrant/js-client-rest';

const collection = 'from-javascript';
const uuid = '550e8400-e29b-41d4-a716-446655440000';
const warnings = [];
console.warn = (...args) => warnings.push(args.join(' '));
const client = new QdrantClient({ url: process.env.VECTRON_URL });

before(async () => {
  await client.createCollection(collection, {
    vectors: { size: 2, distance: 'Euclid' },
    hnsw_config: { m: 8, ef_construct: 64 },
  });
});

after(async () => {
  await client.deleteCollection(collection);
});

test('collections', async () => {
  const { collections } = await client.getCollections();
  assert.ok(collections.some(({ name }) => name === collection));
  assert.deepEqual(await client.collectionExists(collection), { exists: true });
  assert.deepEqual(await client.collectionExists('nowhere'), { exists: false });
  const info = await client.getCollection(collection);
  assert.deepEqual(info.config.params.vectors, { size: 2, distance: 'Euclid' });
  assert.equal(info.config.hnsw_config.m, 8);
  await assert.rejects(client.createCollection(collection, { vectors: { size: 2, distance: 'Dot' } }),
    ({ status }) => status === 409);
});

test('points', async () => {
  const done = await client.upsert(collection, {
    wait: true,
    points: [
      { id: 1, vector: [1, 0], payload: { colour: 'red', nested: { a: [1, 2.5, null] } } },
      { id: 2, vector: [2, 0] },
      { id: uuid, vector: [9, 0.5], payload: {} },
    ],
  });
  assert.equal(done.status, 'completed');
  const records = await client.retrieve(collection, { ids: [1, uuid, 5], with_vector: true });
  assert.deepEqual(records, [
    { id: 1, payload: { colour: 'red', nested: { a: [1, 2.5, null] } }, vector: [1, 0] },
    { id: uuid, payload: {}, vector: [9, 0.5] },
  ]);
  assert.deepEqual(await client.count(collection, { exact: true }), { count: 3 });

  const { points } = await client.query(collection, { query: [0, 0], limit: 2, with_payload: true });
  assert.deepEqual(points.map(({ id, score }) => [id, score]), [[1, 1], [2, 2]]);
  assert.equal(points[0].payload.colour, 'red');
  const byId = await client.query(collection, { query: 1, limit: 1 });
  assert.deepEqual(byId.points.map(({ id }) => id), [2]);
  const batch = await client.queryBatch(collection, {
    searches: [{ query: [9, 0], limit: 1 }, { query: [2, 0], limit: 1 }],
  });
  assert.deepEqual(batch.map(({ points: [first] }) => first.id), [uuid, 2]);

  const first = await client.scroll(collection, { limit: 2, with_payload: false });
  assert.deepEqual(first, { points: [{ id: 1 }, { id: 2 }], next_page_offset: uuid });
  const rest = await client.scroll(collection, { limit: 2, offset: first.next_page_offset });
  assert.equal(rest.next_page_offset, null);

  await client.setPayload(collection, { payload: { size: 3 }, points: [2] });
  assert.deepEqual((await client.retrieve(collection, { ids: [2] }))[0].payload, { size: 3 });
  await client.overwritePayload(collection, { payload: { a: 1, b: 2 }, points: [2] });
  await client.deletePayload(collection, { keys: ['a'], points: [2] });
  assert.deepEqual((await client.retrieve(collection, { ids: [2] }))[0].payload, { b: 2 });
  await client.clearPayload(collection, { points: [2] });
  assert.deepEqual((await client.retrieve(collection, { ids: [2] }))[0].payload, {});

  await client.delete(collection, { wait: true, points: [1, uuid] });
  assert.deepEqual(await client.count(collection), { count: 1 });
});

test('errors', async () => {
  await assert.rejects(client.getCollection('nowhere'), ({ status }) => status === 404);
  await assert.rejects(client.query(collection, { query: [1, 2, 3] }),
    (error) => error.status === 400 && /dimension/.test(error.data.status.error));
  await assert.rejects(
    client.query(collection, { query: [1, 2], filter: { must: [{ has_id: [1] }] } }),
    (error) => error.status === 400 && /filters are not supported/.test(error.data.status.error));
});

test('the client knows the version', () => {
  assert.deepEqual(warnings, []);
});
