// Messages that nothing stores.
'use strict';
const { createInbox, headers: newHeaders, errors } = require('@nats-io/transport-node');
const { WAIT, Inbox, all, check, payloads, refused, same, text, within } = require('./world.cjs');

const numbers = (count) => Array.from({ length: count }, (_, number) => number);

async function listen(agent, subject, options) {
  const inbox = new Inbox(agent, subject, options);
  await agent.flush();
  return inbox;
}

async function nothingMore(agent, inbox) {
  await agent.flush();
  same(inbox.got.length, 0, `more than was published on ${inbox.subject}`);
}

// Answers each request with what `answers` makes of it.
async function respond(world, answers) {
  const reader = await world.reader();
  reader.subscribe(world.subject('ask'), {
    callback: (_, request) => { for (const answer of answers(request)) request.respond(answer); },
  });
  await reader.flush();
}

async function echo(world) {
  await respond(world, (request) => [Buffer.concat([request.data, text(' answered')])]);
}

async function ask(world, agent, options) {
  for (const number of numbers(10)) {
    const reply = await agent.request(world.subject('ask'), world.said(number), { timeout: WAIT, ...options });
    same(reply.data, world.said(`${number} answered`), 'the answer');
  }
}

const ANSWERS = 5;

async function askMany(world, agent, options, wanted) {
  const asked = world.said(`${options.strategy} ${options.noMux}`);
  const replies = await all(await agent.requestMany(world.subject('ask'), asked, { maxWait: WAIT, ...options }), 'the answers');
  const said = numbers(ANSWERS).map((number) => Buffer.concat([asked, text(` ${number}`)]));
  payloads(replies, said.concat([Buffer.alloc(0)]).slice(0, wanted), `${options.strategy}, own inbox ${options.noMux}`);
}

