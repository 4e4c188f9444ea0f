// The scenario list in nats.js: `driver.cjs --url URL --out REPORT`. See tests/src/driver.rs for what is done with the report.
'use strict';
const { createHash } = require('node:crypto');
const readline = require('node:readline');
const { createInbox, headers: newHeaders, errors } = require('@nats-io/transport-node');
const { option, run } = require('./run.cjs');

const WAIT = 20_000;

const text = (words) => Buffer.from(words);
const check = (held, what) => { if (!held) throw new Error(what); };

// A message as it is compared: subject, length and digest of the payload, headers.
function note(message) {
  const digest = createHash('sha256').update(message.data).digest('hex').slice(0, 16);
  const pairs = message.headers ? [...message.headers].map(([key, values]) => ` ${key}=${values.join('|')}`).join('') : '';
  return `${message.subject} ${message.data.length} ${digest}${pairs}`;
}

// Bytes that look random and are the same in every run.
function payload(size, seed = 1) {
  return Buffer.alloc(size, createHash('sha512').update(String(seed)).digest());
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), WAIT); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// A subscription that keeps what it got, so that tests can ask how many and wait for more.
class Inbox {
  constructor(connection, subject, options = {}) {
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
    await within(enough, `${count} messages on ${this.subscription.getSubject()}, have ${this.got.length}`);
    return this.got.splice(0, count);
  }

  async notes(count) {
    return (await this.take(count)).map(note);
  }
}

