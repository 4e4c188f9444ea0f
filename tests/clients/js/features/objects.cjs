// Object stores.
'use strict';
const { createHash } = require('node:crypto');
const { headers: newHeaders } = require('@nats-io/transport-node');
const { jetstream } = require('@nats-io/jetstream');
const { Objm } = require('@nats-io/obj');
const { WAIT, check, refused, same, take, within } = require('./world.cjs');

// The same store for a writer and for a reader.
async function store(world, options = {}, name = world.named) {
  const agent = await world.publisher();
  const [out, into] = [jetstream(agent, { timeout: WAIT }), jetstream(await world.reader(), { timeout: WAIT })];
  const writer = await new Objm(out).create(name, options);
  const reader = await new Objm(into).open(name);
  return { agent, writer, reader };
}

function digest(data) {
  const base64 = createHash('sha256').update(data).digest('base64');
  return `SHA-256=${base64.replaceAll('+', '-').replaceAll('/', '_')}`;
}

// Fails unless the object is these bytes, and says so of itself.
async function holds(reader, name, data, what) {
  const object = await reader.get(name);
  check(object !== null, `${what}: no object`);
  const parts = [];
  await within((async () => { for await (const part of object.data) parts.push(part); })(), what);
  same(await object.error ?? null, null, `${what}: the error`);
  same(Buffer.concat(parts), data, what);
  const info = await reader.info(name);
  if (info.options?.link !== undefined) return;
  same([info.size, info.digest], [data.length, digest(data)], `${what}: its size and digest`);
}

// Bytes of which no two chunks are the same.
function various(world, size) {
  const lines = [];
  for (let have = 0, number = 0; have < size; number += 1) {
    lines.push(world.said(number));
    have += lines.at(-1).length;
  }
  return Buffer.concat(lines).subarray(0, size);
}

async function chunked(world, options, name) {
  const { agent, writer, reader } = await store(world, options, name);
  const data = various(world, 1_500_000);
  const most = agent.info.max_payload;
  for (const [max_chunk_size, size] of [[undefined, 128 * 1024], [10_000, 10_000], [64 << 20, most], [most, most]]) {
    const object = `of ${max_chunk_size}`;
    const put = await writer.putBlob({ name: object, options: { max_chunk_size } }, data);
    same([put.size, put.chunks], [data.length, Math.ceil(data.length / size)], `${object}: its size and chunks`);
    await holds(reader, object, data, object);
  }
}

module.exports = {
  async object_put_get(world) {
    const { writer, reader } = await store(world);
    same(await reader.get('o'), null, 'before');
    for (const data of [world.said('an object'), world.said('another'), Buffer.alloc(0), world.long(100_000)]) {
      const put = await writer.putBlob({ name: 'o' }, data);
      same([put.size, put.digest, put.chunks], [data.length, digest(data), Math.ceil(data.length / (128 * 1024))], 'as put');
      await holds(reader, 'o', data, `an object of ${data.length}`);
    }
    const { revision } = await reader.info('o');
    await refused(writer.putBlob({ name: 'o' }, world.said('late'), { previousRevision: 1 }), 'an old revision');
    await writer.putBlob({ name: 'o' }, world.said('in time'), { previousRevision: revision });
    await writer.putBlob({ name: 'second' }, world.said('second'));
    same((await reader.list()).map((info) => info.name).sort(), ['o', 'second'], 'the list');
    same(await reader.getBlob('o'), world.said('in time'), 'as a blob');
  },

  async object_chunks(world) {
    await chunked(world, {}, world.named);
    // nats.js has it, and does not speak of it: chunks by fast ingest.
    await chunked(world, { allowBatched: true }, `${world.named}_fast`);
  },

  async object_links(world) {
    const { writer, reader } = await store(world);
    const other = await store(world, {}, `${world.named}_other`);
    await writer.putBlob({ name: 'o' }, world.said('linked'));
    const link = await writer.link('link', await writer.info('o'));
    same(link.options.link, { bucket: world.named, name: 'o' }, 'the link');
    await holds(reader, 'link', world.said('linked'), 'through a link');
    await other.writer.link('far', await writer.info('o'));
    await holds(other.reader, 'far', world.said('linked'), 'through a link from another store');
    await other.writer.linkStore('whole', writer);
    same((await other.reader.info('whole')).options.link, { bucket: world.named }, 'the link to a store');
    await refused(writer.link('o', await writer.info('o')), 'a link in place of an object');
    await refused(writer.link('twice', await writer.info('link')), 'a link to a link');
  },

  async object_metadata(world) {
    const { writer, reader } = await store(world);
    const said = (what) => String(world.said(what));
    const headers = newHeaders();
    headers.set('Mine', said('header'));
    const meta = { name: 'o', description: said('description'), metadata: { about: said('metadata') }, headers };
    await writer.putBlob(meta, world.said('data'));
    const told = (info) => [info.description, info.metadata.about, info.headers.get('Mine')];
    same(told(await reader.info('o')), ['description', 'metadata', 'header'].map(said), 'as put');
    const changed = { name: 'renamed', description: said('another'), metadata: { about: said('changed') }, headers };
    await writer.update('o', changed);
    same(told(await reader.info('renamed')), ['another', 'changed', 'header'].map(said), 'as changed');
    await holds(reader, 'renamed', world.said('data'), 'under its new name');
    same(await reader.info('o'), null, 'the old name');
    same((await reader.list()).map((info) => info.description), [said('another')], 'in the list');
  },

  async object_watch(world) {
    const { writer, reader } = await store(world);
    await writer.putBlob({ name: 'before' }, world.said('before'));
    const every = await reader.watch({ includeHistory: true });
    const updates = await reader.watch({ ignoreDeletes: true });
    await writer.putBlob({ name: 'after' }, world.long(500));
    await writer.delete('after');
    await writer.putBlob({ name: 'last' }, world.said('last'));
    const brief = (info) => [info.name, info.size, info.deleted ?? false];
    const before = ['before', world.said('before').length, false];
    const [after, last] = [['after', 500, false], ['last', world.said('last').length, false]];
    same((await take(every, 4, 'a watch')).map(brief), [before, after, ['after', 0, true], last], 'with history');
    same((await take(updates, 2, 'a watch of updates')).map(brief), [after, last], 'updates');
  },

  async object_delete(world) {
    const { writer, reader } = await store(world);
    await writer.putBlob({ name: 'o' }, world.long(200_000));
    await writer.putBlob({ name: 'stays' }, world.said('stays'));
    const purged = await writer.delete('o');
    same([purged.success, purged.purged], [true, 2], 'the chunks purged');
    same(await reader.get('o'), null, 'after it was deleted');
    check((await reader.info('o')).deleted, 'not marked as deleted');
    same((await reader.list()).map((info) => info.name), ['stays'], 'the list');
    await writer.putBlob({ name: 'o' }, world.said('back'));
    await holds(reader, 'o', world.said('back'), 'put again');
    await holds(reader, 'stays', world.said('stays'), 'another');
  },
};
