"""What a scenario of features.py works with: agents behind the gateways, streams, and what they say."""

import asyncio
import json
import time

import nats
from nats.js import api
from nats.js.errors import APIError

from driver import WAIT, check, settle

MARKER = "never-in-clear"
SCENARIOS = []
# How often a thing that time alone brings about is looked for.
POLL = 0.05


def scenario(function):
    SCENARIOS.append(function)
    return function


class Agents:
    """The agents of one scenario: writers behind one gateway, readers behind the other."""

    def __init__(self, name, urls):
        self.name, self.urls, self.open = name, urls, []

    async def connect(self, url, **options):
        options = {"allow_reconnect": False, "connect_timeout": WAIT, "drain_timeout": WAIT, **options}
        connection = await nats.connect(url, **options)
        self.open.append(connection)
        return connection

    async def writer(self, **options):
        return await self.connect(self.urls["url"], **options)

    async def reader(self, **options):
        return await self.connect(self.urls["peer"], **options)

    async def both(self):
        return await self.writer(), await self.reader()

    async def streams(self, **options):
        """JetStream for a writer and for a reader."""
        return [connection.jetstream(timeout=WAIT, **options) for connection in await self.both()]

    async def mixed_streams(self):
        """The same behind the gateways that have the keyrings `moved` and `renamed`, and seal nothing else."""
        connections = [await self.connect(self.urls[name]) for name in ("mixed", "mixed_peer")]
        return [connection.jetstream(timeout=WAIT) for connection in connections]

    async def close(self):
        for connection in self.open:
            await connection.close()

    def said(self, what="", size=None):
        """A payload that must stay hidden; of exactly `size` bytes if that is given."""
        text = f"{MARKER} {self.name} {what}".encode()
        return text if size is None else (text + b" " + b"." * size)[:size]

    def subject(self, last):
        return f"py.{self.name}.{last}"

    def named(self, last=""):
        """The name of this scenario's stream, bucket or service."""
        return f"py_{self.name}" + (f"_{last}" if last else "")


def same(got, expected, what):
    check(got == expected, f"{what}: {got!r}, not {expected!r}")


def refused(error, code):
    check(isinstance(error, APIError) and error.err_code == code, f"not refused with {code}: {error!r}")


async def fails(kind, awaited, what):
    """The error of this kind that must come."""
    try:
        got = await awaited
    except kind as error:
        return error
    raise AssertionError(f"{what}: {got!r}, not {kind.__name__}")


async def heard(connection, subject, **options):
    """A subscription of which the server knows."""
    subscription = await connection.subscribe(subject, **options)
    await settle(connection)
    return subscription


async def receive(subscription):
    return await subscription.next_msg(timeout=WAIT)


async def expect(subscription, payloads):
    """These payloads arrive next, in this order; yields their messages."""
    messages = []
    for number, payload in enumerate(payloads):
        message = await receive(subscription)
        same(message.data, payload, f"message {number}")
        messages.append(message)
    return messages


async def until(what, question):
    """Asks until the answer is true: for what time alone brings about."""
    deadline = time.monotonic() + WAIT
    while not (answer := await question()):
        check(time.monotonic() < deadline, f"never: {what}")
        await asyncio.sleep(POLL)
    return answer


async def request(js, subject, asked=None):
    """A request of JetStream's API that nats-py has no function for; yields the answer's JSON."""
    asked = b"" if asked is None else json.dumps(asked).encode()
    answer = json.loads((await js._nc.request(f"$JS.API.{subject}", asked, timeout=WAIT)).data)
    if "error" in answer:
        raise APIError.from_error(answer["error"])
    return answer


async def make(js, agents, last="", **config):
    """A stream of this scenario's subjects, in memory unless told otherwise."""
    subjects = [agents.subject(f"{last}.>" if last else ">")]
    config = {"subjects": subjects, "storage": api.StorageType.MEMORY, **config}
    return await js.add_stream(name=agents.named(last), **config)


async def fill(js, agents, last, count, start=0):
    """Publishes numbered payloads to a stream; yields them."""
    said = [agents.said(number) for number in range(start, start + count)]
    for payload in said:
        await js.publish(agents.subject(last), payload)
    return said


async def pull(subscription, count):
    """So many messages of a pull consumer, however many of its answers they take."""
    messages = []
    while len(messages) < count:
        messages += await subscription.fetch(count - len(messages), timeout=WAIT)
    return messages


async def stored(js, stream, count, subject=">"):
    """All messages of a stream, which must be this many, through a consumer of its own."""
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    subscription = await js.pull_subscribe(subject, stream=stream, config=config)
    messages = await pull(subscription, count) if count else []
    info = await subscription.consumer_info()
    same(info.num_pending, 0, f"left in {stream} after {count}")
    return messages


async def holds(js, stream, payloads):
    """The stream's payloads are these."""
    messages = await stored(js, stream, len(payloads))
    same([message.data for message in messages], list(payloads), f"in {stream}")
    return messages
