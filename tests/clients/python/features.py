"""Every NATS feature that nats-py has, between writers behind one gateway and readers behind the other.

    features.py --url A --peer B [--mixed C --mixed-peer D] --out REPORT [--only NAME]

A scenario is named after its row in docs/nats.md. The URLs may be equal, and may be a bare server's (JetStream, domain `hub`).
Behind A and B all is sealed; behind C and D what is below `moved` (bound to the keyring) and below `renamed`
(`renamed.*.in.*` may become `renamed.*.out.*`). Nothing is deleted at the end: what the server has stored is searched then.
See tests/src/features.
"""

import argparse
import asyncio
import json

import features_consumers  # noqa: F401, each module lists its scenarios
import features_core  # noqa: F401
import features_keys  # noqa: F401
import features_objects  # noqa: F401
import features_publishing  # noqa: F401
import features_services  # noqa: F401
import features_streams  # noqa: F401
from driver import WAIT
from features_world import SCENARIOS, Agents

# Most scenarios wait for the server, some for a clock.
AT_ONCE = 4


async def perform(function, urls, free):
    async with free:
        name = function.__name__
        print(name, flush=True)
        agents = Agents(name, urls)
        outcome = {"name": name, "pass": False, "seen": []}
        try:
            await asyncio.wait_for(function(agents), 2 * WAIT)
            outcome["pass"] = True
        except Exception as error:  # whatever it is, the report says so and the next scenario runs
            outcome["detail"] = f"{type(error).__name__}: {error}"
        await agents.close()
        return outcome


async def main():
    options = argparse.ArgumentParser()
    for name in ("--url", "--peer", "--out"):
        options.add_argument(name, required=True)
    for name in ("--mixed", "--mixed-peer", "--only"):
        options.add_argument(name)
    given = options.parse_args()
    urls = {"mixed": given.mixed or given.url, "mixed_peer": given.mixed_peer or given.peer}
    urls |= {"url": given.url, "peer": given.peer}
    chosen = [function for function in SCENARIOS if given.only in (None, function.__name__)]
    free = asyncio.Semaphore(AT_ONCE)
    report = await asyncio.gather(*(perform(function, urls, free) for function in chosen))
    with open(given.out, "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)


if __name__ == "__main__":
    asyncio.run(main())
