// Ways in which stored messages come back.
'use strict';
const { headers: newHeaders } = require('@nats-io/transport-node');
const { Inbox, Made, all, check, payloads, read, same, until } = require('./world.cjs');

function head(pairs) {
  const headers = newHeaders();
  for (const [name, value] of Object.entries(pairs)) headers.set(name, value);
  return headers;
}

// Another stream copies these.
async function copied(world, made, config, wanted) {
  const name = `${made[0].name}_copy`;
  await made[0].maker.streams.add({ ...config, name });
  await until(async () => (await made[0].manager.streams.info(name)).state.messages === wanted.length, 'the copies');
  const got = await read(made[0].in, name, wanted.length);
  const bySaid = (one, other) => Buffer.compare(one.data, other.data);
  payloads(got.sort(bySaid), wanted.map((what) => world.said(what)), 'the copies');
  for (const message of got) {
    const stored = await made[0].manager.streams.getMessage(name, { seq: message.seq });
    same(stored.data, message.data, 'a copy by its sequence');
  }
  return got;
}

// The same stream with three messages of one subject, and more of another.
async function filled(world, allowDirect) {
  const made = await Made.with(world, { allow_direct: allowDirect });
  await made.fill('x', 3);
  await made.fill('y', 2, 3);
  await made.put('z', world.said(5), { headers: head({ Mine: 'kept' }) });
  return made;
}

// What is asked for in every way that a stream has, and the number of what comes.
function asked(world) {
  return [
    [{ seq: 2 }, 1],
    [{ last_by_subj: world.subject('x') }, 2],
    [{ last_by_subj: world.subject('>') }, 5],
    [{ seq: 2, next_by_subj: world.subject('y') }, 3],
    [{ seq: 6 }, 5],
  ];
}

async function gets(made, get) {
  const { world } = made;
  const lasts = ['x', 'x', 'x', 'y', 'y', 'z'];
  for (const [query, number] of asked(world)) {
    const message = await get(query);
    const what = JSON.stringify(query);
    check(message !== null, `${what}: nothing`);
    same(message.data, world.said(number), what);
    same([message.subject, message.seq], [world.subject(lasts[number]), number + 1], what);
    same(message.header?.get('Mine') ?? '', number === 5 ? 'kept' : '', `${what}: the header`);
    check(Math.abs(message.time.getTime() - Date.now()) < 600_000, `${what}: the time`);
  }
  same(await get({ seq: 100 }), null, 'what is not there');
  same(await get({ last_by_subj: world.subject('nothing') }), null, 'what never was there');
}

// A stream for each keyring that knows of other subjects, with what makes one subject of another.
async function renaming(world, config, use) {
  for (const keyring of ['moved', 'renamed']) {
    const of = (way) => `${keyring}.js.${way}.${world.name}`;
    const name = `${world.named}_${keyring}`;
    const subjects = [of('in')];
    const made = await Made.with(world, { name, subjects, ...config(of) }, await world.mixed());
    await use(made, of, keyring);
  }
}

