// Consumers of every kind.
'use strict';
const { createInbox, headers: newHeaders, nanos } = require('@nats-io/transport-node');
const { Made, all, check, payloads, same, take, until, within } = require('./world.cjs');

const numbers = (count, from = 0) => Array.from({ length: count }, (_, number) => from + number);
const say = (world, which) => which.map((number) => world.said(number));

// A stream with `count` messages, and a consumer of it.
async function filled(world, count, config) {
  const made = await Made.with(world);
  await made.fill('x', count);
  return [made, await made.consumer(config)];
}

async function acknowledged(messages) {
  for (const message of messages) check(await message.ackAck(), 'no answer to the acknowledgement');
}

// A push consumer's messages; those that it gets from now on come after its subscription is known to the server.
async function pushed(made, consumer, options) {
  const messages = await consumer.consume(options);
  await made.reader.flush();
  return messages;
}

async function settled(made, name = 'worker') {
  await until(async () => {
    const info = await made.manager.consumers.info(made.name, name);
    return info.num_ack_pending === 0 && info.num_pending === 0;
  }, `nothing pending in ${name}`);
}

// All that there is now, for as little as the client can wait.
async function fetched(consumer, options) {
  return all(await consumer.fetch({ max_messages: 10, expires: 1_000, ...options }), 'a fetch');
}

// What a fetch of so many bytes yields, with whether the server said that the next message is too large.
async function fetchedBytes(consumer, bytes) {
  const got = [];
  const messages = await consumer.fetch({ max_bytes: bytes, expires: 2_000 });
  try {
    for await (const message of messages) got.push(message);
  } catch (error) {
    check(/exceeds maxbytes/i.test(error.message), `a fetch of ${bytes} bytes: ${error}`);
  }
  return got;
}

const size = (message) => Number(message.headers.get('Nats-Msg-Size'));