async function nothingMore(connection, inbox) {
  await connection.flush();
  return inbox.got.length === 0;
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function cue(name) {
  process.stdout.write(`CUE ${name}\n`);
  await lines.next();
}

async function exchange(connection) {
  const inbox = new Inbox(connection, 'basic.x');
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
  for (const data of [text('hello'), text(''), text('\r\nPUB basic.y 3\r\nabc\r\n'), bytes, text('čau')]) {
    connection.publish('basic.x', data);
  }
  const seen = await inbox.notes(5);
  check(await nothingMore(connection, inbox), 'more than was published');
  return seen;
}

async function answer(open) {
  const responder = await open();
  responder.subscribe('svc.*', { callback: (_, message) => message.respond(Buffer.concat([text('re: '), message.data])) });
  await responder.flush();
}

async function reconnect(open, name) {
  const connection = await open({ reconnect: true, reconnectTimeWait: 50, maxReconnectAttempts: -1 });
  const again = (async () => {
    for await (const status of connection.status()) if (status.type === 'reconnect') return;
  })();
  const inbox = new Inbox(connection, 'again.x');
  connection.publish('again.x', text('before'));
  const seen = await inbox.notes(1);
  await cue(name);
  await within(again, 'the reconnection');
  connection.publish('again.x', text('after'));
  return seen.concat(await inbox.notes(1));
}

const scenarios = {
  publish_subscribe: async (open) => exchange(await open()),
  verbose: async (open) => exchange(await open({ verbose: true })),
  pedantic: async (open) => exchange(await open({ pedantic: true })),

  async wildcards(open) {
    const connection = await open();
    const inboxes = ['w.*', 'w.>', 'w.*.c', 'w.a.c'].map((subject) => new Inbox(connection, subject));
    for (const subject of ['w.a', 'w.a.c', 'w.b.c', 'w.a.b.c', 'other.a']) connection.publish(subject, text(subject));
    await connection.flush();
    return inboxes.flatMap((inbox) => [`${inbox.subscription.getSubject()}:`, ...inbox.got.map(note)]);
  },

  async queue_group(open) {
    const members = await Promise.all([open(), open(), open()]);
    const publisher = await open();
    const inboxes = members.map((member) => new Inbox(member, 'work.>', { queue: 'crew' }));
    for (const member of members) await member.flush();
    for (let number = 0; number < 60; number += 1) publisher.publish(`work.${number}`, text(String(number)));
    await publisher.flush();
    for (const member of members) await member.flush();
    check(inboxes.every((inbox) => inbox.got.length > 0), 'a member got nothing');
    return inboxes.flatMap((inbox) => inbox.got.map(note)).sort();
  },

  async request_mux(open) {
    await answer(open);
    const connection = await open();
    const replies = [];
    for (let n = 0; n < 10; n += 1) replies.push(await connection.request('svc.echo', text(String(n)), { timeout: WAIT }));
    const numbers = Array.from({ length: 20 }, (_, n) => n);
    const together = await Promise.all(numbers.map((n) => connection.request('svc.echo', payload(n, n), { timeout: WAIT })));
    return replies.concat(together).map((reply) => Buffer.from(reply.data).toString('hex'));
  },

  async request_inbox(open) {
    await answer(open);
    const connection = await open();
    const seen = [];
    for (let n = 0; n < 10; n += 1) {
      const reply = await connection.request('svc.echo', text(String(n)), { timeout: WAIT, noMux: true });
      seen.push(reply.string());
    }
    const inbox = createInbox();
    const byHand = new Inbox(connection, inbox, { max: 1 });
    connection.publish('svc.echo', text('by hand'), { reply: inbox });
    seen.push((await byHand.take(1))[0].string());
    return seen;
  },

  async no_responders(open) {
    const connection = await open();
    const seen = [];
    for (const noMux of [false, true]) {
      try {
        await connection.request('nobody.home', text('?'), { timeout: WAIT, noMux });
        seen.push('a reply');
      } catch (error) {
        const cause = error.cause instanceof errors.NoRespondersError ? error.cause : error;
        seen.push(cause instanceof errors.NoRespondersError || cause.isNoResponders?.() ? 'no responders' : String(error));
      }
    }
    check(seen.every((word) => word === 'no responders'), seen.join());
    return seen;
  },

  async headers(open) {
    const connection = await open();
    const inbox = new Inbox(connection, 'head.er');
    for (const data of ['body', '']) {
      const block = newHeaders();
      block.append('One', '1');
      block.append('One', 'uno');
      block.append('two-words', 'a b: c');
      connection.publish('head.er', text(data), { headers: block });
    }
    return inbox.notes(2);
  },

  async auto_unsubscribe(open) {
    const connection = await open();
    const inbox = new Inbox(connection, 'auto.x', { max: 3 });
    for (let number = 0; number < 10; number += 1) connection.publish('auto.x', text(String(number)));
    const seen = await inbox.notes(3);
    check(await nothingMore(connection, inbox), 'more than three');
    return seen;
  },

  async echo_off(open) {
    const [quiet, other] = [await open({ noEcho: true }), await open()];
    const [own, others] = [new Inbox(quiet, 'echo.x'), new Inbox(other, 'echo.x')];
    await other.flush();
    quiet.publish('echo.x', text('from the quiet one'));
    const seen = await others.notes(1);
    check(await nothingMore(quiet, own), 'heard itself');
    other.publish('echo.x', text('from the other'));
    return seen.concat(await own.notes(1));
  },

  async sizes(open) {
    const [connection, receiver] = [await open(), await open()];
    const inbox = new Inbox(receiver, 'size.x');
    await receiver.flush();
    const every = [0, 1, 2, 15, 16, 17, 31, 32, 47, 48, 49, 127, 128, 1023, 1024, 4096, 32768, 65535, 65536, 300000];
    for (const size of every) connection.publish('size.x', payload(size, size));
    const seen = await inbox.notes(every.length);
    const most = connection.info.max_payload;
    connection.publish('size.x', payload(most));
    const [whole] = await inbox.take(1);
    check(payload(most).equals(whole.data), 'the largest message arrived changed');
    return seen;
  },

  async too_large(open) {
    const connection = await open();
    let seen = 'published';
    try {
      connection.publish('size.x', Buffer.alloc(connection.info.max_payload + 1));
    } catch (error) {
      seen = `refused by the client: ${error.name}`;
    }
    await connection.flush();
    return [seen];
  },

  async burst(open) {
    const [connection, receiver] = [await open(), await open()];
    const inbox = new Inbox(receiver, 'burst.>');
    await receiver.flush();
    for (let number = 0; number < 2000; number += 1) {
      connection.publish(`burst.${number % 7}`, payload((number * 37) % 1500, number));
    }
    await connection.flush();
    return inbox.notes(2000);
  },

  async flush_is_a_barrier(open) {
    const connection = await open();
    const inbox = new Inbox(connection, 'flush.x');
    const seen = [];
    for (let round = 0; round < 20; round += 1) {
      for (let number = 0; number < 10; number += 1) connection.publish('flush.x', text(String(number)));
      await connection.flush();
      seen.push(`${inbox.got.length} by the flush`);
      await inbox.take(10);
    }
    return seen;
  },

  async drain(open) {
    const [connection, publisher] = [await open(), await open()];
    const subscription = connection.subscribe('drain.x');
    const seen = [];
    const done = (async () => { for await (const message of subscription) seen.push(note(message)); })();
    await connection.flush();
    for (let number = 0; number < 200; number += 1) publisher.publish('drain.x', text(String(number)));
    await publisher.flush();
    await within(connection.drain(), 'the drain');
    await within(done, 'the last message');
    check(connection.isClosed(), 'not closed by the drain');
    return seen;
  },

  reconnect_front: (open) => reconnect(open, 'restart-front'),
  reconnect_server: (open) => reconnect(open, 'restart-server'),
};

// What `connect` takes for TLS.
function tlsOptions() {
  if (option('--tls-ca') === undefined) return {};
  const tls = { caFile: option('--tls-ca'), handshakeFirst: option('--tls-first') !== undefined };
  if (option('--tls-certificate') !== undefined) {
    tls.certFile = option('--tls-certificate');
    tls.keyFile = option('--tls-key');
  }
  return { tls };
}

run(scenarios, tlsOptions());
