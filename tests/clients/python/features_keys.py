"""Key-value stores, as nats-py writes them behind one gateway and reads them behind the other."""

import json

from nats.js import api
from nats.js.errors import (
    APIError, KeyDeletedError, KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError,
)
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue

from driver import WAIT, check
from features_world import fails, refused, same, scenario, until

TOO_LARGE = 10054


async def bucket(agents, last="", **config):
    """A bucket, as a writer and as a reader have it."""
    writer, reader = await agents.streams()
    config = {"storage": api.StorageType.MEMORY, **config}
    made = await writer.create_key_value(bucket=agents.named(last), **config)
    return made, await reader.key_value(agents.named(last))


async def put(store, agents, *keys):
    """Each key gets a value of its own; yields the revisions."""
    return [await store.put(key, agents.said(key)) for key in keys]


async def reads(store, key, value, revision):
    entry = await store.get(key)
    same((entry.value, entry.revision), (value, revision), key)


@scenario
async def kv_put_get_delete(agents):
    writer, reader = await bucket(agents, direct=True)
    same(await put(writer, agents, "a", "b.c", "d"), [1, 2, 3], "revisions")
    for revision, key in enumerate(("a", "b.c", "d"), 1):
        await reads(reader, key, agents.said(key), revision)
    same(await writer.put("a", agents.said("again")), 4, "revision")
    await reads(reader, "a", agents.said("again"), 4)
    await writer.delete("a")
    await fails(KeyNotFoundError, reader.get("a"), "a deleted key")
    await fails(KeyNotFoundError, reader.get("never"), "a key that never was")
    await writer.put("empty", b"")
    same((await reader.get("empty")).value, None, "an empty value")
    same((await reader.status()).values, 4, "values")


@scenario
async def kv_history(agents):
    writer, reader = await bucket(agents, history=5)
    for number in range(7):
        await writer.put("a", agents.said(number))
    await writer.delete("a")
    entries = await seen(reader, "a", include_history=True)
    expected = [(agents.said(number), number + 1, None) for number in range(3, 7)] + [(b"", 8, KV_DEL)]
    same([(entry.value, entry.revision, entry.operation) for entry in entries], expected, "history")
    same((await reader.status()).history, 5, "kept")


async def seen(store, keys, **options):
    """The entries that there are for these keys, through a watcher; asked again when it begins with none (see `listed`)."""

    async def entries():
        watcher, entries = await store.watch(keys, **options), []
        while (entry := await watcher.updates(timeout=WAIT)) is not None:
            entries.append(entry)
        await watcher.stop()
        return entries

    return await until(f"entries of {keys}", entries)


@scenario
async def kv_watch(agents):
    # With a history, so that a deletion cannot take away what is not delivered yet.
    writer, reader = await bucket(agents, history=5)
    watcher, some = await reader.watchall(), await reader.watch("b.*")
    for each in (watcher, some):
        same(await each.updates(timeout=WAIT), None, "before anything was put")
    await put(writer, agents, "a", "b.c", "b.d")
    await writer.delete("a")
    await writer.purge("b.c")
    expected = [(key, agents.said(key), None) for key in ("a", "b.c", "b.d")]
    expected += [("a", b"", KV_DEL), ("b.c", b"", KV_PURGE)]
    await sees(watcher, expected)
    await sees(some, [update for update in expected if update[0] != "a"])
    await watcher.stop()
    await some.stop()


async def sees(watcher, expected):
    for update in expected:
        entry = await watcher.updates(timeout=WAIT)
        same((entry.key, entry.value, entry.operation), update, "update")


async def listed(store, **options):
    """The keys there are. A watcher of nats-py takes what it has not looked at yet for nothing, when all arrives at once."""

    async def keys():
        try:
            return await store.keys(**options)
        except NoKeysError:
            return None

    return await until("keys are listed", keys)


@scenario
async def kv_keys(agents):
    writer, reader = await bucket(agents)
    await fails(NoKeysError, reader.keys(), "keys of an empty bucket")
    await put(writer, agents, "a", "b.c", "b.d")
    await writer.delete("b.c")
    same(sorted(await listed(reader)), ["a", "b.d"], "keys")
    same(await listed(reader, filters=["b."]), ["b.d"], "keys with a filter")


@scenario
async def kv_ttl(agents):
    writer, reader = await bucket(agents, "age", ttl=1)
    await put(writer, agents, "a")
    same((await reader.status()).ttl, 1, "told")
    await until("an old value goes", lambda: gone(reader, "a"))
    writer, reader = await bucket(agents, "each", limit_marker_ttl=60)
    watcher = await reader.watchall()
    same(await watcher.updates(timeout=WAIT), None, "before anything was put")
    await put(writer, agents, "stays")
    await writer.create("goes", agents.said("goes"), msg_ttl=3)
    lived = [(key, agents.said(key), None) for key in ("stays", "goes")]
    await sees(watcher, [*lived, ("goes", b"", KV_PURGE)])
    await reads(reader, "stays", agents.said("stays"), 1)