module.exports = {
  async consumer_pull_fetch(world) {
    const [made, worker] = await filled(world, 5);
    const first = await take(await worker.fetch({ max_messages: 2 }), 2, 'a fetch');
    const rest = await take(await worker.fetch({ max_messages: 3 }), 3, 'a fetch');
    payloads(first.concat(rest), say(world, numbers(5)), 'fetched');
    same(rest[2].info.pending, 0, 'what is pending');
    await acknowledged(first.concat(rest));
    const next = worker.next();
    await made.put('x', world.said(5));
    const message = await next;
    same(message.data, world.said(5), 'the next one');
    await acknowledged([message]);
    const messages = await worker.consume({ max_messages: 4 });
    await made.fill('x', 30, 6);
    const consumed = await take(messages, 30, 'consumed');
    payloads(consumed, say(world, numbers(30, 6)), 'consumed');
    await acknowledged(consumed);
    await messages.close();
    await settled(made);
  },

  async consumer_pull_max_bytes(world) {
    const made = await Made.with(world);
    const said = numbers(6).map((number) => world.long(50_000, number));
    for (const data of said) await made.put('x', data);
    const some = await fetchedBytes(await made.consumer({ durable_name: 'some' }), 170_000);
    payloads(some, said.slice(0, 3), 'as many as there is room for');
    // As much as one message takes: its subjects, and itself. The last digits of the acknowledgement's subject may differ.
    const enough = 50_000 + some[0].subject.length + some[0].reply.length + 8;
    const one = await fetchedBytes(await made.consumer({ durable_name: 'one' }), enough);
    payloads(one, said.slice(0, 1), 'room for one');
    const none = await fetchedBytes(await made.consumer({ durable_name: 'none' }), 40_000);
    payloads(none, [], 'no room');
    const everything = await made.consumer({ durable_name: 'everything' });
    const messages = await everything.consume({ max_bytes: 120_000, expires: 5_000 });
    const got = await take(messages, 6, 'consumed by bytes');
    payloads(got, said, 'consumed by bytes');
    await messages.close();
  },

  async consumer_push(world) {
    const made = await Made.with(world);
    await made.fill('x', 2);
    const config = { durable_name: 'pushed', ack_policy: 'explicit', deliver_subject: 'deliver.js.consumer_push' };
    await made.manager.consumers.add(made.name, config);
    const messages = await pushed(made, await made.in.consumers.getPushConsumer(made.name, 'pushed'));
    await made.fill('x', 3, 2);
    const got = await take(messages, 5, 'pushed');
    payloads(got, say(world, numbers(5)), 'pushed');
    same(got[4].subject, world.subject('x'), 'the subject');
    await acknowledged(got);
    await settled(made, 'pushed');
  },

  async consumer_push_queue(world) {
    const made = await Made.with(world);
    const bound = { deliver_subject: 'deliver.js.consumer_push_queue', deliver_group: 'crew' };
    await made.manager.consumers.add(made.name, { durable_name: 'crew', ack_policy: 'explicit', ...bound });
    const got = [];
    const shares = [0, 0];
    let enough;
    const whole = new Promise((resolve) => { enough = resolve; });
    for (const member of [0, 1]) {
      const callback = (message) => {
        message.ack();
        shares[member] += 1;
        got.push(message);
        if (got.length === 40) enough();
      };
      await pushed(made, await made.in.consumers.getBoundPushConsumer(bound), { callback });
    }
    await made.fill('x', 40);
    await within(whole, 'all that was shared').catch((error) => { throw new Error(`${error.message}, have ${got.length}`); });
    const sorted = (list) => list.map(String).sort();
    same(sorted(got.map((message) => Buffer.from(message.data))), sorted(say(world, numbers(40))), 'shared');
    check(shares.every((share) => share > 0), `one got nothing: ${shares}`);
    await settled(made, 'crew');
  },

  async consumer_ordered(world) {
    const made = await Made.with(world);
    await made.fill('x', 30);
    const every = say(world, numbers(30));
    const pull = await (await made.in.consumers.get(made.name)).consume({ max_messages: 7 });
    const push = await (await made.in.consumers.getPushConsumer(made.name)).consume();
    payloads(await take(pull, 30, 'pulled'), every, 'pulled');
    payloads(await take(push, 30, 'pushed'), every, 'pushed');
    const fetching = await made.in.consumers.get(made.name, { opt_start_seq: 11 });
    for (const from of [10, 15]) {
      const got = await take(await fetching.fetch({ max_messages: 5 }), 5, 'fetched');
      payloads(got, say(world, numbers(5, from)), 'fetched');
    }
    const config = { deliver_policy: 'last_per_subject', filter_subjects: [world.subject('x')] };
    const last = await made.in.consumers.get(made.name, config);
    payloads([await last.next()], [world.said(29)], 'the last of a subject');
  },

  async consumer_flow_control(world) {
    const made = await Made.with(world);
    const config = {
      durable_name: 'pushed', ack_policy: 'none', deliver_subject: createInbox(), flow_control: true, idle_heartbeat: nanos(500),
    };
    await made.manager.consumers.add(made.name, config);
    const messages = await pushed(made, await made.in.consumers.getPushConsumer(made.name, 'pushed'));
    const told = messages.status();
    // More than the server sends before it asks whether the client follows.
    const said = numbers(80).map((number) => world.long(100_000, number));
    const acks = said.map((data) => made.put('x', data));
    payloads(await take(messages, 80, 'pushed'), said, 'pushed');
    await Promise.all(acks);
    const kinds = new Set();
    for await (const notice of told) {
      kinds.add(notice.type);
      if (kinds.has('flow_control') && kinds.has('heartbeat')) break;
    }
  },

  async consumer_headers_only(world) {
    const made = await Made.with(world);
    const lengths = [1_000, 99, 100, 0].map((length) => world.long(length));
    const said = [world.said(0), ...lengths, world.said('with a header of its own')];
    const headers = newHeaders();
    headers.set('Mine', 'kept');
    for (const data of said.slice(0, 5)) await made.put('x', data);
    await made.put('x', said[5], { headers });
    const verify = (got, what) => {
      payloads(got, said.map(() => Buffer.alloc(0)), what);
      same(got.map(size), said.map((data) => data.length), `${what}: the sizes`);
      same(got[5].headers.get('Mine'), 'kept', `${what}: the header`);
    };
    verify(await fetched(await made.consumer({ headers_only: true }), { max_messages: 6 }), 'pulled');
    const ordered = await made.in.consumers.get(made.name, { headers_only: true });
    verify(await take(await ordered.consume(), 6, 'ordered'), 'ordered');
    const push = await made.in.consumers.getPushConsumer(made.name, { headers_only: true });
    verify(await take(await push.consume(), 6, 'pushed'), 'pushed');
  },

  async consumer_acknowledgements(world) {
    const [made, worker] = await filled(world, 5, { ack_wait: nanos(2_000), max_deliver: 4 });
    const messages = await take(await worker.fetch({ max_messages: 5 }), 5, 'a fetch');
    const [nak, late, terminated, double, single] = messages;
    late.working();
    terminated.term('a reason, which stays clear');
    check(await double.ackAck(), 'no answer to the acknowledgement');
    single.ack();
    late.nak(100);
    nak.nak();
    const again = await take(await worker.fetch({ max_messages: 2 }), 2, 'what was refused');
    again.sort((one, other) => one.seq - other.seq);
    payloads(again, say(world, [0, 1]), 'what was refused');
    same(again.map((message) => [message.redelivered, message.info.deliveryCount]), [[true, 2], [true, 2]], 'the counts');
    check(await again[1].ackAck(), 'no answer to the acknowledgement');
    // Without an acknowledgement it comes once more when the time is over.
    const third = await worker.next();
    same([String(third.data), third.info.deliveryCount], [String(world.said(0)), 3], 'after the time');
    await acknowledged([third]);
    await settled(made);
    const cumulative = await made.consumer({ durable_name: 'cumulative', ack_policy: 'all' });
    const four = await take(await cumulative.fetch({ max_messages: 4 }), 4, 'a fetch');
    check(await four[3].ackAck(), 'no answer to the acknowledgement');
    const info = await cumulative.info();
    same([info.ack_floor.stream_seq, info.num_ack_pending, info.num_pending], [4, 0, 1], 'all of them at once');
  },

  async consumer_priority_group(world) {
    const grouped = (policy) => ({ durable_name: policy, priority_groups: ['crew'], priority_policy: policy });
    const [made, overflow] = await filled(world, 3, grouped('overflow'));
    payloads(await fetched(overflow, { group: 'crew', min_pending: 10 }), [], 'too few for an overflow');
    const many = await fetched(overflow, { max_messages: 3, group: 'crew', min_pending: 1 });
    payloads(many, say(world, [0, 1, 2]), 'enough for an overflow');

    const pinned = await made.consumer({ ...grouped('pinned_client'), priority_timeout: nanos(10_000) });
    const one = await take(await pinned.fetch({ max_messages: 3, group: 'crew' }), 3, 'the pinned client');
    payloads(one, say(world, [0, 1, 2]), 'the pinned client');
    const pin = one[0].headers.get('Nats-Pin-Id');
    check(pin !== '' && one.every((message) => message.headers.get('Nats-Pin-Id') === pin), `pinned as ${pin}`);
    await acknowledged(one);

    const prioritized = await made.consumer(grouped('prioritized'));
    const low = await prioritized.fetch({ max_messages: 1, group: 'crew', priority: 5, expires: 10_000 });
    const [first] = await take(low, 1, 'the only one');
    same(first.data, world.said(0), 'a low priority alone');
  },

  async consumer_pause(world) {
    const [made, worker] = await filled(world, 3);
    const told = await made.manager.consumers.pause(made.name, 'worker', new Date('2099-01-01T00:00:00Z'));
    check(told.paused, 'not paused');
    payloads(await fetched(worker), [], 'while it pauses');
    check((await worker.info()).paused, 'not told that it pauses');
    check(!(await made.manager.consumers.resume(made.name, 'worker')).paused, 'not resumed');
    payloads(await take(await worker.fetch({ max_messages: 3 }), 3, 'after the pause'), say(world, [0, 1, 2]), 'after the pause');
  },

  async consumer_filter(world) {
    const made = await Made.with(world);
    const lasts = ['a', 'b.c', 'd', 'b.e'];
    for (const [number, last] of lasts.entries()) await made.put(last, world.said(number));
    const several = await made.consumer({ filter_subjects: [world.subject('a'), world.subject('b.*')] });
    const got = await take(await several.fetch({ max_messages: 3 }), 3, 'filtered');
    payloads(got, say(world, [0, 1, 3]), 'several filters');
    same(got.map((message) => message.subject), ['a', 'b.c', 'b.e'].map((last) => world.subject(last)), 'the subjects');
    same(got[2].info.pending, 0, 'what is pending');
    const single = await made.consumer({ durable_name: 'single', filter_subject: world.subject('*.e') });
    payloads([await single.next()], [world.said(3)], 'one filter');
  },

  async consumer_replay(world) {
    const made = await Made.with(world);
    await made.fill('x', 3);
    await made.put('y', world.said(3));
    const third = await made.manager.streams.getMessage(made.name, { seq: 3 });
    const policies = {
      all: [{}, [0, 1, 2, 3]],
      by_start_sequence: [{ opt_start_seq: 2 }, [1, 2, 3]],
      by_start_time: [{ opt_start_time: third.timestamp }, [2, 3]],
      last: [{}, [3]],
      last_per_subject: [{ filter_subject: world.subject('>') }, [2, 3]],
    };
    for (const [policy, [more, wanted]] of Object.entries(policies)) {
      const config = { durable_name: policy, deliver_policy: policy, replay_policy: 'original', ...more };
      const consumer = await made.consumer(config);
      const got = await take(await consumer.fetch({ max_messages: wanted.length }), wanted.length, policy);
      payloads(got, say(world, wanted), policy);
    }
    const late = await made.consumer({ durable_name: 'new', deliver_policy: 'new' });
    await made.put('x', world.said(4));
    payloads([await late.next()], [world.said(4)], 'only new ones');
  },
};
