// What nats.js makes of a gateway that stops, is taken over, or refuses it: `edges.cjs --url URL --only SCENARIO --out REPORT`.
// See tests/src/driver.rs for what is done with the report. What is to happen meanwhile is cued.
'use strict';
const readline = require('node:readline');
const { headers: newHeaders, nanos } = require('@nats-io/transport-node');
const { AckPolicy, jetstream, jetstreamManager } = require('@nats-io/jetstream');
const { Inbox, WAIT, check, text, until } = require('./features/world.cjs');
const { run } = require('./run.cjs');

// What shows that something goes on.
const SOME = 20;
// How long an answer may take before the question is asked again, in milliseconds.
const PATIENCE = 1_000;
// How long to wait before connecting again, in milliseconds.
const AGAIN = 50;

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const note = (message) => `${message.subject} ${message.string()}`;

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function cue(name) {
  process.stdout.write(`CUE ${name}\n`);
  await lines.next();
}

// A connection, and the kinds of what happens to it as they come.
async function watched(open, options) {
  const connection = await open(options);
  const events = [];
  (async () => { for await (const status of connection.status()) events.push(status); })();
  return { connection, events };
}

const refusals = (events) => events.filter(({ type }) => type === 'error').map(({ error }) => `${error.name}: ${error.message}`);

// Messages of a stream, requests and plain messages, going on until it is enough.
class Work {
  constructor() {
    this.enough = false;
    this.over = false;
    this.acknowledged = new Set();
    this.read = new Set();
    this.answered = 0;
    this.heard = [];
  }

  async publish(connection) {
    const js = jetstream(connection, { timeout: PATIENCE });
    for (let number = 0; !this.enough;) {
      const words = `message ${number}`;
      try {
        await js.publish('edges.x', text(words), { msgID: words });
      } catch {
        await pause(AGAIN);
        continue;
      }
      this.acknowledged.add(words);
      number += 1;
    }
  }

  async consume(connection) {
    const js = jetstream(connection, { timeout: PATIENCE });
    while (!this.over) {
      try {
        const consumer = await js.consumers.get('EDGES', 'worker');
        for await (const message of await consumer.fetch({ max_messages: 200, expires: PATIENCE })) {
          this.read.add(message.string());
          message.ack();
        }
      } catch {
        await pause(AGAIN);
      }
    }
  }

  async ask(connection) {
    while (!this.enough) {
      const question = `question ${this.answered}`;
      let answer;
      try {
        answer = await connection.request('ask.x', text(question), { timeout: PATIENCE });
      } catch {
        await pause(AGAIN);
        continue;
      }
      check(answer.string() === `re: ${question}`, answer.string());
      this.answered += 1;
    }
  }

  async talk(connection) {
    for (let number = 0; !this.enough; number += 1) {
      connection.publish('core.x', text(String(number)));
      await pause(2);
    }
  }

  counts() {
    return [this.acknowledged.size, this.read.size, this.answered, this.heard.length];
  }

  async goesOn() {
    const before = this.counts();
    await until(() => this.counts().every((now, which) => now >= before[which] + SOME), 'work that goes on');
  }
}

async function takeOver(open) {
  const options = { reconnect: true, reconnectTimeWait: AGAIN, maxReconnectAttempts: -1 };
  const lives = [];
  for (let number = 0; number < 5; number += 1) lives.push(await watched(open, options));
  const [publisher, consumer, asker, listener, answerer] = lives.map((life) => life.connection);
  const manager = await jetstreamManager(publisher);
  await manager.streams.add({ name: 'EDGES', subjects: ['edges.>'] });
  await manager.consumers.add('EDGES', {
    durable_name: 'worker', ack_policy: AckPolicy.Explicit, ack_wait: nanos(2 * PATIENCE), max_ack_pending: 10_000,
  });
  const work = new Work();
  listener.subscribe('core.x', { callback: (_, message) => work.heard.push(Number(message.string())) });
  answerer.subscribe('ask.x', { callback: (_, message) => message.respond(text(`re: ${message.string()}`)) });
  await listener.flush();
  await answerer.flush();
  const parts = [work.publish(publisher), work.consume(consumer), work.ask(asker), work.talk(publisher)];
  for (let round = 0; round < 2; round += 1) {
    await work.goesOn();
    await cue('take-over');
    for (const { events } of lives) {
      const had = (type) => events.some((event) => event.type === type);
      await until(() => had('reconnect'), 'a connection that is back');
      check(had('ldm'), events.map((event) => event.type).join());
      events.length = 0;
    }
  }
  await work.goesOn();
  work.enough = true;
  await until(() => [...work.acknowledged].every((words) => work.read.has(words)), 'what was acknowledged');
  work.over = true;
  await Promise.all(parts);
  const next = `message ${work.acknowledged.size}`;
  check([...work.read].every((words) => words === next || work.acknowledged.has(words)), 'read, but never sent');
  check(work.heard.every((number, place) => place === 0 || number > work.heard[place - 1]), 'core messages twice or out of turn');
  return [];
}

const GUEST = { user: 'guest', pass: 'g' };