async def gone(store, key):
    try:
        await store.get(key)
    except KeyNotFoundError:
        return True
    return False


@scenario
async def kv_mirror(agents):
    writer, _ = await bucket(agents)
    (js, _) = await agents.streams()
    stream = f"KV_{agents.named('copy')}"
    source = api.StreamSource(name=f"KV_{agents.named()}")
    await js.add_stream(name=stream, mirror=source, max_msgs_per_subject=1, allow_direct=True, mirror_direct=True)
    await put(writer, agents, "a", "b")
    # nats-py has no function that opens a mirror: its keys are below the origin's name.
    _, reader = await agents.streams()
    for direct in (True, False):
        mirror = KeyValue(agents.named("copy"), stream, f"$KV.{agents.named()}.", reader, direct)
        await until("the mirror has it", lambda: has(mirror, "b"))
        for revision, key in enumerate("ab", 1):
            await reads(mirror, key, agents.said(key), revision)
    await writer.put("a", agents.said("again"))

    async def follows():
        return (await mirror.get("a")).value == agents.said("again")

    await until("the mirror follows", follows)


async def has(store, key):
    return not await gone(store, key)


@scenario
async def kv_domain(agents):
    writer, reader = await agents.streams(domain="hub")
    store = await writer.create_key_value(bucket=agents.named(), direct=True)
    mine = await reader.key_value(agents.named())
    await put(store, agents, "a")
    await reads(mine, "a", agents.said("a"), 1)
    # nats-py puts on the plain subject; other clients put on the domain's, and only headers tell a deletion.
    subject = f"$JS.hub.API.$KV.{agents.named()}.b"
    ack = json.loads((await writer._nc.request(subject, agents.said("b"), timeout=WAIT)).data)
    same((ack.get("stream"), ack.get("seq")), (f"KV_{agents.named()}", 2), "acknowledgement")
    await reads(mine, "b", agents.said("b"), 2)
    got = await reader.get_msg(f"KV_{agents.named()}", 2)
    same((got.subject, got.data), (f"$KV.{agents.named()}.b", agents.said("b")), "message")
    await writer._nc.request(subject, b"", timeout=WAIT, headers={"KV-Operation": "DEL"})
    await fails(KeyNotFoundError, mine.get("b"), "a deleted key")


@scenario
async def kv_create_update(agents):
    writer, reader = await bucket(agents)
    wrong = KeyWrongLastSequenceError
    same(await writer.create("a", agents.said("created")), 1, "revision")
    await fails(wrong, reader.create("a", agents.said("twice")), "creating it twice")
    same(await reader.update("a", agents.said("updated"), last=1), 2, "revision")
    await fails(wrong, writer.update("a", agents.said("late"), last=1), "updating an old revision")
    await reads(writer, "a", agents.said("updated"), 2)
    await fails(APIError, writer.delete("a", last=1), "deleting an old revision")
    await writer.delete("a", last=2)
    await fails(KeyNotFoundError, reader.get("a"), "a deleted key")
    same(await reader.create("a", agents.said("new")), 4, "revision")
    await reads(writer, "a", agents.said("new"), 4)


@scenario
async def kv_without_direct_get(agents):
    writer, reader = await bucket(agents, history=3, direct=False)
    reader._direct = False  # the server may have allowed it all the same
    await put(writer, agents, "a", "b")
    await reads(reader, "a", agents.said("a"), 1)
    await writer.put("a", agents.said("again"))
    await reads(reader, "a", agents.said("again"), 3)
    same((await reader.get("a", revision=1)).value, agents.said("a"), "an old revision")
    await writer.delete("a")
    await fails(KeyNotFoundError, reader.get("a"), "a deleted key")
    await writer.put("large", agents.said("large", size=200_000))
    await reads(reader, "large", agents.said("large", size=200_000), 5)


@scenario
async def kv_max_value_size(agents):
    writer, reader = await bucket(agents, max_value_size=100)
    same((await reader.status()).stream_info.config.max_msg_size, 100, "told")
    await writer.put("a", agents.said("most", size=100))
    refused(await fails(APIError, writer.put("a", agents.said("more", size=101)), "101 bytes"), TOO_LARGE)
    await reads(reader, "a", agents.said("most", size=100), 1)


@scenario
async def kv_purge(agents):
    writer, reader = await bucket(agents, history=10)
    for number in range(3):
        await put(writer, agents, "a", "b")
    await writer.purge("a")
    try:
        await reader._get("a")
        check(False, "the purged key is there")
    except KeyDeletedError as error:
        same(error.op, KV_PURGE, "operation")
    same((await reader.status()).values, 4, "values after a purge")
    await writer.delete("b")
    await writer.purge_deletes(olderthan=0)
    same((await reader.status()).values, 0, "values after purging what was deleted")
    same((await put(writer, agents, "a"))[0], 9, "revision")
    await reads(reader, "a", agents.said("a"), 9)
