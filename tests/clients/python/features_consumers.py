"""Consumers of every kind, as nats-py makes them.

Whoever is delivered to subscribes before the consumer is made: a tap on the bus may count as interest in it.
"""

import asyncio
import datetime
import json

from nats.js import api

from driver import WAIT, check, nothing_more, settle
from features_world import (
    expect, fails, fill, heard, make, pull, receive, request, same, scenario, until,
)

# A pull that is to find nothing.
NOTHING = 0.2


async def filled(agents, count, **config):
    """A writer, a reader, and a stream with so many messages."""
    writer, reader = await agents.streams()
    await make(writer, agents, **config)
    return writer, reader, await fill(writer, agents, "x", count)


async def worker(js, agents, name="worker", **config):
    config = api.ConsumerConfig(**config)
    return await js.pull_subscribe(agents.subject(">"), durable=name, stream=agents.named(), config=config)


async def pushed(js, agents, connection, **config):
    """A push consumer, and the subscription that it delivers to."""
    deliver = f"deliver.{agents.subject('x')}"
    subscription = await heard(connection, deliver)
    await js.add_consumer(agents.named(), durable_name="push", deliver_subject=deliver, **config)
    return subscription


async def settled(js, stream, consumer):
    """Nothing is left to deliver or to acknowledge; an acknowledgement itself is not answered."""

    async def done():
        info = await js.consumer_info(stream, consumer)
        return (info.num_pending, info.num_ack_pending) == (0, 0)

    await until(f"{consumer} is done", done)


def data(messages):
    return [message.data for message in messages]


@scenario
async def consumer_pull_fetch(agents):
    writer, reader, said = await filled(agents, 25)
    subscription = await worker(reader, agents)
    got = []
    for batch in (1, 10, 14):
        messages = await subscription.fetch(batch, timeout=WAIT)
        got += messages
        for message in messages:
            await message.ack()
    same(data(got), said, "fetched")
    same([message.metadata.sequence.stream for message in got], list(range(1, 26)), "sequences")
    await settled(reader, agents.named(), "worker")
    for batch in (1, 5):
        await fails(asyncio.TimeoutError, subscription.fetch(batch, timeout=NOTHING), "fetching from nothing")
    waiting = asyncio.create_task(subscription.fetch(1, timeout=WAIT, heartbeat=1))
    await until("the server waits", lambda: awaited(reader, agents.named()))
    (later,) = await fill(writer, agents, "x", 1, 25)
    same(data(await waiting), [later], "what came later")


async def awaited(js, stream):
    return (await js.consumer_info(stream, "worker")).num_waiting == 1


@scenario
async def consumer_pull_max_bytes(agents):
    """As much as asked for, to the byte: subject, reply, headers and payload count."""
    _, reader, said = await filled(agents, 9)
    connection = reader._nc
    for name in ("w", "v"):
        await reader.add_consumer(agents.named(), durable_name=name)

    async def next_(consumer, batch, limit):
        inbox = connection.new_inbox()
        arriving = await heard(connection, inbox)
        asked = {"batch": batch, "no_wait": True, "max_bytes": limit}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{agents.named()}.{consumer}"
        await connection.publish(subject, json.dumps(asked).encode(), reply=inbox)
        messages = []
        while len(messages) < batch:
            message = await receive(arriving)
            if message.headers and "Status" in message.headers:
                return messages, message.headers[api.Header.DESCRIPTION]
            messages.append(message)
        return messages, None

    (first,), _ = await next_("w", 1, 100_000)
    size = len(first.subject) + len(first.reply) + len(first.data)
    same(await next_("w", 1, size - 1), ([], "Message Size Exceeds MaxBytes"), "one byte too few")
    messages, _ = await next_("w", 1, size)
    same(data(messages), said[1:2], "just enough")
    messages, status = await next_("v", 5, 3 * size + size // 4)
    same((data(messages), status), (said[:3], "Message Size Exceeds MaxBytes"), "enough for three")
    messages, _ = await next_("v", 6, 6 * size)
    same(data(messages), said[3:], "enough for the rest")


@scenario
async def consumer_push(agents):
    writer, reader, said = await filled(agents, 20)
    subscription = await pushed(reader, agents, reader._nc)
    said += await fill(writer, agents, "x", 5, 20)
    for message in await expect(subscription, said):
        same(message.subject, agents.subject("x"), "subject")
        await message.ack()
    await settled(reader, agents.named(), "push")
    got = asyncio.Queue()
    # nats-py subscribes after it has made the consumer, so this one is to be delivered what is published later.
    config = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.NEW)
    await reader.subscribe(agents.subject("x"), durable="called", cb=got.put, config=config)
    await settle(reader._nc)
    said = await fill(writer, agents, "x", 10, 25)
    same([(await asyncio.wait_for(got.get(), WAIT)).data for _ in said], said, "called back")
    await settled(reader, agents.named(), "called")


