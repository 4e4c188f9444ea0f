"""Messages that nothing stores, as nats-py publishes, subscribes and requests."""

import asyncio

from nats.errors import NoRespondersError

from driver import WAIT, check, nothing_more, settle
from features_world import expect, fails, heard, receive, same, scenario


@scenario
async def publish_subscribe(agents):
    writer, reader = await agents.both()
    subscription = await heard(reader, agents.subject("x"))
    said = [agents.said(number, size=100 + number * 97) for number in range(50)]
    for payload in said:
        await writer.publish(agents.subject("x"), payload)
    for message in await expect(subscription, said):
        same(message.subject, agents.subject("x"), "subject")
        same((message.reply, message.headers), ("", None), "reply and headers")
    await settle(writer)
    check(await nothing_more(reader, subscription), "more than was published")


@scenario
async def wildcards(agents):
    writer, reader = await agents.both()
    filters = {"*": ["b"], "*.c": ["a.c", "b.c"], "a.>": ["a.c", "a.d.e"], ">": ["a.c", "b", "b.c", "a.d.e"]}
    subscriptions = {last: await heard(reader, agents.subject(last)) for last in filters}
    for last in filters[">"]:
        await writer.publish(agents.subject(last), agents.said(last))
    await settle(writer)
    for last, matching in filters.items():
        messages = await expect(subscriptions[last], [agents.said(match) for match in matching])
        same([message.subject for message in messages], [agents.subject(match) for match in matching], last)
        check(await nothing_more(reader, subscriptions[last]), f"more than matches {last}")


@scenario
async def queue_groups(agents):
    writer, readers = await agents.writer(), [await agents.reader() for _ in range(3)]
    arrived = asyncio.Queue()
    for member, reader in enumerate(readers):

        async def work(message, member=member):
            await arrived.put((member, message.data))

        await heard(reader, agents.subject(">"), queue="crew", cb=work)
    said = [agents.said(number) for number in range(60)]
    for payload in said:
        await writer.publish(agents.subject("x"), payload)
    got = [await asyncio.wait_for(arrived.get(), WAIT) for _ in said]
    same(sorted(payload for _, payload in got), sorted(said), "what the group got")
    same({member for member, _ in got}, {0, 1, 2}, "members that got something")
    for reader in readers:
        await settle(reader)
    check(arrived.empty(), "a message arrived twice")


@scenario
async def headers(agents):
    writer, reader = await agents.both()
    subscription = await heard(reader, agents.subject("x"))
    sent = {"One": "1", "two-words": "a b: c", "Traceparent": "00-af-01"}
    for payload in (agents.said("with headers"), b""):
        await writer.publish(agents.subject("x"), payload, headers=sent)
        (message,) = await expect(subscription, [payload])
        same(message.headers, sent, "headers")


@scenario
async def empty_payload(agents):
    writer, reader = await agents.both()
    subscription = await heard(reader, agents.subject("x"))
    said = [b"", agents.said("full"), b""]
    for payload in said:
        await writer.publish(agents.subject("x"), payload, reply="py.back")
    for message in await expect(subscription, said):
        same(message.reply, "py.back", "reply")


@scenario
async def no_responders(agents):
    writer = await agents.writer()
    for old_style in (False, True):
        asked = writer.request("nobody.py", agents.said("?"), timeout=WAIT, old_style=old_style)
        await fails(NoRespondersError, asked, "asking nobody")


async def answer(agents, reader):
    async def respond(message):
        await reader.publish(message.reply, message.data + b" answered", headers=message.headers)

    await heard(reader, agents.subject("ask"), cb=respond)


async def ask(agents, writer):
    for old_style in (False, True):
        for number in range(5):
            asked = agents.said(number)
            given = {"n": str(number)} if number % 2 and not old_style else None  # the old style forgets headers
            reply = await writer.request(
                agents.subject("ask"), asked, timeout=WAIT, old_style=old_style, headers=given
            )
            same((reply.data, reply.headers), (asked + b" answered", given), "reply")


@scenario
async def request_reply(agents):
    writer, reader = await agents.both()
    await answer(agents, reader)
    await ask(agents, writer)
    asked = [agents.said(number, size=60 + number * 300) for number in range(20)]
    together = (writer.request(agents.subject("ask"), payload, timeout=WAIT) for payload in asked)
    replies = [reply.data for reply in await asyncio.gather(*together)]
    same(replies, [payload + b" answered" for payload in asked], "replies")


@scenario
async def request_many(agents):
    """Several responders, several answers each, and an empty one that ends them."""
    writer, readers = await agents.writer(), [await agents.reader() for _ in range(2)]
    for member, reader in enumerate(readers):

        async def respond(message, member=member, reader=reader):
            for number in range(3):
                await reader.publish(message.reply, message.data + f" {member}.{number}".encode())
            await reader.publish(message.reply, b"")

        await heard(reader, agents.subject("ask"), cb=respond)
    inbox = writer.new_inbox()
    answers = await heard(writer, inbox)
    await writer.publish(agents.subject("ask"), agents.said("all"), reply=inbox)
    got = [(await receive(answers)).data for _ in range(8)]
    expected = [agents.said(f"all {member}.{number}") for member in range(2) for number in range(3)]
    same(sorted(got), sorted([b"", b""] + expected), "answers")


@scenario
async def custom_inbox_prefix(agents):
    reader, writer = await agents.reader(), await agents.writer(inbox_prefix=b"_PY.answers")
    seen = []

    async def respond(message):
        seen.append(message.reply)
        await message.respond(message.data + b" answered")

    await heard(reader, agents.subject("ask"), cb=respond)
    for old_style in (False, True):
        asked = writer.request(agents.subject("ask"), agents.said(old_style), timeout=WAIT, old_style=old_style)
        same((await asked).data, agents.said(old_style) + b" answered", "reply")
    check(all(reply.startswith("_PY.answers.") for reply in seen), f"replies to {seen}")


@scenario
async def drain(agents):
    writer, reader = await agents.both()
    got = []

    async def slow(message):
        await asyncio.sleep(0)
        got.append(message.data)

    await heard(reader, agents.subject("x"), cb=slow)
    said = [agents.said(number) for number in range(200)]
    for payload in said:
        await writer.publish(agents.subject("x"), payload)
    await settle(writer)
    await reader.drain()
    same(got, said, "before the end of the drain")
    await writer.drain()
    check(writer.is_closed and reader.is_closed, "not closed by the drain")
