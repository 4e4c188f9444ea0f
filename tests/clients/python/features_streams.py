"""Ways in which stored messages come back, as nats-py asks for them."""

import json

from nats.js import api
from nats.js.errors import NotFoundError

from driver import WAIT, check
from features_world import expect, fails, fill, heard, holds, make, receive, same, scenario, until


async def copied(agents, last, **config):
    """Another stream copies this one: before and after it is made."""
    writer, reader = await agents.streams()
    await make(writer, agents)
    said = await fill(writer, agents, last, 3)
    copy = agents.named("copy")
    await reader.add_stream(name=copy, storage=api.StorageType.MEMORY, **config)
    said += await fill(writer, agents, last, 3, 3)

    async def complete():
        return (await reader.stream_info(copy)).state.messages == len(said)

    await until("the copy is complete", complete)
    messages = await holds(reader, copy, said)
    same({message.subject for message in messages}, {agents.subject(last)}, "subjects")
    return messages


@scenario
async def stream_mirror(agents):
    await copied(agents, "x", mirror=api.StreamSource(name=agents.named()))


@scenario
async def stream_source(agents):
    source = api.StreamSource(name=agents.named(), filter_subject=agents.subject("x"))
    for message in await copied(agents, "x", sources=[source]):
        check(agents.subject("x") in message.headers["Nats-Stream-Source"], message.headers)


@scenario
async def stream_republish(agents):
    writer, reader = await agents.mixed_streams()
    for keyring in ("moved", "renamed"):
        at, to = (f"{keyring}.py.{way}.stream_republish" for way in ("in", "out"))
        republish = api.RePublish(src=at, dest=to)
        await writer.add_stream(name=agents.named(keyring), subjects=[at], republish=republish)
        arrived = await heard(reader._nc, to)
        await writer.publish(at, agents.said(keyring))
        (message,) = await expect(arrived, [agents.said(keyring)])
        same((message.headers["Nats-Subject"], message.headers["Nats-Sequence"]), (at, "1"), "headers")


@scenario
async def stream_subject_transform(agents):
    writer, reader = await agents.mixed_streams()
    for keyring in ("moved", "renamed"):
        at, to = (f"{keyring}.py.{way}.stream_subject_transform" for way in ("in", "out"))
        name, transform = agents.named(keyring), api.SubjectTransform(src=at, dest=to)
        await writer.add_stream(name=name, subjects=[at], subject_transform=transform, allow_direct=True)
        await writer.publish(at, agents.said(keyring))
        (message,) = await holds(reader, name, [agents.said(keyring)])
        same(message.subject, to, "subject")
        for direct in (False, True):
            same((await reader.get_last_msg(name, to, direct=direct)).data, agents.said(keyring), f"direct: {direct}")


async def asked_for(agents, direct):
    """Single messages, by each way to name one."""
    writer, reader = await agents.streams()
    await make(writer, agents, allow_direct=True)
    said = [agents.said(number, size=40 + number * 31) for number in range(8)]
    for number, payload in enumerate(said):
        await writer.publish(agents.subject("ab"[number % 2]), payload, headers={"n": str(number)})
    name = agents.named()
    for number, payload in enumerate(said):
        got = await reader.get_msg(name, number + 1, direct=direct)
        same((got.data, got.seq, got.subject), (payload, number + 1, agents.subject("ab"[number % 2])), "by sequence")
        same(got.headers["n"], str(number), "header")
    last = await reader.get_last_msg(name, agents.subject("a"), direct=direct)
    same((last.data, last.seq), (said[6], 7), "last of a subject")
    after = await reader.get_msg(name, 4, agents.subject("a"), direct=direct, next=True)
    same((after.data, after.seq), (said[4], 5), "next of a subject")
    await fails(NotFoundError, reader.get_msg(name, 9, direct=direct), "a message that is not there")
    await writer.publish(agents.subject("empty"), b"")
    same((await reader.get_msg(name, 9, direct=direct)).data, None, "an empty one")


@scenario
async def stream_message_get(agents):
    await asked_for(agents, False)


@scenario
async def stream_direct_get(agents):
    await asked_for(agents, True)


async def many(js, stream, **asked):
    """The answers of a direct get of many messages, and the status that ends them."""
    inbox = js._nc.new_inbox()
    answers = await js._nc.subscribe(inbox)
    await js._nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(asked).encode(), reply=inbox)
    messages = []
    while (answer := await receive(answers)).data:
        messages.append(answer)
    same(answer.headers.get("Status"), "204", f"end of {asked}")
    return messages, answer


async def numbered(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, allow_direct=True)
    said = [agents.said(number, size=1000) for number in range(10)]
    for number, payload in enumerate(said):
        await writer.publish(agents.subject("abc"[number % 3]), payload)
    return reader, said


@scenario
async def stream_direct_get_batch(agents):
    reader, said = await numbered(agents)
    messages, end = await many(reader, agents.named(), seq=2, batch=5)
    same([message.data for message in messages], said[1:6], "by sequence")
    same(end.headers["Nats-Num-Pending"], "4", "left")
    messages, _ = await many(reader, agents.named(), seq=1, batch=5, next_by_subj=agents.subject("b"))
    same([message.data for message in messages], said[1::3], "of a subject")
    same([message.headers["Nats-Sequence"] for message in messages], ["2", "5", "8"], "sequences")
    # The server stops at the message that makes it more than this.
    messages, _ = await many(reader, agents.named(), seq=1, batch=5, max_bytes=2900)
    same([message.data for message in messages], said[: len(messages)], "of so many bytes")
    check(0 < len(messages) <= 3, f"{len(messages)} messages of 1000 bytes for max_bytes 2900")


@scenario
async def stream_direct_get_multi_last(agents):
    reader, said = await numbered(agents)
    messages, _ = await many(reader, agents.named(), multi_last=[agents.subject("a"), agents.subject("c")])
    same([message.data for message in messages], [said[8], said[9]], "last of each")
    messages, _ = await many(reader, agents.named(), multi_last=[agents.subject(">")], up_to_seq=5)
    same([message.data for message in messages], said[2:5], "last of each, of the first five")
    same([message.headers["Nats-Subject"] for message in messages], [agents.subject(last) for last in "cab"], "subjects")


@scenario
async def stream_direct_get_no_headers(agents):
    reader, said = await numbered(agents)
    for last, payload in (("a", said[9]), ("b", said[7])):
        await bare(reader, agents.named(), {"last_by_subj": agents.subject(last)}, payload)
    # Where the request does not name one subject nothing does, so the keyring must not be bound to it.
    writer, reader = await agents.mixed_streams()
    subject, name = "moved.py.in.stream_direct_get_no_headers", agents.named("moved")
    await writer.add_stream(name=name, subjects=[subject], allow_direct=True)
    said = [agents.said(number) for number in range(2)]
    for payload in said:
        await writer.publish(subject, payload)
    questions = [{"seq": 1}, {"next_by_subj": subject}, {"seq": 2}, {"seq": 2, "next_by_subj": subject}]
    for question, payload in zip(questions, (said[0], said[0], said[1], said[1])):
        await bare(reader, name, question, payload)


async def bare(js, stream, question, payload):
    asked = json.dumps(question | {"no_hdr": True}).encode()
    answer = await js._nc.request(f"$JS.API.DIRECT.GET.{stream}", asked, timeout=WAIT)
    same((answer.data, answer.headers), (payload, None), f"{question}")
