// The services framework.
'use strict';
const { Svcm, ServiceError } = require('@nats-io/services');
const { WAIT, all, payloads, same, text } = require('./world.cjs');

// A service whose endpoint answers with what it is asked, or with an error when that ends so.
async function service(world) {
  const reader = await world.reader();
  const made = await new Svcm(reader).add({ name: world.named, version: '1.0.0', description: 'answers' });
  const handler = (_, request) => {
    if (request.string().endsWith('wrong')) request.respondError(400, 'not like that', request.data);
    else request.respond(Buffer.concat([request.data, text(' answered')]));
  };
  made.addEndpoint('ask', { handler, subject: world.subject('ask'), metadata: { kind: 'question' } });
  made.addGroup(world.subject('group')).addEndpoint('inner', { handler });
  await reader.flush();
  return { made, agent: await world.publisher() };
}

async function ask(world, agent, last, what) {
  return agent.request(world.subject(last), world.said(what), { timeout: WAIT });
}

module.exports = {
  async service_request(world) {
    const { agent } = await service(world);
    for (const last of ['ask', 'group.inner']) {
      for (let number = 0; number < 5; number += 1) {
        const answer = await ask(world, agent, last, number);
        payloads([answer], [world.said(`${number} answered`)], last);
        same(ServiceError.isServiceError(answer), false, 'an error');
      }
    }
  },

  async service_errors(world) {
    const { agent } = await service(world);
    const answer = await ask(world, agent, 'ask', 'wrong');
    const error = ServiceError.toServiceError(answer);
    same([error.code, error.message], [400, 'not like that'], 'the error');
    payloads([answer], [world.said('wrong')], 'what comes with the error');
    payloads([await ask(world, agent, 'ask', 'right')], [world.said('right answered')], 'after an error');
  },

  async service_discovery(world) {
    const { made, agent } = await service(world);
    await ask(world, agent, 'ask', 'x');
    await ask(world, agent, 'ask', 'wrong');
    const { id } = made.ping();
    const client = new Svcm(agent).client({ strategy: 'count', maxMessages: 1, maxWait: WAIT });
    for (const words of [[world.named], [world.named, id]]) {
      for (const verb of ['ping', 'info', 'stats']) {
        const [told, ...others] = await all(await client[verb](...words), verb);
        same([others.length, told.name, told.id, told.version], [0, world.named, id, '1.0.0'], verb);
        if (verb === 'info') {
          const subjects = told.endpoints.map((endpoint) => endpoint.subject);
          same(subjects, ['ask', 'group.inner'].map((last) => world.subject(last)), 'the endpoints');
          same(told.endpoints[0].metadata, { kind: 'question' }, 'the metadata');
        }
        if (verb === 'stats') same(told.endpoints.map((endpoint) => endpoint.num_requests), [2, 0], 'the counts');
      }
    }
  },
};
