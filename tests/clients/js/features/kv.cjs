// Key-value stores.
'use strict';
const { jetstream, JetStreamApiCodes } = require('@nats-io/jetstream');
const { Kvm } = require('@nats-io/kv');
const { WAIT, all, check, read, refused, refusedWith, same, take, until } = require('./world.cjs');

const TOO_LARGE = 10054;

// The same bucket for a writer and for a reader, each with the client it is of.
async function bucket(world, options = {}, domain = undefined) {
  const context = (agent) => jetstream(agent, { timeout: WAIT, domain });
  const [out, into] = [context(await world.publisher()), context(await world.reader())];
  const writer = await new Kvm(out).create(world.named, { timeout: WAIT, ...options });
  const reader = await new Kvm(into).open(world.named, { allow_direct: options.allow_direct ?? true });
  return { world, out, into, writer, reader, put: (key, what) => writer.put(key, world.said(what)) };
}

// What an entry says, for people; `null` as it is.
const brief = (entry) => entry && [entry.key, entry.operation, String(Buffer.from(entry.value))];
const entry = (world, key, what) => [key, 'PUT', String(world.said(what))];

module.exports = {
  async kv_put_get_delete(world) {
    const { reader, writer, put } = await bucket(world);
    same(await reader.get('k'), null, 'before');
    same(await put('k', 'one'), 1, 'the revision');
    same(await put('k', 'two'), 2, 'the revision');
    const found = await reader.get('k');
    same([brief(found), found.revision, found.length], [entry(world, 'k', 'two'), 2, world.said('two').length], 'the value');
    await writer.put('large', world.long(200_000));
    same((await reader.get('large')).value, world.long(200_000), 'a large value');
    await writer.put('empty', '');
    same(brief(await reader.get('empty')), ['empty', 'PUT', ''], 'an empty value');
    await writer.delete('k');
    same(brief(await reader.get('k')), ['k', 'DEL', ''], 'after');
    await put('k', 'three');
    same(brief(await reader.get('k')), entry(world, 'k', 'three'), 'again');
  },

  async kv_history(world) {
    const { reader, writer, put } = await bucket(world, { history: 5 });
    for (const what of ['one', 'two']) await put('k', what);
    await put('other', 'another');
    await writer.delete('k');
    await put('k', 'three');
    const history = await all(await reader.history({ key: 'k' }), 'the history');
    const wanted = [entry(world, 'k', 'one'), entry(world, 'k', 'two'), ['k', 'DEL', ''], entry(world, 'k', 'three')];
    same(history.map(brief), wanted, 'the history');
    same(history.map((found) => found.revision), [1, 2, 4, 5], 'the revisions');
    same(brief(await reader.get('k', { revision: 1 })), entry(world, 'k', 'one'), 'an old revision');
    same(await reader.get('k', { revision: 3 }), null, 'the revision of another key');
    same((await all(await reader.history(), 'the history')).length, 5, 'the history of all');
  },

  async kv_watch(world) {
    const { reader, writer, put } = await bucket(world, { history: 5 });
    for (const what of ['zero', 'before']) await put('a', what);
    const last = await reader.watch();
    const history = await reader.watch({ include: 'history' });
    const updates = await reader.watch({ include: 'updates', key: ['b', 'c'] });
    const sizes = await reader.watch({ headers_only: true, ignoreDeletes: true });
    await put('b', 'after');
    await writer.delete('b');
    await writer.put('c', world.long(1_000));
    const zero = entry(world, 'a', 'zero');
    const [a, b, c] = [entry(world, 'a', 'before'), entry(world, 'b', 'after'), ['c', 'PUT', String(world.long(1_000))]];
    const deleted = ['b', 'DEL', ''];
    same((await take(last, 4, 'a watch')).map(brief), [a, b, deleted, c], 'since the last value');
    same((await take(history, 5, 'a watch of history')).map(brief), [zero, a, b, deleted, c], 'with its history');
    same((await take(updates, 3, 'a watch of updates')).map(brief), [b, deleted, c], 'updates of two keys');
    const lengths = (await take(sizes, 3, 'a watch of headers')).map((found) => [found.key, found.value.length, found.length]);
    const told = [['a', 'before'], ['b', 'after']].map(([key, what]) => [key, 0, world.said(what).length]);
    same(lengths, [...told, ['c', 0, 1_000]], 'without values');
    const resumed = await reader.watch({ resumeFromRevision: 4 });
    same((await take(resumed, 2, 'a watch resumed')).map(brief), [deleted, c], 'since a revision');
  },

  async kv_keys(world) {
    const { reader, writer, put } = await bucket(world);
    same(await all(await reader.keys(), 'no keys'), [], 'no keys');
    for (const key of ['a', 'b.c', 'b.d', 'gone']) await put(key, key);
    await writer.delete('gone');
    same((await all(await reader.keys(), 'the keys')).sort(), ['a', 'b.c', 'b.d'], 'the keys');
    same((await all(await reader.keys('b.*'), 'some keys')).sort(), ['b.c', 'b.d'], 'some keys');
  },

  async kv_ttl(world) {
    const { reader, writer, put } = await bucket(world, { markerTTL: 60_000 });
    await put('stays', 'stays');
    await writer.create('goes', world.said('goes'), '3s');
    same(brief(await reader.get('goes')), entry(world, 'goes', 'goes'), 'before its time');
    await until(async () => (await reader.get('goes'))?.operation !== 'PUT', 'the end of a value');
    same(brief(await reader.get('stays')), entry(world, 'stays', 'stays'), 'what has no end');
    await writer.create('goes', world.said('back'));
    same(brief(await reader.get('goes')), entry(world, 'goes', 'back'), 'made again');
    await writer.purge('goes', { ttl: '1s' });
    await until(async () => (await reader.get('goes')) === null, 'the end of a marker');
    same((await writer.status()).markerTTL, 60_000, 'the time of markers');
  },

  async kv_mirror(world) {
    const { out, into, put } = await bucket(world);
    await put('k', 'one');
    const copy = `${world.named}_copy`;
    await new Kvm(out).create(copy, { mirror: { name: world.named } });
    // nats.js itself looks for the keys of another bucket only where that is in another domain or account.
    const { direct } = await into.jetstreamManager();
    const copied = () => direct.getMessage(`KV_${copy}`, { last_by_subj: `$KV.${world.named}.k` });
    for (const what of ['one', 'two']) {
      if (what === 'two') await put('k', what);
      const arrived = async () => Buffer.compare((await copied())?.data ?? Buffer.alloc(0), world.said(what)) === 0;
      await until(arrived, `the copy of ${what}`);
    }
    const got = await read(into, `KV_${copy}`, 1);
    same(got[0].data, world.said('two'), 'the copy read');
  },

  async kv_domain(world) {
    const { domain } = (await world.reader()).info;
    check(domain !== undefined, 'the server has no JetStream domain');
    const { into, reader, writer, put } = await bucket(world, { history: 3 }, domain);
    same(into.apiPrefix, `$JS.${domain}.API`, 'the prefix');
    await put('k', 'one');
    same(brief(await reader.get('k')), entry(world, 'k', 'one'), 'the value');
    same(await writer.update('k', world.said('two'), 1), 2, 'the revision');
    same((await all(await reader.history({ key: 'k' }), 'the history')).length, 2, 'the history');
    await writer.delete('k');
    same(brief(await reader.get('k')), ['k', 'DEL', ''], 'after it was deleted');
    await put('k', 'three');
    const plain = await new Kvm(await world.reader()).open(world.named, { allow_direct: true });
    same(brief(await plain.get('k')), entry(world, 'k', 'three'), 'without the domain');
  },

  async kv_create_update(world) {
    const { reader, writer } = await bucket(world);
    const one = await writer.create('k', world.said('one'));
    const wrong = JetStreamApiCodes.StreamWrongLastSequence;
    await refusedWith(wrong, writer.create('k', world.said('again')), 'what is there already');
    const two = await writer.update('k', world.said('two'), one);
    await refusedWith(wrong, writer.update('k', world.said('late'), one), 'an old revision');
    same([one, two, brief(await reader.get('k'))], [1, 2, entry(world, 'k', 'two')], 'the value');
    await writer.delete('k');
    await writer.create('k', world.said('three'));
    same(brief(await reader.get('k')), entry(world, 'k', 'three'), 'after it was deleted');
  },

  async kv_without_direct_get(world) {
    const { reader, writer, put } = await bucket(world, { allow_direct: false, history: 3 });
    check((await writer.status()).streamInfo.config.allow_direct !== true, 'direct gets are allowed');
    for (const what of ['one', 'two']) await put('k', what);
    same(brief(await reader.get('k')), entry(world, 'k', 'two'), 'the value');
    same(brief(await reader.get('k', { revision: 1 })), entry(world, 'k', 'one'), 'an old revision');
    await writer.put('large', world.long(200_000));
    same((await reader.get('large')).value, world.long(200_000), 'a large value');
    await writer.delete('k');
    same(brief(await reader.get('k')), ['k', 'DEL', ''], 'after it was deleted');
    same(await reader.get('never'), null, 'what never was there');
  },

  async kv_max_value_size(world) {
    const { into, reader, writer } = await bucket(world, { maxValueSize: 100 });
    for (const store of [writer, reader]) same((await store.status()).maxValueSize, 100, 'the limit told');
    const listed = await all(new Kvm(into).list(), 'the buckets');
    same(listed.find((status) => status.bucket === world.named).maxValueSize, 100, 'the limit listed');
    await writer.put('k', world.long(100));
    await refusedWith(TOO_LARGE, writer.put('k', world.long(101)), 'one byte too many');
    same((await reader.get('k')).value, world.long(100), 'the value');
  },

  async kv_purge(world) {
    const { reader, writer, put } = await bucket(world, { history: 5 });
    for (const what of ['one', 'two']) await put('k', what);
    await put('other', 'other');
    await refused(writer.purge('k', { previousSeq: 1 }), 'the purge of an old revision');
    await writer.purge('k');
    same(brief(await reader.get('k')), ['k', 'PURGE', ''], 'after the purge');
    const history = await all(await reader.history({ key: 'k' }), 'the history');
    same(history.map(brief), [['k', 'PURGE', '']], 'the history');
    same(brief(await reader.get('other')), entry(world, 'other', 'other'), 'another key');
    await put('k', 'three');
    same(brief(await reader.get('k')), entry(world, 'k', 'three'), 'again');
  },
};
