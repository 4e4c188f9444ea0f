"""What JetStream stores, refuses and removes, as nats-py publishes it."""

import asyncio
import datetime
import json

from nats.js import api
from nats.js.errors import APIError, NotFoundError

from driver import WAIT, check
from features_world import (
    expect, fails, fill, heard, holds, make, pull, receive, refused, request, same, scenario, stored, until,
)

WRONG_LAST_SEQUENCE = 10071
WRONG_LAST_ID = 10070
WRONG_STREAM = 10060
TOO_MANY = 10077
TOO_LARGE = 10054
BATCH_INCOMPLETE = 10176


@scenario
async def stream_publish(agents):
    writer, reader = await agents.streams()
    await make(writer, agents)
    said = [agents.said(number) for number in range(5)] + [b""]
    for number, payload in enumerate(said):
        ack = await writer.publish(agents.subject("x"), payload, headers={"n": str(number)})
        same((ack.stream, ack.seq), (agents.named(), number + 1), "acknowledgement")
    for number, message in enumerate(await holds(reader, agents.named(), said)):
        same((message.subject, message.headers), (agents.subject("x"), {"n": str(number)}), "subject and headers")


@scenario
async def stream_publish_async(agents):
    writer, reader = await agents.streams()
    await make(writer, agents)
    said = [agents.said(number) for number in range(100)]
    futures = [await writer.publish_async(agents.subject("x"), payload) for payload in said]
    await asyncio.wait_for(writer.publish_async_completed(), WAIT)
    same([(await future).seq for future in futures], list(range(1, 101)), "sequences")
    await holds(reader, agents.named(), said)


@scenario
async def stream_dedup(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, duplicate_window=60)
    acks = []
    for js in (writer, writer, reader):
        headers = {api.Header.MSG_ID: "once"}
        acks.append(await js.publish(agents.subject("x"), agents.said("once"), headers=headers))
    same([(ack.seq, ack.duplicate) for ack in acks], [(1, None), (1, True), (1, True)], "acknowledgements")
    await holds(reader, agents.named(), [agents.said("once")])


@scenario
async def stream_expected_headers(agents):
    writer, reader = await agents.streams()
    await make(writer, agents)
    await writer.publish(agents.subject("x"), agents.said(0), headers={api.Header.MSG_ID: "zero"})
    expectations = [
        (api.Header.EXPECTED_LAST_SEQUENCE, "7", "1", WRONG_LAST_SEQUENCE),
        (api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE, "1", "2", WRONG_LAST_SEQUENCE),
        (api.Header.EXPECTED_STREAM, "py_other", agents.named(), WRONG_STREAM),
    ]
    said = [agents.said(0)]
    for header, wrong, right, code in expectations:
        published = writer.publish(agents.subject("x"), agents.said("wrong"), headers={header: wrong})
        refused(await fails(APIError, published, f"{header}: {wrong}"), code)
        said.append(agents.said(header.value))
        await writer.publish(agents.subject("x"), said[-1], headers={header: right})
    headers = {api.Header.EXPECTED_LAST_MSG_ID: "zero"}
    refused(await fails(APIError, writer.publish(agents.subject("x"), b"", headers=headers), "wrong id"), WRONG_LAST_ID)
    await holds(reader, agents.named(), said)


async def limits(agents, storage):
    writer, reader = await agents.streams()
    await make(writer, agents, "old", storage=storage, max_msgs=3)
    said = await fill(writer, agents, "old.x", 5)
    await holds(reader, agents.named("old"), said[2:])
    await make(writer, agents, "new", storage=storage, max_msgs=2, discard=api.DiscardPolicy.NEW)
    said = await fill(writer, agents, "new.x", 2)
    published = writer.publish(agents.subject("new.x"), agents.said("too many"))
    refused(await fails(APIError, published, "one too many"), TOO_MANY)
    await holds(reader, agents.named("new"), said)
    await make(writer, agents, "each", storage=storage, max_msgs_per_subject=1)
    said = [(await fill(writer, agents, f"each.{last}", 3))[-1] for last in "ab"]
    await holds(reader, agents.named("each"), said)
    await make(writer, agents, "age", storage=storage, max_age=1)
    await fill(writer, agents, "age.x", 2)

    async def aged():
        return (await reader.stream_info(agents.named("age"))).state.messages == 0

    await until("messages older than the stream keeps go", aged)


@scenario
async def stream_limits_file(agents):
    await limits(agents, api.StorageType.FILE)


@scenario
async def stream_limits_memory(agents):
    await limits(agents, api.StorageType.MEMORY)


async def consumed(agents, retention, consumers):
    """Messages go once all consumers have acknowledged them."""
    writer, reader = await agents.streams()
    await make(writer, agents, retention=retention)
    subscriptions = [
        await reader.pull_subscribe(agents.subject(">"), durable=f"c{number}", stream=agents.named())
        for number in range(consumers)
    ]
    said = await fill(writer, agents, "x", 4)
    for subscription in subscriptions:
        same((await reader.stream_info(agents.named())).state.messages, 4, "before the last acknowledgement")
        messages = await pull(subscription, 4)
        same([message.data for message in messages], said, "consumed")
        for message in messages:
            await message.ack_sync(timeout=WAIT)
    # The acknowledgement is answered before the message is gone.
    await until("consumed messages go", lambda: emptied(reader, agents.named()))


