// NATS features in nats.js: `features.cjs --url A --peer B [--mixed C --mixed-peer D] --out REPORT [--only NAME]`.
//
// Publishers connect to A and readers to B; where two keyrings are wanted, to C and D. Without C and D, and with A and B being
// one server, everything works as well. What is said begins with the marker and the scenario's name. See tests/src/features.
'use strict';
const { writeFileSync } = require('node:fs');
const { World } = require('./features/world.cjs');

// Most scenarios wait for the server most of the time.
const AT_ONCE = 8;
// For a scenario as a whole, in milliseconds.
const PATIENCE = 60_000;

const scenarios = Object.assign(
  {},
  ...['core', 'publishing', 'stored', 'consumers', 'kv', 'objects', 'services'].map((part) => require(`./features/${part}.cjs`)),
);

// The command line, as names and values.
function options() {
  const words = process.argv.slice(2);
  const pairs = words.flatMap((word, place) => (word.startsWith('--') ? [[word.slice(2), words[place + 1]]] : []));
  return Object.fromEntries(pairs);
}

async function perform(name, urls) {
  const world = new World(name, urls);
  const outcome = { name, pass: false, detail: '', seen: [] };
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('not in time')), PATIENCE); });
  try {
    await Promise.race([scenarios[name](world), late]);
    outcome.pass = true;
  } catch (error) {
    outcome.detail = `${error.name}: ${error.message}`;
  }
  clearTimeout(timer);
  await world.close();
  return outcome;
}

async function main() {
  const { url, peer = url, mixed = url, 'mixed-peer': mixedPeer = peer, out, only } = options();
  const urls = [url, peer, mixed, mixedPeer];
  const left = Object.keys(scenarios).filter((name) => only === undefined || only === name);
  const report = [];
  const work = async () => {
    while (left.length > 0) report.push(await perform(left.shift(), urls));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  writeFileSync(out, JSON.stringify(report, null, 1));
  process.exit(0);
}

// What a client does on its own, after its scenario has ended, must not end the others.
process.on('unhandledRejection', (error) => process.stderr.write(`unhandled: ${error?.stack ?? error}\n`));

main();
