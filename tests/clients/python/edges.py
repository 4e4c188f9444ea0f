"""What nats-py makes of a gateway that stops, is taken over, or refuses it.

    edges.py --url URL --only SCENARIO --out REPORT

See tests/src/driver.rs for what is done with the report. What is to happen meanwhile is cued.
"""

import asyncio

import nats
from nats.errors import Error, NoRespondersError
from nats.js import api

import driver
from driver import WAIT, check, gather, main, note, settle

driver.SCENARIOS.clear()
scenario = driver.scenario

# What shows that something goes on.
SOME = 20
# How long an answer may take before the question is asked again.
PATIENCE = 1
# How long to wait before connecting again.
AGAIN = 0.05


async def until(what, holds):
    async def look():
        while not holds():
            await asyncio.sleep(0.01)

    try:
        await asyncio.wait_for(look(), WAIT)
    except asyncio.TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


@scenario
async def lame_duck(world):
    """The event, once; and everything is as it was until the connection is closed."""
    events = []

    async def told():
        events.append("lame duck")

    connection = await world.connect(lame_duck_mode_cb=told)
    subscription = await connection.subscribe("still.x")
    await settle(connection)
    await world.cue("lame-duck")
    await until("the event", lambda: events)
    await connection.publish("still.x", b"here")
    return events + await gather(subscription, 1)


class Lives:
    """A connection that comes back by itself, and what it went through."""

    def __init__(self):
        self.events = []
        self.connection = None

    @classmethod
    async def begin(cls, world):
        lives = cls()

        def noting(event):
            async def note_(*_):
                lives.events.append(event)

            return note_

        lives.connection = await world.connect(
            allow_reconnect=True, reconnect_time_wait=AGAIN, max_reconnect_attempts=-1,
            lame_duck_mode_cb=noting("told"), reconnected_cb=noting("back"), error_cb=noting("error"),
        )
        return lives


class Work:
    """Messages of a stream, requests and plain messages, going on until it is enough."""

    def __init__(self):
        self.enough = False
        self.over = False
        self.acknowledged, self.read = set(), set()
        self.answered = 0
        self.heard = []

    async def publish(self, connection):
        js, number = connection.jetstream(timeout=PATIENCE), 0
        while not self.enough:
            text = f"message {number}"
            try:
                await js.publish("edges.x", text.encode(), headers={api.Header.MSG_ID: text})
            except (Error, asyncio.TimeoutError):
                await asyncio.sleep(AGAIN)
                continue
            self.acknowledged.add(text)
            number += 1

    async def consume(self, connection):
        js = connection.jetstream(timeout=PATIENCE)
        config = api.ConsumerConfig(ack_wait=2 * PATIENCE, max_ack_pending=10_000)
        subscription = await js.pull_subscribe("edges.>", durable="worker", stream="EDGES", config=config)
        while not self.over:
            try:
                messages = await subscription.fetch(200, timeout=PATIENCE)
            except (Error, asyncio.TimeoutError):
                await asyncio.sleep(AGAIN)
                continue
            for message in messages:
                self.read.add(message.data.decode())
                await message.ack()

    async def ask(self, connection):
        while not self.enough:
            question = f"question {self.answered}"
            try:
                answer = await connection.request("ask.x", question.encode(), timeout=PATIENCE)
            except (Error, asyncio.TimeoutError):
                await asyncio.sleep(AGAIN)
                continue
            check(answer.data.decode() == f"re: {question}", answer.data)
            self.answered += 1

    async def talk(self, connection):
        number = 0
        while not self.enough:
            await connection.publish("core.x", str(number).encode())
            number += 1
            await asyncio.sleep(0.002)

    async def goes_on(self):
        counts = lambda: (len(self.acknowledged), len(self.read), self.answered, len(self.heard))  # noqa: E731
        before = counts()
        await until("work that goes on", lambda: all(now >= then + SOME for now, then in zip(counts(), before)))