async def emptied(js, stream):
    return (await js.stream_info(stream)).state.messages == 0


@scenario
async def stream_interest(agents):
    await consumed(agents, api.RetentionPolicy.INTEREST, 2)


@scenario
async def stream_work_queue(agents):
    await consumed(agents, api.RetentionPolicy.WORK_QUEUE, 1)


@scenario
async def stream_rollup(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, allow_rollup_hdrs=True)
    kept = (await fill(writer, agents, "a", 3)) + [agents.said("sum of b")]
    await fill(writer, agents, "b", 3)
    await writer.publish(agents.subject("b"), kept[-1], headers={api.Header.ROLLUP: "sub"})
    await holds(reader, agents.named(), kept)
    await writer.publish(agents.subject("c"), agents.said("sum of all"), headers={api.Header.ROLLUP: "all"})
    await holds(reader, agents.named(), [agents.said("sum of all")])


@scenario
async def stream_message_ttl(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, allow_msg_ttl=True, subject_delete_marker_ttl=1)
    await writer.publish(agents.subject("long"), agents.said("long"))
    await writer.publish(agents.subject("short"), agents.said("short"), msg_ttl=1)
    before = await reader.get_last_msg(agents.named(), agents.subject("short"))
    same(before.data, agents.said("short"), "before its time")

    async def expired():
        last = await reader.get_last_msg(agents.named(), agents.subject("short"))
        return last if last.seq != before.seq else None

    marker = await until("the message expires", expired)
    same((marker.data, marker.headers.get("Nats-Marker-Reason")), (None, "MaxAge"), "marker")
    await fails(NotFoundError, reader.get_msg(agents.named(), before.seq), "the expired message")
    await holds(reader, agents.named(), [agents.said("long"), b""])


@scenario
async def stream_purge_and_delete(agents):
    writer, reader = await agents.streams()
    await make(writer, agents)
    said = await fill(writer, agents, "a", 5) + await fill(writer, agents, "b", 5, 5)
    check(await writer.delete_msg(agents.named(), 2), "not deleted")
    await fails(NotFoundError, reader.get_msg(agents.named(), 2), "the deleted message")
    del said[1]
    await holds(reader, agents.named(), said)
    await writer.purge_stream(agents.named(), subject=agents.subject("a"), keep=1)
    await holds(reader, agents.named(), said[3:])
    await writer.purge_stream(agents.named(), seq=8)
    await holds(reader, agents.named(), said[6:])
    await writer.purge_stream(agents.named())
    await holds(reader, agents.named(), [])
    same((await writer.publish(agents.subject("a"), agents.said("after"))).seq, 11, "sequence after the purge")
    await holds(reader, agents.named(), [agents.said("after")])


@scenario
async def stream_max_msg_size(agents):
    writer, reader = await agents.streams()
    limit = 300
    made = await make(writer, agents, max_msg_size=limit)
    same(made.config.max_msg_size, limit, "told when it is made")
    await up_to(agents, writer, limit)
    changed = await writer.update_stream(made.config.evolve(max_msg_size=2 * limit))
    same(changed.config.max_msg_size, 2 * limit, "told when it is changed")
    await up_to(agents, writer, 2 * limit)
    told = (await reader.stream_info(agents.named())).config.max_msg_size
    listed = await request(reader, "STREAM.LIST", {"subject": agents.subject(">")})
    same((told, listed["streams"][0]["config"]["max_msg_size"]), (2 * limit, 2 * limit), "told afterwards")
    said = [agents.said(size, size=size) for size in (limit, limit - 30, 2 * limit, 2 * limit - 30)]
    await holds(reader, agents.named(), said)


async def up_to(agents, js, limit):
    """The limit is for headers and payload together."""
    headers = {"Sized": "012345678"}  # with its frame 30 bytes
    for size, given in ((limit, None), (limit - 30, headers)):
        await js.publish(agents.subject("x"), agents.said(size, size=size), headers=given)
        published = js.publish(agents.subject("x"), agents.said("too large", size=size + 1), headers=given)
        refused(await fails(APIError, published, f"{size + 1} bytes with {given}"), TOO_LARGE)


def in_batch(sequence, commit=None):
    headers = {api.Header.BATCH_ID: "b", api.Header.BATCH_SEQUENCE: str(sequence)}
    return headers | ({api.Header.BATCH_COMMIT: commit} if commit else {})


