"""Object stores, as nats-py writes them behind one gateway and reads them behind the other."""

import base64
import io
import json

from nats.js import api
from nats.js.errors import LinkIsABucketError, ObjectNotFoundError

from driver import WAIT, check
from features_world import fails, same, scenario


async def bucket(agents, last=""):
    """A bucket, as a writer and as a reader have it."""
    writer, reader = await agents.streams()
    made = await writer.create_object_store(agents.named(last), storage=api.StorageType.FILE)
    return made, await reader.object_store(agents.named(last))


def large(agents, size):
    """Every part of it holds the marker."""
    block = agents.said("object", size=100)
    return (block * (size // len(block) + 1))[:size]


async def holds(store, name, data):
    got = await store.get(name)
    check(got.data == data, f"{name}: {len(got.data)} bytes, not the {len(data)} that were put")
    return got.info


@scenario
async def object_put_get(agents):
    writer, reader = await bucket(agents)
    for name, data in (("small", agents.said("small")), ("large", large(agents, 300_000)), ("empty", b"")):
        put = await writer.put(name, data)
        info = await holds(reader, name, data)
        same((info.size, info.digest, info.nuid), (len(data), put.digest, put.nuid), name)
    await writer.put("small", agents.said("another"))
    await holds(reader, "small", agents.said("another"))
    into = io.BytesIO()
    await reader.get("large", writeinto=into)
    check(into.getvalue() == large(agents, 300_000), "written elsewhere")
    await fails(ObjectNotFoundError, reader.get("never"), "an object that never was")
    same(sorted(info.name for info in await reader.list()), ["empty", "large", "small"], "list")


@scenario
async def object_chunks(agents):
    writer, reader = await bucket(agents)
    data = large(agents, 10_500)
    options = api.ObjectMetaOptions(max_chunk_size=1000)
    put = await writer.put("a", data, api.ObjectMeta(options=options))
    same((put.size, put.chunks), (10_500, 11), "size and chunks")
    info = await holds(reader, "a", data)
    same((info.size, info.chunks, info.options.max_chunk_size), (10_500, 11, 1000), "size and chunks")
    same((await reader.status()).stream_info.state.messages, 12, "messages")
    chunk = await reader._js.get_last_msg(f"OBJ_{agents.named()}", f"$O.{agents.named()}.C.{info.nuid}", direct=True)
    same(chunk.data, data[10_000:], "last chunk")


@scenario
async def object_links(agents):
    writer, reader = await bucket(agents)
    other, _ = await bucket(agents, "other")
    data = large(agents, 5000)
    await other.put("real", data)
    # nats-py follows links, and makes none.
    for name, target in (("link", "real"), ("all", None)):
        link = api.ObjectLink(bucket=agents.named("other"), name=target)
        options = api.ObjectMetaOptions(link=link)
        info = api.ObjectInfo(name=name, bucket=agents.named(), nuid=name, size=0, chunks=0, digest="", options=options)
        info.description = agents.said("link").decode()
        subject = f"$O.{agents.named()}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
        text = json.dumps(info.as_dict()).encode()
        await writer._js.publish(subject, text, headers={api.Header.ROLLUP: "sub"})
    info = await reader.get_info("link")
    check(info.is_link(), "no link")
    same((info.options.link.bucket, info.options.link.name), (agents.named("other"), "real"), "link")
    same(info.description, agents.said("link").decode(), "description")
    await holds(reader, "link", data)
    await fails(LinkIsABucketError, reader.get("all"), "a link to a bucket")


@scenario
async def object_metadata(agents):
    writer, reader = await bucket(agents)
    data = agents.said("data")
    meta = api.ObjectMeta(description=agents.said("first").decode(), headers={"h": agents.said("header").decode()})
    await writer.put("a", data, meta)
    info = await reader.get_info("a")
    same((info.description, info.headers), (meta.description, meta.headers), "metadata")
    about, headers = agents.said("second").decode(), {"i": agents.said("i").decode()}
    changed = api.ObjectMeta(name="a", description=about, headers=headers)
    await writer.update_meta("a", changed)
    info = await holds(reader, "a", data)
    same((info.description, info.headers, info.size), (changed.description, changed.headers, len(data)), "changed")


@scenario
async def object_watch(agents):
    writer, reader = await bucket(agents)
    watcher = await reader.watch()
    same(await watcher.updates(timeout=WAIT), None, "before anything was put")
    await writer.put("a", agents.said("a"), api.ObjectMeta(description=agents.said("about a").decode()))
    await writer.put("b", agents.said("b"))
    await writer.delete("a")
    about = agents.said("about a").decode()
    for expected in (("a", about, False), ("b", None, False), ("a", about, True)):
        info = await watcher.updates(timeout=WAIT)
        same((info.name, info.description, info.deleted), expected, "update")
    await watcher.stop()


@scenario
async def object_delete(agents):
    writer, reader = await bucket(agents)
    await writer.put("a", large(agents, 3000))
    await writer.put("b", agents.said("b"))
    await writer.delete("a")
    await fails(ObjectNotFoundError, reader.get("a"), "a deleted object")
    info = await reader.get_info("a", show_deleted=True)
    same((info.deleted, info.size, info.chunks), (True, 0, 0), "what is left")
    same((await reader.status()).stream_info.state.messages, 3, "messages")
    await holds(reader, "b", agents.said("b"))
    await writer.seal()
    check((await reader.status()).sealed, "not sealed")
    await fails(Exception, writer.put("c", agents.said("c")), "putting into a sealed bucket")