const scenarios = {
  // The event, once; and everything is as it was until the connection is closed.
  async lame_duck(open) {
    const { connection, events } = await watched(open);
    const inbox = new Inbox(connection, 'still.x');
    await connection.flush();
    await cue('lame-duck');
    const ducks = () => events.filter(({ type }) => type === 'ldm');
    await until(() => ducks().length > 0, 'the event');
    connection.publish('still.x', text('here'));
    const [message] = await inbox.take(1);
    return [...ducks().map(() => 'lame duck'), note(message)];
  },

  // Nothing acknowledged is lost, and every connection comes back by itself, having been told.
  take_over: takeOver,

  // One error for each publish that is refused; the connection lives on.
  async guest_publishes(open) {
    const { connection, events } = await watched(open, GUEST);
    const inbox = new Inbox(connection, 'b.x');
    for (const [subject, words] of [['a.x', 'refused'], ['b.x', 'one'], ['a.y', 'refused'], ['b.x', 'two']]) {
      connection.publish(subject, text(words));
    }
    const heard = await inbox.take(2);
    await connection.flush();
    check(!connection.isClosed(), 'the connection is gone');
    return [...heard.map(note), ...refusals(events)];
  },

  // A subscription to what is not for it is refused; one that reaches further gets the rest.
  async guest_subscribes(open) {
    const { connection, events } = await watched(open, GUEST);
    const ends = [];
    connection.subscribe('a.>', { callback: (error) => { if (error) ends.push(`ended by ${error.name}`); } });
    const everything = new Inbox(connection, '>');
    await connection.flush();
    await cue('speak');
    const seen = [];
    while (seen.length === 0 || !seen[seen.length - 1].startsWith('b.last')) {
      const [message] = await everything.take(1);
      seen.push(note(message));
      check(!message.string().includes('secret'), 'plaintext that is not for it');
    }
    check(!connection.isClosed(), 'the connection is gone');
    return [...seen, ...ends, ...refusals(events)];
  },

  // A request that is refused fails at once, and so does what would be stored; the next one does not.
  async guest_asks(open) {
    const { connection } = await watched(open, GUEST);
    const other = await open(GUEST);
    other.subscribe('b.ask', { callback: (_, message) => message.respond(text(`re: ${message.string()}`)) });
    await other.flush();
    const seen = [];
    const block = newHeaders();
    block.set('k', 'v');
    for (const ask of [
      () => connection.request('a.ask', text('?'), { timeout: WAIT }),
      () => connection.request('a.ask', text('?'), { timeout: WAIT, noMux: true, headers: block }),
      () => jetstream(connection, { timeout: WAIT }).publish('a.stored', text('refused')),
    ]) {
      try {
        await ask();
        seen.push('an answer');
      } catch (error) {
        seen.push(`${error.name}: ${error.message}`);
      }
    }
    const answer = await connection.request('b.ask', text('?'), { timeout: WAIT });
    return [...seen, answer.string()];
  },

  // A stream and a schedule whose messages would open for nobody.
  async misdirected(open) {
    const connection = await open();
    const manager = await jetstreamManager(connection, { timeout: WAIT });
    const republish = { src: 'at.>', dest: 'copy.>' };
    const schedule = { specification: new Date('2099-01-01T00:00:00Z'), target: 'out.a' };
    const seen = [];
    for (const ask of [
      () => manager.streams.add({ name: 't', subjects: ['at.>'], republish }),
      () => jetstream(connection, { timeout: WAIT }).publish('in.a', text('soon'), { schedule }),
    ]) {
      try {
        await ask();
        seen.push('an answer');
      } catch (error) {
        seen.push(`${error.code} ${error.message}`);
      }
    }
    return seen;
  },

  // JetStream under a prefix that the gateway does not know.
  async foreign(open) {
    const connection = await open();
    try {
      await jetstreamManager(connection, { apiPrefix: 'JS.acme.API', timeout: WAIT });
      return ['an answer'];
    } catch (error) {
      return [error.message];
    }
  },

  // What `consume` asks for with each pull while there is nothing, and while messages come. Each burst begins behind a pull that has
  // expired, so that it is over before the next does.
  async consumes_by_bytes(open) {
    const { connection } = await watched(open);
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'BYTES', subjects: ['bytes.>'] });
    await manager.consumers.add('BYTES', { durable_name: 'c', ack_policy: AckPolicy.None });
    const js = jetstream(connection, { timeout: WAIT });
    const messages = await (await js.consumers.get('BYTES', 'c')).consume({ max_bytes: 65_536, expires: 2_000 });
    const asked = [];
    let read = 0;
    (async () => { for await (const status of messages.status()) if (status.type === 'next') asked.push(JSON.stringify(status.options)); })();
    (async () => { for await (const message of messages) read += message.data.length; })();
    const pulls = (count) => until(() => asked.length >= count, `${count} pulls`);
    let said = 0;
    for (const [count, size] of [[10, 1000], [20, 2000]]) {
      await pulls(asked.length + 2);
      for (let number = 0; number < count; number += 1) await js.publish('bytes.x', text('x'.repeat(size)));
      said += count * size;
      await until(() => read === said, 'what was published');
    }
    await pulls(12);
    return asked.slice(0, 12);
  },
};

run(scenarios);
