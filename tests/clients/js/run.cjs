// Runs scenarios one after the other and writes the report: `--url URL --out REPORT [--only SCENARIO]`.
'use strict';
const { writeFileSync } = require('node:fs');
const { connect } = require('@nats-io/transport-node');

const WAIT = 20_000;

function option(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

async function perform(scenario, name, connecting) {
  const opened = [];
  const open = async (options = {}) => {
    const connection = await connect({ servers: option('--url'), reconnect: false, timeout: WAIT, ...connecting, ...options });
    opened.push(connection);
    return connection;
  };
  const outcome = { name, pass: false, seen: [] };
  try {
    outcome.seen = await scenario(open);
    outcome.pass = true;
  } catch (error) {
    outcome.detail = `${error.name}: ${error.message}`;
  }
  for (const connection of opened) await connection.close();
  return outcome;
}

// `connecting` is what every connection takes besides.
async function run(scenarios, connecting = {}) {
  const only = option('--only');
  const names = only === undefined ? Object.keys(scenarios) : [only];
  const report = [];
  for (const name of names) report.push(await perform(scenarios[name], name, connecting));
  writeFileSync(option('--out'), JSON.stringify(report, null, 1));
  process.exit(0);
}

module.exports = { option, run };