@scenario
async def consumer_push_queue(agents):
    writer, reader, _ = await filled(agents, 0)
    arrived = asyncio.Queue()
    for member in range(3):
        js = (await agents.reader()).jetstream(timeout=WAIT)

        async def work(message, member=member):
            await arrived.put((member, message.data))

        await js.subscribe(agents.subject("x"), queue="crew", cb=work)
        await settle(js._nc)
    said = await fill(writer, agents, "x", 60)
    got = [await asyncio.wait_for(arrived.get(), WAIT) for _ in said]
    same(sorted(payload for _, payload in got), sorted(said), "what the group got")
    same({member for member, _ in got}, {0, 1, 2}, "members that got something")
    await settled(reader, agents.named(), "crew")


@scenario
async def consumer_ordered(agents):
    writer, reader, _ = await filled(agents, 0)
    subscription = await reader.subscribe(agents.subject("x"), stream=agents.named(), ordered_consumer=True)
    await settle(reader._nc)
    said = [agents.said(number, size=1000) for number in range(300)]
    for future in [await writer.publish_async(agents.subject("x"), payload) for payload in said]:
        await asyncio.wait_for(future, WAIT)
    await expect(subscription, said)
    check(await nothing_more(reader._nc, subscription), "more than was published")
    for start in (api.DeliverPolicy.ALL, api.DeliverPolicy.LAST):
        config = api.ConsumerConfig(deliver_policy=start)
        subject, stream = agents.subject("x"), agents.named()
        again = await reader.subscribe(subject, stream=stream, ordered_consumer=True, config=config)
        await expect(again, said if start == api.DeliverPolicy.ALL else said[-1:])


@scenario
async def consumer_flow_control(agents):
    """The server asks whether the client keeps up; nothing more comes until that is answered."""
    writer, reader, _ = await filled(agents, 0)
    said = [agents.said(number, size=8000) for number in range(200)]
    for future in [await writer.publish_async(agents.subject("x"), payload) for payload in said]:
        await asyncio.wait_for(future, WAIT)
    given = {"ack_policy": api.AckPolicy.NONE, "flow_control": True, "idle_heartbeat": 1}
    subscription = await pushed(reader, agents, reader._nc, **given)
    got, asked = [], 0
    while len(got) < len(said):
        message = await receive(subscription)
        if not (message.headers and message.headers.get("Status") == "100"):
            got.append(message.data)
        elif message.reply:
            asked += 1
            await reader._nc.publish(message.reply, b"")
    same(got, said, "delivered")
    check(asked > 0, "the server never asked")

    async def beats():
        return (await receive(subscription)).headers.get("Description") == "Idle Heartbeat"

    await until("the heart beats", beats)


@scenario
async def consumer_headers_only(agents):
    writer, reader, _ = await filled(agents, 0)
    subscription = await pushed(reader, agents, reader._nc, headers_only=True, ack_policy=api.AckPolicy.NONE)
    # With 48 bytes more some of these have another digit.
    for size in (40, 60, 99, 100, 955, 999, 1000, 9_970, 70_000):
        for given in (None, {"n": "1", "o": "2"}):
            await writer.publish(agents.subject("x"), agents.said(size=size), headers=given)
            message = await receive(subscription)
            same((message.data, message.headers), (b"", (given or {}) | {"Nats-Msg-Size": str(size)}), f"of {size} bytes")
    await writer.publish(agents.subject("x"), b"")
    same((await receive(subscription)).headers, {"Nats-Msg-Size": "0"}, "of an empty one")
    pulling = await worker(reader, agents, headers_only=True)
    sizes = [message.headers["Nats-Msg-Size"] for message in await pull(pulling, 3)]
    same(sizes, ["40", "40", "60"], "pulled")


@scenario
async def consumer_acknowledgements(agents):
    _, reader, said = await filled(agents, 5)
    subscription = await worker(reader, agents, ack_wait=WAIT)
    acked, naked, later, terminated, synced = await pull(subscription, 5)
    await acked.ack()
    await naked.nak()
    await later.nak(delay=0.2)
    await terminated.term()
    await synced.in_progress()
    await synced.ack_sync(timeout=WAIT)
    again = await pull(subscription, 2)
    same(sorted(data(again)), sorted(said[1:3]), "delivered again")
    for message in again:
        same(message.metadata.num_delivered, 2, "deliveries")
        await message.ack()
    await settled(reader, agents.named(), "worker")
    # Whoever says nothing gets it again.
    late = await worker(reader, agents, "late", ack_wait=0.3, max_deliver=2)
    (first,) = await late.fetch(1, timeout=WAIT)
    got = [first]
    while len(got) < 6:
        got += await late.fetch(1, timeout=WAIT)
        if got[-1].data != first.data:
            await got[-1].ack()
    same(sorted(data(got)), sorted([*said, said[0]]), "delivered to who said nothing")