module.exports = {
  async publish_subscribe(world) {
    const [publisher, reader] = [await world.publisher(), await world.reader()];
    const inbox = await listen(reader, world.subject('x'));
    for (const number of numbers(50)) publisher.publish(world.subject('x'), world.said(number));
    await publisher.flush();
    payloads(await inbox.take(50), numbers(50).map((number) => world.said(number)), 'in order');
    for (const size of [40, 1024, 65_536, 300_000]) publisher.publish(world.subject('x'), world.long(size));
    const most = publisher.info.max_payload;
    publisher.publish(world.subject('x'), world.long(most));
    await publisher.flush();
    const got = await inbox.take(5);
    payloads(got, [40, 1024, 65_536, 300_000, most].map((size) => world.long(size)), 'of every size');
    await nothingMore(reader, inbox);
  },

  async wildcards(world) {
    const [publisher, reader] = [await world.publisher(), await world.reader()];
    const [one, rest] = [await listen(reader, world.subject('*.c')), await listen(reader, world.subject('>'))];
    const lasts = ['a.c', 'b', 'b.c'];
    for (const last of lasts) publisher.publish(world.subject(last), world.said(last));
    await publisher.flush();
    for (const [inbox, wanted] of [[one, ['a.c', 'b.c']], [rest, lasts]]) {
      const got = await inbox.take(wanted.length);
      same(got.map((message) => message.subject), wanted.map((last) => world.subject(last)), 'the subjects');
      payloads(got, wanted.map((last) => world.said(last)), inbox.subject);
      await nothingMore(reader, inbox);
    }
  },

  async queue_groups(world) {
    const publisher = await world.publisher();
    const members = await Promise.all(numbers(3).map(() => world.reader()));
    const inboxes = await Promise.all(members.map((member) => listen(member, world.subject('>'), { queue: 'crew' })));
    for (const number of numbers(60)) publisher.publish(world.subject('x'), world.said(number));
    await publisher.flush();
    const got = () => inboxes.flatMap((inbox) => inbox.got);
    while (got().length < 60) {
      const more = inboxes.map((inbox) => new Promise((resolve) => { inbox.wake = resolve; }));
      await within(Promise.race(more), `60 messages, have ${got().length}`);
    }
    for (const member of members) await member.flush();
    check(inboxes.every((inbox) => inbox.got.length > 0), 'a member got nothing');
    same(got().map((message) => message.string()).sort(), numbers(60).map((number) => String(world.said(number))).sort(), 'all');
  },

  async headers(world) {
    const [publisher, reader] = [await world.publisher(), await world.reader()];
    const inbox = await listen(reader, world.subject('x'));
    const block = newHeaders();
    block.append('One', '1');
    block.append('One', 'uno');
    block.append('two-words', 'a b: c');
    for (const data of [world.said('x'), Buffer.alloc(0)]) publisher.publish(world.subject('x'), data, { headers: block });
    const got = await inbox.take(2);
    payloads(got, [world.said('x'), Buffer.alloc(0)], 'with headers');
    for (const message of got) same([...message.headers], [...block], 'the headers');
  },

  async empty_payload(world) {
    const [publisher, reader] = [await world.publisher(), await world.reader()];
    const inbox = await listen(reader, world.subject('x'));
    const said = [Buffer.alloc(0), world.said('full'), Buffer.alloc(0)];
    for (const data of said) publisher.publish(world.subject('x'), data);
    payloads(await inbox.take(3), said, 'empty and full');
    await nothingMore(reader, inbox);
  },

  async no_responders(world) {
    const agent = await world.publisher();
    for (const noMux of [false, true]) {
      const error = await refused(agent.request('nobody.js', world.said('?'), { timeout: WAIT, noMux }), 'a request to nobody');
      const cause = error.cause ?? error;
      check(cause instanceof errors.NoRespondersError, `own inbox ${noMux}: ${error}`);
    }
  },

  async request_reply(world) {
    await echo(world);
    const agent = await world.publisher();
    await ask(world, agent, {});
    await ask(world, agent, { noMux: true });
    const together = numbers(50).map((number) => agent.request(world.subject('ask'), world.said(number), { timeout: WAIT }));
    payloads(await Promise.all(together), numbers(50).map((number) => world.said(`${number} answered`)), 'together');
    const inbox = await listen(agent, createInbox(), { max: 1 });
    agent.publish(world.subject('ask'), world.said('by hand'), { reply: inbox.subject });
    payloads(await inbox.take(1), [world.said('by hand answered')], 'by hand');
  },

  // The last answer is empty: by it some requesters know the end.
  async request_many(world) {
    await respond(world, (request) => {
      const answer = (number) => Buffer.concat([request.data, text(` ${number}`)]);
      return [...numbers(ANSWERS).map(answer), Buffer.alloc(0)];
    });
    const agent = await world.publisher();
    for (const noMux of [false, true]) {
      // With an inbox of its own the client also yields what came while it was ending.
      const count = noMux ? ANSWERS + 1 : ANSWERS;
      await askMany(world, agent, { strategy: 'count', maxMessages: count, noMux }, count);
      await askMany(world, agent, { strategy: 'sentinel', noMux }, ANSWERS + 1);
      await askMany(world, agent, { strategy: 'stall', noMux }, ANSWERS + 1);
      // It has no other end than the time given.
      await askMany(world, agent, { strategy: 'timer', maxWait: 2_000, noMux }, ANSWERS + 1);
    }
  },

  async custom_inbox_prefix(world) {
    await echo(world);
    const agent = await world.publisher({ inboxPrefix: world.subject('inbox') });
    await ask(world, agent, {});
    await ask(world, agent, { noMux: true });
  },

  async drain(world) {
    const [publisher, reader] = [await world.publisher(), await world.reader()];
    const subscription = reader.subscribe(world.subject('x'));
    const got = all(subscription, 'what was drained');
    await reader.flush();
    for (const number of numbers(200)) publisher.publish(world.subject('x'), world.said(number));
    await publisher.flush();
    await within(reader.drain(), 'the drain');
    payloads(await got, numbers(200).map((number) => world.said(number)), 'drained');
    check(reader.isClosed(), 'not closed by the drain');
  },
};
