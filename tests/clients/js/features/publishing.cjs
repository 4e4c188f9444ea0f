// Ways of putting messages into a stream, and what a stream keeps of them.
'use strict';
const { headers: newHeaders } = require('@nats-io/transport-node');
const { jetstream, JetStreamApiCodes } = require('@nats-io/jetstream');
const { startFastIngest } = require('@nats-io/jetstream/internal');
const { WAIT, Made, check, payloads, read, refused, refusedWith, same, until } = require('./world.cjs');

const WRONG_SEQUENCE = JetStreamApiCodes.StreamWrongLastSequence;
const WRONG_MESSAGE_ID = 10070;
const WRONG_STREAM = 10060;
const TOO_MANY_MESSAGES = 10077;
const TOO_LARGE = 10054;

const numbers = (count, from = 0) => Array.from({ length: count }, (_, number) => from + number);

// Publishes without headers, which count as well; throws what JetStream refuses with.
async function bare(made, data, headers) {
  const answer = (await made.publisher.request(made.world.subject('x'), data, { timeout: WAIT, headers })).json();
  if (answer.error) throw Object.assign(new Error(answer.error.description), { code: answer.error.err_code });
  return answer;
}

async function limits(world, storage) {
  const made = await Made.with(world, { max_msgs: 3, discard: 'old', storage });
  await made.fill('x', 5);
  await made.holds([2, 3, 4]);
  same(made.info.config.storage, storage, 'the storage');
  await made.maker.streams.update(made.name, { discard: 'new' });
  await refusedWith(TOO_MANY_MESSAGES, made.put('x', world.said(5)), 'one too many');
  await made.holds([2, 3, 4]);
}

// The stream keeps messages until they are acknowledged.
async function keptUntilAcknowledged(world, retention) {
  const made = await Made.with(world, { retention });
  const worker = await made.consumer();
  await made.fill('x', 3);
  same((await made.state()).messages, 3, 'before the acknowledgement');
  const messages = await worker.fetch({ max_messages: 3 });
  let number = 0;
  for await (const message of messages) {
    same(message.data, world.said(number), `number ${number}`);
    check(await message.ackAck(), 'no answer to the acknowledgement');
    number += 1;
  }
  same(number, 3, 'how many came');
  await made.shrinksTo(0);
}