@scenario
async def consumer_priority_group(agents):
    _, reader, said = await filled(agents, 6)
    stream, connection = agents.named(), reader._nc

    async def grouped(name, policy):
        config = {"durable_name": name, "ack_policy": "none", "priority_groups": ["g"], "priority_policy": policy}
        await request(reader, f"CONSUMER.CREATE.{stream}.{name}", {"stream_name": stream, "config": config})

    async def ask(name, **asked):
        inbox = connection.new_inbox()
        answers = await heard(connection, inbox)
        asked = {"batch": 1, "group": "g", "expires": 500_000_000} | asked
        await connection.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", json.dumps(asked).encode(), reply=inbox)
        return await receive(answers)

    await grouped("pinned", "pinned_client")
    pinned = await ask("pinned")
    same(pinned.data, said[0], "to the pinned client")
    pin = pinned.headers["Nats-Pin-Id"]
    same((await ask("pinned")).headers["Status"], "408", "answer to another")
    same((await ask("pinned", id="wrong")).headers["Status"], "423", "answer to a wrong pin")
    same((await ask("pinned", id=pin)).data, said[1], "to the pinned client again")
    await request(reader, f"CONSUMER.UNPIN.{stream}.pinned", {"group": "g"})
    other = await ask("pinned")
    same(other.data, said[2], "to the next one")
    check(other.headers["Nats-Pin-Id"] != pin, "the same pin")
    await grouped("overflow", "overflow")
    same((await ask("overflow", min_pending=100)).headers["Status"], "408", "answer below the threshold")
    same((await ask("overflow", min_pending=5)).data, said[0], "above the threshold")


@scenario
async def consumer_pause(agents):
    _, reader, said = await filled(agents, 3)
    subscription = await worker(reader, agents)
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    paused = await reader.pause_consumer(agents.named(), "worker", soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    check(paused.paused, "not paused")
    await fails(asyncio.TimeoutError, subscription.fetch(1, timeout=NOTHING), "fetching from a paused consumer")
    resumed = await reader.resume_consumer(agents.named(), "worker")
    check(not resumed.paused, "not resumed")
    same(data(await pull(subscription, 3)), said, "after the pause")


@scenario
async def consumer_filter(agents):
    writer, reader = await agents.streams()
    await make(writer, agents)
    for number in range(12):
        last = ("a", "b.c", "b.d", "e")[number % 4]
        await writer.publish(agents.subject(last), agents.said(number))
    for last, numbers in (("a", [0, 4, 8]), ("b.*", [1, 2, 5, 6, 9, 10]), ("none", [])):
        info = await reader.add_consumer(agents.named(), name=last[0] + "1", filter_subject=agents.subject(last))
        await matches(reader, agents, info, numbers)
    both = [agents.subject("a"), agents.subject("b.d")]
    info = await reader.add_consumer(agents.named(), name="both", filter_subjects=both)
    await matches(reader, agents, info, [0, 2, 4, 6, 8, 10])


async def matches(js, agents, info, numbers):
    same(info.num_pending, len(numbers), f"matching {info.name}")
    if numbers:
        subscription = await js.pull_subscribe_bind(info.name, agents.named())
        got = await pull(subscription, len(numbers))
        same(data(got), [agents.said(number) for number in numbers], f"matching {info.name}")


@scenario
async def consumer_replay(agents):
    writer, reader = await agents.streams()
    await make(writer, agents)
    said = await fill(writer, agents, "x", 3) + await fill(writer, agents, "y", 3, 3)
    fourth = await reader.get_msg(agents.named(), 4)
    policy = api.DeliverPolicy
    ways = [
        ({"deliver_policy": policy.ALL}, said),
        ({"deliver_policy": policy.ALL, "replay_policy": api.ReplayPolicy.ORIGINAL}, said),
        ({"deliver_policy": policy.BY_START_SEQUENCE, "opt_start_seq": 5}, said[4:]),
        ({"deliver_policy": policy.BY_START_TIME, "opt_start_time": fourth.time}, said[3:]),
        ({"deliver_policy": policy.LAST}, said[5:]),
        ({"deliver_policy": policy.LAST_PER_SUBJECT}, [said[2], said[5]]),
        ({"deliver_policy": policy.NEW}, []),
    ]
    subscriptions = []
    for number, (way, expected) in enumerate(ways):
        subscription = await worker(reader, agents, f"w{number}", **way)
        same((await subscription.consumer_info()).num_pending, len(expected), f"pending for {way}")
        subscriptions.append((subscription, way, expected))
    (last,) = await fill(writer, agents, "z", 1, 6)
    for subscription, way, expected in subscriptions:
        same(data(await pull(subscription, len(expected) + 1)), [*expected, last], f"replayed for {way}")
    # It starts again at its first message.
    reset = await reader.reset_consumer(agents.named(), "w0", 2)
    same(reset.reset_seq, 2, "sequence after the reset")
    again = subscriptions[0][0]
    same(data(await pull(again, 6)), [*said[1:], last], "replayed after the reset")