@scenario
async def take_over(world):
    """Nothing acknowledged is lost, and every connection comes back by itself, having been told."""
    lives = [await Lives.begin(world) for _ in range(5)]
    publisher, consumer, asker, listener, answerer = [life.connection for life in lives]
    await publisher.jetstream().add_stream(name="EDGES", subjects=["edges.>"])
    work = Work()

    async def hear(message):
        work.heard.append(int(message.data))

    async def answer(message):
        await message.respond(b"re: " + message.data)

    await listener.subscribe("core.x", cb=hear)
    await answerer.subscribe("ask.x", cb=answer)
    await settle(listener)
    await settle(answerer)
    tasks = [
        asyncio.create_task(part)
        for part in (work.publish(publisher), work.consume(consumer), work.ask(asker), work.talk(publisher))
    ]
    for _ in range(2):
        await work.goes_on()
        await world.cue("take-over")
        for life in lives:
            await until("a connection that is back", lambda life=life: life.events and life.events[-1] == "back")
            check("told" in life.events, life.events)
            life.events.clear()
    await work.goes_on()
    work.enough = True
    await until("what was acknowledged", lambda: work.acknowledged <= work.read)
    work.over = True
    await asyncio.wait_for(asyncio.gather(*tasks), WAIT)
    check(work.read <= work.acknowledged | {f"message {len(work.acknowledged)}"}, "read, but never sent")
    check(work.heard == sorted(set(work.heard)), "core messages twice or out of turn")
    return []


class Guest:
    """Somebody who may not publish below `a`, and gets nothing from there."""

    def __init__(self):
        self.errors = []
        self.connection = None

    @classmethod
    async def begin(cls, world):
        guest = cls()

        async def told(error):
            guest.errors.append(str(error))

        guest.connection = await world.connect(user="guest", password="g", error_cb=told)
        return guest

    async def settled(self):
        await settle(self.connection)
        # The callback has had its turn.
        await asyncio.sleep(0)
        return list(self.errors)


@scenario
async def guest_publishes(world):
    """One error for each publish that is refused; the connection lives on."""
    guest = await Guest.begin(world)
    connection = guest.connection
    subscription = await connection.subscribe("b.x")
    await connection.publish("a.x", b"refused")
    await connection.publish("b.x", b"one")
    await connection.publish("a.y", b"refused")
    await connection.publish("b.x", b"two")
    seen = await gather(subscription, 2)
    check(connection.is_connected, "the connection is gone")
    return seen + await guest.settled()


@scenario
async def guest_subscribes(world):
    """A subscription to what is not for it is refused; one that reaches further gets the rest."""
    guest = await Guest.begin(world)
    connection = guest.connection
    await connection.subscribe("a.>")
    everything = await connection.subscribe(">")
    await settle(connection)
    await world.cue("speak")
    seen = []
    while not seen or not seen[-1].startswith("b.last"):
        message = await everything.next_msg(timeout=WAIT)
        seen.append(note(message))
        check(b"secret" not in message.data, "plaintext that is not for it")
    check(connection.is_connected, "the connection is gone")
    return seen + await guest.settled()


@scenario
async def guest_asks(world):
    """A request that is refused fails at once, and so does what would be stored; the next one does not."""
    guest = await Guest.begin(world)
    connection = guest.connection
    other = await world.connect(user="guest", password="g")

    async def answer(message):
        await message.respond(b"re: " + message.data)

    await other.subscribe("b.ask", cb=answer)
    await settle(other)
    seen = []
    for asking in (
        connection.request("a.ask", b"?", timeout=WAIT),
        connection.jetstream(timeout=WAIT).publish("a.stored", b"refused"),
    ):
        try:
            await asking
            seen.append("an answer")
        except (NoRespondersError, nats.js.errors.NoStreamResponseError) as error:
            seen.append(type(error).__name__)
    seen.append((await connection.request("b.ask", b"?", timeout=WAIT)).data.decode())
    return seen


@scenario
async def misdirected(world):
    """A stream and a schedule whose messages would open for nobody."""
    connection = await world.connect()
    context = connection.jetstream(timeout=WAIT)
    republish = api.RePublish(src="at.>", dest="copy.>")
    headers = {"Nats-Schedule": "@at 2099-01-01T00:00:00Z", "Nats-Schedule-Target": "out.a"}
    seen = []
    for asking in (
        context.add_stream(name="t", subjects=["at.>"], republish=republish),
        context.publish("in.a", b"soon", headers=headers),
    ):
        try:
            await asking
            seen.append("an answer")
        except nats.js.errors.APIError as error:
            seen.append(f"{error.err_code} {error.description}")
    return seen


@scenario
async def foreign(world):
    """JetStream under a prefix that the gateway does not know."""
    connection = await world.connect()
    try:
        await connection.jetstream(prefix="JS.acme.API", timeout=WAIT).stream_info("s")
        return ["an answer"]
    except nats.js.errors.APIError as error:
        return [str(error.description)]


if __name__ == "__main__":
    asyncio.run(main())