@scenario
async def stream_atomic_batch(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, allow_atomic=True)
    subject, connection = agents.subject("x"), writer._nc
    for commit in ("1", "eob"):
        said = [agents.said(f"{commit}.{number}") for number in range(3)]
        begun = await connection.request(subject, said[0], timeout=WAIT, headers=in_batch(1))
        same(begun.data, b"", "answer to the first of a batch")
        await connection.publish(subject, said[1], headers=in_batch(2))
        ended = said[2] if commit == "1" else b""
        ack = await writer.publish(subject, ended, headers=in_batch(3, commit))
        same((ack.batch_id, ack.batch_size), ("b", 3 if commit == "1" else 2), "acknowledgement")
    await holds(reader, agents.named(), [agents.said(what) for what in ("1.0", "1.1", "1.2", "eob.0", "eob.1")])
    await connection.request(subject, agents.said("given up"), timeout=WAIT, headers=in_batch(1))
    gap = writer.publish(subject, agents.said("gap"), headers=in_batch(3, "1"))
    refused(await fails(APIError, gap, "a batch with a gap"), BATCH_INCOMPLETE)
    same((await reader.stream_info(agents.named())).state.messages, 5, "messages after the batch that was given up")


@scenario
async def stream_fast_ingest(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, allow_batched=True)
    connection, inbox = writer._nc, writer._nc.new_inbox()
    answers = await heard(connection, f"{inbox}.>")
    said, first, more, last = [agents.said(number) for number in range(50)], 0, 1, 2
    for number, payload in enumerate(said, 1):
        what = first if number == 1 else last if number == len(said) else more
        reply = f"{inbox}.10.fail.{number}.{what}.$FI"
        await connection.publish(agents.subject("x"), payload, reply=reply)
    acks = []
    while not acks or "batch" not in acks[-1]:
        acks.append(json.loads((await receive(answers)).data))
        check("error" not in acks[-1] and acks[-1].get("type") != "gap", acks[-1])
    same((acks[-1]["count"], acks[-1]["seq"]), (50, 50), "acknowledgement")
    check(any(ack.get("type") == "ack" for ack in acks), f"no acknowledgement on the way: {acks}")
    await holds(reader, agents.named(), said)


@scenario
async def stream_schedule(agents):
    writer, reader = await agents.mixed_streams()
    for keyring in ("moved", "renamed"):
        at, to = (f"{keyring}.py.{way}.stream_schedule" for way in ("in", "out"))
        await writer.add_stream(name=agents.named(keyring), subjects=[at, to], allow_msg_schedules=True)
        arrived = await reader.subscribe(to, stream=agents.named(keyring))
        soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        headers = {api.Header.SCHEDULE: soon.strftime("@at %Y-%m-%dT%H:%M:%SZ"), api.Header.SCHEDULE_TARGET: to}
        await writer.publish(at, agents.said(keyring), headers=headers)
        (message,) = await expect(arrived, [agents.said(keyring)])
        same((message.subject, message.headers.get(api.Header.SCHEDULER)), (to, at), "subject and schedule")


@scenario
async def stream_counter(agents):
    """What is counted cannot be sealed; so this one has no marker."""
    writer, reader = await agents.mixed_streams()
    subject, name = "counter.py.stream_counter", agents.named()
    await writer.add_stream(name=name, subjects=[subject], allow_msg_counter=True, allow_direct=True)
    for step, sum_ in (("5", "5"), ("-2", "3"), ("10", "13")):
        same((await writer.publish(subject, headers={api.Header.INCR: step})).val, sum_, "acknowledgement")
    for direct in (False, True):
        got = await reader.get_last_msg(name, subject, direct=direct)
        same(json.loads(got.data), {"val": "13"}, "sum")
    (first, _, last) = await stored(reader, name, 3)
    same((json.loads(first.data), json.loads(last.data)), ({"val": "5"}, {"val": "13"}), "stored sums")


@scenario
async def stream_backup_restore(agents):
    writer, reader = await agents.streams()
    await make(writer, agents, storage=api.StorageType.FILE)
    said = await fill(writer, agents, "x", 20)
    connection, inbox, name = reader._nc, reader._nc.new_inbox(), agents.named()
    arriving = await heard(connection, inbox)
    about = await request(reader, f"STREAM.SNAPSHOT.{name}", {"deliver_subject": inbox, "chunk_size": 1024})
    chunks = []
    while (chunk := await receive(arriving)).data:
        chunks.append(chunk.data)
        if chunk.reply:
            await connection.publish(chunk.reply, b"")
    await reader.delete_stream(name)
    asked = {"config": about["config"], "state": about["state"]}
    granted = await request(writer, f"STREAM.RESTORE.{name}", asked)
    for chunk in [*chunks, b""]:
        answer = await writer._nc.request(granted["deliver_subject"], chunk, timeout=WAIT)
        check(b'"error"' not in answer.data, answer.data)
    await holds(reader, name, said)


@scenario
async def stream_compression(agents):
    writer, reader = await agents.streams()
    made = await make(writer, agents, storage=api.StorageType.FILE, compression=api.StoreCompression.S2)
    same(made.config.compression, "s2", "compression")
    said = [agents.said(number, size=2000) for number in range(50)]
    for payload in said:
        await writer.publish(agents.subject("x"), payload)
    await holds(reader, agents.named(), said)
