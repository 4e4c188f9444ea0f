"""The scenario list in nats-py: `driver.py --url URL --out REPORT [--tls-ca FILE …]`. See tests/src/driver.rs for what is done with the report."""

import argparse
import asyncio
import hashlib
import json
import ssl
import sys

import nats
from nats.errors import MaxPayloadError, NoRespondersError

WAIT = 20
SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


def note(message):
    """A message as it is compared: subject, length and digest of the payload, headers."""
    digest = hashlib.sha256(message.data).hexdigest()[:16]
    headers = "".join(f" {key}={value}" for key, value in (message.headers or {}).items())
    return f"{message.subject} {len(message.data)} {digest}{headers}"


def payload(size, seed=1):
    """Bytes that look random and are the same in every run."""
    block = hashlib.sha512(f"{seed}".encode()).digest()
    return (block * (size // len(block) + 1))[:size]


async def gather(subscription, count):
    return [note(await subscription.next_msg(timeout=WAIT)) for _ in range(count)]


async def settle(connection):
    """The server has processed what was sent before.

    One flush does not say so: nats-py 2.16 writes its PING to the socket ahead of the commands that it still has buffered. It does
    empty the buffer, so the PING of a second flush comes after them.
    """
    await connection.flush(timeout=WAIT)
    await connection.flush(timeout=WAIT)


async def nothing_more(connection, subscription):
    await settle(connection)
    return subscription.pending_msgs == 0


def check(held, what):
    if not held:
        raise AssertionError(what)


class World:
    """What a scenario gets: connections that are closed after it."""

    def __init__(self, url, tls):
        self.url, self.tls, self.open = url, tls, []

    async def connect(self, **options):
        options = {"allow_reconnect": False, "connect_timeout": WAIT, **self.tls, **options}
        connection = await nats.connect(self.url, **options)
        self.open.append(connection)
        return connection

    async def close(self):
        for connection in self.open:
            await connection.close()

    async def cue(self, name):
        print(f"CUE {name}", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def exchange(connection):
    subscription = await connection.subscribe("basic.x")
    for data in (b"hello", b"", b"\r\nPUB basic.y 3\r\nabc\r\n", bytes(range(256)), "čau".encode()):
        await connection.publish("basic.x", data)
    seen = await gather(subscription, 5)
    check(await nothing_more(connection, subscription), "more than was published")
    return seen


@scenario
async def publish_subscribe(world):
    return await exchange(await world.connect())


@scenario
async def verbose(world):
    return await exchange(await world.connect(verbose=True))


@scenario
async def pedantic(world):
    return await exchange(await world.connect(pedantic=True))


@scenario
async def wildcards(world):
    connection = await world.connect()
    subscriptions = [await connection.subscribe(subject) for subject in ("w.*", "w.>", "w.*.c", "w.a.c")]
    for subject in ("w.a", "w.a.c", "w.b.c", "w.a.b.c", "other.a"):
        await connection.publish(subject, subject.encode())
    seen = []
    for subscription, count in zip(subscriptions, (1, 4, 2, 1)):
        seen += [f"{subscription.subject}:"] + await gather(subscription, count)
        check(await nothing_more(connection, subscription), "more than matches")
    return seen


@scenario
async def queue_group(world):
    members, publisher = [await world.connect() for _ in range(3)], await world.connect()
    subscriptions = [await member.subscribe("work.>", queue="crew") for member in members]
    for member in members:
        await settle(member)
    for number in range(60):
        await publisher.publish(f"work.{number}", str(number).encode())
    await settle(publisher)
    while sum(subscription.pending_msgs for subscription in subscriptions) < 60:
        await asyncio.sleep(0.005)
    each = [await gather(subscription, subscription.pending_msgs) for subscription in subscriptions]
    check(all(each), "a member got nothing")
    return sorted(sum(each, []))


async def answer(world, prefix="svc"):
    responder = await world.connect()

    async def respond(message):
        await message.respond(b"re: " + message.data)

    await responder.subscribe(f"{prefix}.*", cb=respond)
    await settle(responder)


@scenario
async def request_mux(world):
    await answer(world)
    connection = await world.connect()
    replies = [await connection.request("svc.echo", str(n).encode(), timeout=WAIT) for n in range(10)]
    together = await asyncio.gather(*(connection.request("svc.echo", payload(n, n), timeout=WAIT) for n in range(20)))
    return [reply.data.hex() for reply in replies + list(together)]


@scenario
async def request_inbox(world):
    await answer(world)
    connection = await world.connect()
    replies = [await connection.request("svc.echo", str(n).encode(), timeout=WAIT, old_style=True) for n in range(10)]
    inbox = connection.new_inbox()
    subscription = await connection.subscribe(inbox)
    await subscription.unsubscribe(limit=1)
    await connection.publish("svc.echo", b"by hand", reply=inbox)
    return [reply.data.decode() for reply in replies + [await subscription.next_msg(timeout=WAIT)]]


@scenario
async def no_responders(world):
    connection = await world.connect()
    seen = []
    for old_style in (False, True):
        try:
            await connection.request("nobody.home", b"?", timeout=WAIT, old_style=old_style)
            seen.append("a reply")
        except NoRespondersError:
            seen.append("no responders")
    check(seen == ["no responders"] * 2, seen)
    return seen


@scenario
async def headers(world):
    connection = await world.connect()
    subscription = await connection.subscribe("head.er")
    for data in (b"body", b""):
        await connection.publish("head.er", data, headers={"One": "1", "two-words": "a b: c", "Traceparent": "00-af-01"})
    return await gather(subscription, 2)


@scenario
async def auto_unsubscribe(world):
    connection = await world.connect()
    subscription = await connection.subscribe("auto.x")
    await subscription.unsubscribe(limit=3)
    for number in range(10):
        await connection.publish("auto.x", str(number).encode())
    seen = await gather(subscription, 3)
    check(await nothing_more(connection, subscription), "more than three")
    return seen


@scenario
async def echo_off(world):
    quiet, other = await world.connect(no_echo=True), await world.connect()
    own, others = await quiet.subscribe("echo.x"), await other.subscribe("echo.x")
    await settle(other)
    await quiet.publish("echo.x", b"from the quiet one")
    seen = await gather(others, 1)
    check(await nothing_more(quiet, own), "heard itself")
    await other.publish("echo.x", b"from the other")
    return seen + await gather(own, 1)


@scenario
async def sizes(world):
    connection, receiver = await world.connect(), await world.connect()
    subscription = await receiver.subscribe("size.x")
    await settle(receiver)
    most = connection.max_payload
    every = [0, 1, 2, 15, 16, 17, 31, 32, 47, 48, 49, 127, 128, 1023, 1024, 4096, 32768, 65535, 65536, 300000]
    for size in every:
        await connection.publish("size.x", payload(size, size))
    seen = await gather(subscription, len(every))
    await connection.publish("size.x", payload(most))
    whole = await subscription.next_msg(timeout=WAIT)
    check(whole.data == payload(most), "the largest message arrived changed")
    return seen


@scenario
async def too_large(world):
    connection = await world.connect()
    try:
        await connection.publish("size.x", bytes(connection.max_payload + 1))
        seen = ["published"]
    except MaxPayloadError:
        seen = ["refused by the client"]
    await settle(connection)
    return seen


@scenario
async def burst(world):
    connection, receiver = await world.connect(), await world.connect()
    subscription = await receiver.subscribe("burst.>")
    await settle(receiver)
    for number in range(2000):
        await connection.publish(f"burst.{number % 7}", payload(number * 37 % 1500, number))
    await settle(connection)
    return await gather(subscription, 2000)


@scenario
async def flush(world):
    connection, receiver = await world.connect(), await world.connect()
    subscription = await receiver.subscribe("flush.x")
    await settle(receiver)
    seen = []
    for number in range(20):
        await connection.publish("flush.x", str(number).encode())
        await connection.flush(timeout=WAIT)
        seen += await gather(subscription, 1)
    return seen


@scenario
async def drain(world):
    connection, publisher = await world.connect(), await world.connect()
    seen = []

    async def slow(message):
        await asyncio.sleep(0)
        seen.append(note(message))

    await connection.subscribe("drain.x", cb=slow)
    await settle(connection)
    for number in range(200):
        await publisher.publish("drain.x", str(number).encode())
    await settle(publisher)
    await connection.drain()
    check(connection.is_closed, "not closed by the drain")
    return seen


async def reconnect(world, cue):
    again = asyncio.Event()

    async def reconnected():
        again.set()

    connection = await world.connect(
        allow_reconnect=True, reconnect_time_wait=0.05, max_reconnect_attempts=-1, reconnected_cb=reconnected
    )
    subscription = await connection.subscribe("again.x")
    await connection.publish("again.x", b"before")
    seen = await gather(subscription, 1)
    await world.cue(cue)
    await asyncio.wait_for(again.wait(), WAIT)
    await connection.publish("again.x", b"after")
    return seen + await gather(subscription, 1)


@scenario
async def reconnect_front(world):
    return await reconnect(world, "restart-front")


@scenario
async def reconnect_server(world):
    return await reconnect(world, "restart-server")


def tls_options(given):
    """What `nats.connect` takes for TLS."""
    if given.tls_ca is None:
        return {}
    context = ssl.create_default_context(cafile=given.tls_ca)
    if given.tls_certificate:
        context.load_cert_chain(given.tls_certificate, given.tls_key)
    return {"tls": context, "tls_handshake_first": bool(given.tls_first)}


async def perform(function, url, tls):
    world = World(url, tls)
    outcome = {"name": function.__name__, "pass": False, "seen": []}
    try:
        outcome["seen"] = await asyncio.wait_for(function(world), 2 * WAIT)
        outcome["pass"] = True
    except Exception as error:  # whatever it is, the report says so and the next scenario runs
        outcome["detail"] = f"{type(error).__name__}: {error}"
    await world.close()
    return outcome


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--url", required=True)
    options.add_argument("--out", required=True)
    options.add_argument("--only")
    for name in ("ca", "certificate", "key", "first"):
        options.add_argument(f"--tls-{name}")
    given = options.parse_args()
    chosen = [function for function in SCENARIOS if given.only in (None, function.__name__)]
    report = [await perform(function, given.url, tls_options(given)) for function in chosen]
    with open(given.out, "w", encoding="utf-8") as out:
        json.dump(report, out, indent=1)


if __name__ == "__main__":
    asyncio.run(main())
