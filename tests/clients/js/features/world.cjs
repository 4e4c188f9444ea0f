// What a scenario works with: agents on both sides, payloads that must stay hidden, and ways of checking what came.
'use strict';
const { connect } = require('@nats-io/transport-node');
const { jetstream } = require('@nats-io/jetstream');

const MARKER = 'never-in-clear';
const WAIT = 20_000;

const text = (words) => Buffer.from(words);
const show = (value) => (value instanceof Uint8Array ? printable(Buffer.from(value)) : JSON.stringify(value));

// Bytes as a person reads them: text as it is, anything else as its beginning in hexadecimal.
function printable(bytes) {
  const readable = /^[\x20-\x7e]*$/.test(bytes.toString('latin1'));
  const whole = readable ? JSON.stringify(bytes.toString()) : bytes.toString('hex');
  return whole.length > 160 ? `${whole.slice(0, 160)}… (${bytes.length} bytes)` : whole;
}

function check(held, what) {
  if (!held) throw new Error(what);
}

// Fails unless both are the same, bytes as bytes.
function same(got, wanted, what) {
  const equal = got instanceof Uint8Array && wanted instanceof Uint8Array
    ? Buffer.compare(got, wanted) === 0
    : JSON.stringify(got) === JSON.stringify(wanted);
  check(equal, `${what}: got ${show(got)}, not ${show(wanted)}`);
}

// Fails unless the payloads are these, in this order.
function payloads(got, wanted, what) {
  same(got.length, wanted.length, `${what}: how many`);
  got.forEach((message, number) => same(message.data, wanted[number], `${what}: number ${number}`));
}

// Fails unless the promise is refused; yields the error.
async function refused(promise, what) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`${what} was not refused: ${show(value)}`);
}

// Fails unless the promise is refused by JetStream with this code.
async function refusedWith(code, promise, what) {
  const error = await refused(promise, what);
  check(error.code === code, `${what}: refused with ${error.code} ${error.message}, not ${code}`);
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), WAIT); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The first items of something that goes on.
async function take(iterator, count, what) {
  const items = [];
  if (count === 0) return items;
  const enough = (async () => {
    for await (const item of iterator) {
      items.push(item);
      if (items.length === count) return;
    }
    throw new Error(`${what} ended after ${items.length} of ${count}`);
  })();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not in time: ${what}, ${items.length} of ${count}`)), WAIT);
  });
  await Promise.race([enough, late]).finally(() => clearTimeout(timer));
  return items;
}

// All items of something that ends.
async function all(iterator, what) {
  const items = [];
  await within((async () => { for await (const item of iterator) items.push(item); })(), what);
  return items;
}

// Looks until the condition holds, for what no message tells of.
async function until(probe, what) {
  const end = Date.now() + WAIT;
  while (!(await probe())) {
    check(Date.now() < end, `not in time: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}

// A subscription that keeps what it got.
class Inbox {
  constructor(connection, subject, options = {}) {
    this.subject = subject;
    this.got = [];
    this.wake = () => {};
    this.subscription = connection.subscribe(subject, {
      ...options,
      callback: (error, message) => { if (!error) { this.got.push(message); this.wake(); } },
    });
  }

  async take(count) {
    const enough = new Promise((resolve) => {
      this.wake = () => { if (this.got.length >= count) resolve(); };
      this.wake();
    });
    await within(enough, `${count} messages on ${this.subject}`).catch((error) => {
      throw new Error(`${error.message}, have ${this.got.length}`);
    });
    return this.got.splice(0, count);
  }
}

// The agents and names of one scenario. URLs: for publishers, for readers, and both again where two keyrings are.
class World {
  constructor(name, urls) {
    this.name = name;
    this.urls = urls;
    this.opened = [];
  }

  async open(url, options = {}) {
    const connection = await connect({ servers: url, reconnect: false, timeout: WAIT, ...options });
    this.opened.push(connection);
    return connection;
  }

  publisher(options) { return this.open(this.urls[0], options); }

  reader(options) { return this.open(this.urls[1], options); }

  // A publisher and a reader where `moved.>` is bound to its keyring, `renamed.>` has aliases, and nothing else is sealed.
  async mixed() {
    return [await this.open(this.urls[2]), await this.open(this.urls[3])];
  }

  // A payload that must stay hidden.
  said(what) { return text(`${MARKER} ${this.name} ${what}`); }

  // The same, as long as it takes.
  long(size, what = '') { return Buffer.alloc(size, `${MARKER} ${this.name} ${what} `); }

  subject(last) { return `js.${this.name}.${last}`; }

  get named() { return `js_${this.name}`; }

  async close() {
    for (const connection of this.opened) await connection.close();
  }
}

// A stream of the scenario's subjects, for a publisher and for a reader.
class Made {
  static async with(world, more = {}, agents = undefined) {
    const made = new Made();
    made.world = world;
    [made.publisher, made.reader] = agents ?? [await world.publisher(), await world.reader()];
    [made.out, made.in] = [jetstream(made.publisher, { timeout: WAIT }), jetstream(made.reader, { timeout: WAIT })];
    [made.maker, made.manager] = [await made.out.jetstreamManager(), await made.in.jetstreamManager()];
    made.name = more.name ?? world.named;
    made.info = await made.maker.streams.add({ subjects: [world.subject('>')], storage: 'file', ...more, name: made.name });
    return made;
  }

  put(last, said, options) { return this.out.publish(this.world.subject(last), said, options); }

  // Publishes `said(0)` to `said(count - 1)`, each after the acknowledgement of the last.
  async fill(last, count, from = 0) {
    for (let number = from; number < from + count; number += 1) await this.put(last, this.world.said(number));
  }

  async state() { return (await this.manager.streams.info(this.name)).state; }

  // Reads the first `count` messages.
  read(count) { return read(this.in, this.name, count); }

  // Fails unless the stream holds exactly what `said` makes of these.
  async holds(numbers, what = 'the stream') {
    same((await this.state()).messages, numbers.length, `${what}: how many it tells of`);
    payloads(await this.read(numbers.length), numbers.map((number) => this.world.said(number)), what);
  }

  async shrinksTo(count) {
    await until(async () => (await this.state()).messages === count, `${count} messages in ${this.name}`);
  }

  // A pull consumer with this configuration.
  async consumer(config = {}) {
    const wanted = { durable_name: 'worker', ack_policy: 'explicit', ...config };
    await this.manager.consumers.add(this.name, wanted);
    return this.in.consumers.get(this.name, wanted.durable_name);
  }
}

// Reads the first `count` messages of a stream in an ordered consumer.
async function read(client, name, count) {
  if (count === 0) return [];
  const consumer = await client.consumers.get(name);
  const messages = await consumer.consume();
  const got = await take(messages, count, `reading ${name}`);
  await messages.close();
  return got;
}

module.exports = {
  WAIT, Inbox, Made, World, all, check, payloads, read, refused, refusedWith, same, take, text, until, within,
};