module.exports = {
  async stream_mirror(world) {
    const made = await Made.with(world);
    await made.fill('x', 3);
    const got = await copied(world, [made], { mirror: { name: made.name } }, [0, 1, 2]);
    same(got.map((message) => message.subject), Array(3).fill(world.subject('x')), 'the subjects');
  },

  async stream_source(world) {
    const one = await Made.with(world, { subjects: [world.subject('one.*')] });
    const two = await Made.with(world, { subjects: [world.subject('two.*')], name: `${world.named}_two` });
    await one.fill('one.x', 3);
    await two.fill('two.x', 2, 3);
    await two.put('two.y', world.said('left out'));
    const sources = [{ name: one.name }, { name: two.name, filter_subject: world.subject('two.x') }];
    const got = await copied(world, [one, two], { sources }, [0, 1, 2, 3, 4]);
    for (const message of got) {
      const origin = message.headers.get('Nats-Stream-Source').split(' ');
      check([one.name, two.name].some((name) => origin[0].startsWith(name)), `it comes from ${origin}`);
    }
  },

  async stream_republish(world) {
    const config = (of) => ({ republish: { src: of('in'), dest: of('out') } });
    await renaming(world, config, async (made, of, keyring) => {
      const heard = new Inbox(made.reader, of('out'));
      await made.reader.flush();
      await made.out.publish(of('in'), world.said(keyring));
      const [message] = await heard.take(1);
      same(message.data, world.said(keyring), keyring);
      same([message.headers.get('Nats-Subject'), message.headers.get('Nats-Sequence')], [of('in'), '1'], 'its origin');
      await made.maker.streams.update(made.name, { republish: { ...config(of).republish, headers_only: true } });
      await made.out.publish(of('in'), world.said(keyring), { headers: head({ Mine: 'kept' }) });
      const [short] = await heard.take(1);
      same(short.data, Buffer.alloc(0), 'headers only');
      same(short.headers.get('Nats-Msg-Size'), String(world.said(keyring).length), `${keyring}: the size told`);
    });
  },

  async stream_subject_transform(world) {
    const config = (of) => ({ subject_transform: { src: of('in'), dest: of('out') } });
    await renaming(world, config, async (made, of, keyring) => {
      await made.out.publish(of('in'), world.said(keyring));
      const [message] = await made.read(1);
      same([message.subject, String(message.data)], [of('out'), String(world.said(keyring))], keyring);
      const stored = await made.manager.streams.getMessage(made.name, { last_by_subj: of('out') });
      same(stored.data, world.said(keyring), `${keyring}: by its subject`);
    });
  },

  async stream_message_get(world) {
    const made = await filled(world, false);
    await gets(made, (query) => made.manager.streams.getMessage(made.name, query));
    await made.put('large', world.long(200_000));
    const large = await made.manager.streams.getMessage(made.name, { last_by_subj: world.subject('large') });
    same(large.data, world.long(200_000), 'a large one');
    await made.put('empty', Buffer.alloc(0));
    const empty = await made.manager.streams.getMessage(made.name, { last_by_subj: world.subject('empty') });
    same(empty.data, new Uint8Array(0), 'an empty one');
  },

  async stream_direct_get(world) {
    const made = await filled(world, true);
    await gets(made, (query) => made.manager.direct.getMessage(made.name, query));
    const first = await made.manager.direct.getMessage(made.name, { start_time: new Date(0) });
    same(first.data, world.said(0), 'by its time');
  },

  async stream_direct_get_batch(world) {
    const made = await filled(world, true);
    const ask = async (query) => all(await made.manager.direct.getBatch(made.name, query), JSON.stringify(query));
    const say = (numbers) => numbers.map((number) => world.said(number));
    payloads(await ask({ seq: 2, batch: 3 }), say([1, 2, 3]), 'a batch');
    payloads(await ask({ seq: 1, batch: 100 }), say([0, 1, 2, 3, 4, 5]), 'all');
    payloads(await ask({ seq: 1, batch: 10, next_by_subj: world.subject('y') }), say([3, 4]), 'of one subject');
    payloads(await ask({ start_time: new Date(0), batch: 2 }), say([0, 1]), 'since a time');
    for (const number of [6, 7, 8, 9]) await made.put('large', world.long(100_000, number));
    const large = await ask({ seq: 7, batch: 4, max_bytes: 150_000 });
    payloads(large, [6, 7].map((number) => world.long(100_000, number)), 'until the bytes are used up');
  },

  async stream_direct_get_multi_last(world) {
    const made = await filled(world, true);
    const ask = async (query) => all(await made.manager.direct.getLastMessagesFor(made.name, query), JSON.stringify(query));
    const say = (numbers) => numbers.map((number) => world.said(number));
    const [x, y, every] = ['x', 'y', '>'].map((last) => world.subject(last));
    payloads(await ask({ multi_last: [x, y] }), say([2, 4]), 'two subjects');
    payloads(await ask({ multi_last: [every] }), say([2, 4, 5]), 'every subject');
    payloads(await ask({ multi_last: [every], batch: 2 }), say([2, 4]), 'two of them');
    payloads(await ask({ multi_last: [every], up_to_seq: 4 }), say([2, 3]), 'as it was');
  },

  async stream_compression(world) {
    const made = await Made.with(world, { compression: 's2' });
    same(made.info.config.compression, 's2', 'the compression');
    for (let number = 0; number < 20; number += 1) await made.put('x', world.long(10_000, number));
    const said = Array.from({ length: 20 }, (_, number) => world.long(10_000, number));
    payloads(await made.read(20), said, 'compressed');
  },
};