module.exports = {
  async stream_publish(world) {
    const made = await Made.with(world);
    for (const number of numbers(5)) {
      const ack = await made.put('x', world.said(number));
      same([ack.stream, ack.seq, ack.duplicate], [made.name, number + 1, false], 'the acknowledgement');
    }
    await made.holds(numbers(5));
    const headers = newHeaders();
    headers.set('Mine', 'kept');
    await made.put('y', world.said(5), { headers });
    await made.put('y', Buffer.alloc(0));
    const got = await made.read(7);
    payloads(got.slice(5), [world.said(5), Buffer.alloc(0)], 'with a header, and empty');
    same(got[5].headers.get('Mine'), 'kept', 'the header');
    same(got[5].subject, world.subject('y'), 'the subject');
  },

  async stream_publish_async(world) {
    const made = await Made.with(world);
    const acks = await Promise.all(numbers(200).map((number) => made.put('x', world.said(number))));
    same(acks.map((ack) => ack.seq), numbers(200, 1), 'the sequences');
    await made.holds(numbers(200));
  },

  async stream_dedup(world) {
    const made = await Made.with(world);
    for (const again of [false, true, true]) {
      const ack = await made.put('x', world.said(0), { msgID: 'once' });
      same([ack.seq, ack.duplicate], [1, again], 'the acknowledgement');
    }
    await made.put('x', world.said(1), { msgID: 'another' });
    await made.holds([0, 1]);
  },

  async stream_expected_headers(world) {
    const made = await Made.with(world);
    const put = (number, expect) => made.put('x', world.said(number), { expect, msgID: `id ${number}` });
    await put(0, { lastSequence: 0, streamName: made.name });
    await refusedWith(WRONG_SEQUENCE, put(7, { lastSequence: 0 }), 'a wrong last sequence');
    await refusedWith(WRONG_STREAM, put(7, { streamName: 'another' }), 'a wrong stream');
    await refusedWith(WRONG_MESSAGE_ID, put(7, { lastMsgID: 'another' }), 'a wrong last message');
    await refusedWith(WRONG_SEQUENCE, put(7, { lastSubjectSequence: 5 }), 'a wrong last sequence of the subject');
    await put(1, { lastMsgID: 'id 0', lastSubjectSequence: 1 });
    await put(2, { lastSequence: 2 });
    await made.holds([0, 1, 2]);
  },

  stream_limits_file: (world) => limits(world, 'file'),
  stream_limits_memory: (world) => limits(world, 'memory'),

  async stream_interest(world) {
    await keptUntilAcknowledged(world, 'interest');
  },

  async stream_work_queue(world) {
    await keptUntilAcknowledged(world, 'workqueue');
  },

  async stream_rollup(world) {
    const made = await Made.with(world, { allow_rollup_hdrs: true });
    const rollup = (what) => {
      const headers = newHeaders();
      headers.set('Nats-Rollup', what);
      return { headers };
    };
    await made.fill('x', 3);
    await made.put('y', world.said(3));
    await made.put('x', world.said(4), rollup('sub'));
    await made.holds([3, 4]);
    await made.put('x', world.said(5), rollup('all'));
    await made.holds([5]);
  },

  async stream_message_ttl(world) {
    const made = await Made.with(world, { allow_msg_ttl: true });
    await made.put('stays', world.said(0));
    await made.put('goes', world.said(1), { ttl: '1s' });
    await made.put('never', world.said(2), { ttl: 'never' });
    await made.shrinksTo(2);
    await made.holds([0, 2]);
  },

  async stream_purge_and_delete(world) {
    const made = await Made.with(world);
    await made.fill('x', 5);
    await made.put('y', world.said(5));
    check(await made.maker.streams.deleteMessage(made.name, 2), 'not deleted');
    check(await made.maker.streams.deleteMessage(made.name, 3, false), 'not deleted');
    await made.holds([0, 3, 4, 5]);
    same((await made.maker.streams.purge(made.name, { filter: world.subject('x'), keep: 1 })).purged, 2, 'all but one');
    await made.holds([4, 5]);
    same((await made.maker.streams.purge(made.name, { seq: 6 })).purged, 1, 'up to a sequence');
    await made.holds([5]);
    same((await made.maker.streams.purge(made.name)).purged, 1, 'what was left');
    await made.holds([]);
  },

  async stream_max_msg_size(world) {
    const made = await Made.with(world, { max_msg_size: 100 });
    const size = (info) => info.config.max_msg_size;
    same(size(made.info), 100, 'as created');
    same(size(await made.manager.streams.info(made.name)), 100, 'in the information');
    const listed = (await made.manager.streams.list(world.subject('x')).next()).map((info) => [info.config.name, size(info)]);
    same(listed, [[made.name, 100]], 'in the list');
    await bare(made, world.long(100));
    await refusedWith(TOO_LARGE, bare(made, world.long(101)), 'one byte too many');
    const headers = newHeaders();
    headers.set('Mine', 'counts');
    const rest = 100 - headers.toString().length;
    await bare(made, world.long(rest), headers);
    await refusedWith(TOO_LARGE, bare(made, world.long(rest + 1), headers), 'one byte too many with its headers');
    same(size(await made.maker.streams.update(made.name, { max_msg_size: 120 })), 120, 'as updated');
    await bare(made, world.long(120));
    await refusedWith(TOO_LARGE, bare(made, world.long(121)), 'one byte more than as updated');
    payloads(await made.read(3), [100, rest, 120].map((length) => world.long(length)), 'what was accepted');
  },

  async stream_atomic_batch(world) {
    const made = await Made.with(world, { allow_atomic: true });
    const [subject, said] = [world.subject('x'), (number) => world.said(number)];
    const batch = await made.out.startBatch(subject, said(0));
    batch.add(subject, said(1));
    await batch.add(subject, said(2), { ack: true });
    same((await made.state()).messages, 0, 'before the commit');
    const ack = await batch.commit(subject, said(3), { timeout: WAIT });
    same([ack.batch, ack.count, ack.seq], [batch.id, 4, 4], 'the acknowledgement');
    await made.holds(numbers(4));
    const wrong = await made.out.startBatch(subject, said(7), { expect: { lastSequence: 1 } }).catch((error) => error);
    const committed = wrong instanceof Error ? Promise.reject(wrong) : wrong.commit(subject, said(8), { timeout: WAIT });
    await refused(committed, 'a batch after another sequence');
    await made.holds(numbers(4), 'after a refused batch');
  },

  // What the object store publishes with; nats.js has it for its own packages only.
  async stream_fast_ingest(world) {
    const made = await Made.with(world, { allow_batched: true });
    const count = 200;
    const options = { ackInterval: 10, allowGaps: false, timeout: WAIT };
    const batch = await startFastIngest(made.publisher, world.subject('x'), world.said(0), options);
    for (const number of numbers(count - 2, 1)) await batch.add(world.subject('x'), world.said(number), { timeout: WAIT });
    check((await batch.ping(WAIT)).ackSeq > 0, 'no flow control');
    const ack = await batch.last(world.subject('x'), world.said(count - 1), { timeout: WAIT });
    same([ack.batch, ack.count, ack.seq], [batch.batch, count, count], 'the acknowledgement');
    const other = await startFastIngest(made.publisher, world.subject('x'), world.said(count), options);
    await other.add(world.subject('y'), world.said(count + 1), { timeout: WAIT });
    same((await other.end({ timeout: WAIT })).count, 2, 'a batch that is ended');
    await made.holds(numbers(count + 2));
  },

  async stream_schedule(world) {
    for (const keyring of ['moved', 'renamed']) {
      const [publisher, reader] = await world.mixed();
      const of = (way) => `${keyring}.js.${way}.stream_schedule`;
      const name = `${world.named}_${keyring}`;
      const subjects = [of('in'), of('out')];
      const agents = [publisher, reader];
      const made = await Made.with(world, { name, subjects, allow_msg_schedules: true, allow_msg_ttl: true }, agents);
      const schedule = { specification: new Date('2020-01-01T00:00:00Z'), target: of('out') };
      await made.out.publish(of('in'), world.said(keyring), { schedule });
      // A schedule whose time has come is deleted, and its target stands in its place.
      const last = () => made.manager.streams.getMessage(name, { last_by_subj: of('out') });
      await until(async () => (await last()) !== null, 'the target');
      same((await last()).data, world.said(keyring), `${keyring}: by its subject`);
      const [message] = await made.read(1);
      same([message.subject, message.headers.get('Nats-Scheduler')], [of('out'), of('in')], `${keyring}: its subjects`);
      same(message.data, world.said(keyring), keyring);
      const far = { specification: { every: '100h' }, target: of('out') };
      await made.out.publish(of('in'), world.said('far'), { schedule: far });
      const stored = await made.manager.streams.getMessage(name, { last_by_subj: of('in') });
      same(stored.data, world.said('far'), `${keyring}: a schedule that waits`);
    }
  },

  async stream_counter(world) {
    const [publisher, reader] = await world.mixed();
    const subject = 'counter.js.stream_counter';
    const config = { subjects: [subject], allow_msg_counter: true, allow_direct: true };
    const made = await Made.with(world, config, [publisher, reader]);
    for (const [step, value] of [['+1', '1'], ['+5', '6'], ['-2', '4']]) {
      const headers = newHeaders();
      headers.set('Nats-Incr', step);
      same((await made.out.publish(subject, Buffer.alloc(0), { headers })).val, value, 'the sum acknowledged');
    }
    const last = await made.manager.direct.getMessage(made.name, { last_by_subj: subject });
    same(last.json(), { val: '4' }, 'the sum stored');
    const got = await read(jetstream(reader), made.name, 3);
    same(got.map((message) => message.json().val), ['1', '6', '4'], 'the sums read');
  },
};
