"""The services framework, as nats-py has it."""

import json

from nats import micro
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, ServiceError

from driver import WAIT, settle
from features_world import heard, receive, same, scenario


async def serving(agents, handler, count=1):
    """Services behind the reader's gateway, each with the endpoints `ask` and `group.ask`."""
    services = []
    for _ in range(count):
        reader = await agents.reader()
        service = await micro.add_service(reader, name=agents.named(), version="1.2.3", description="a test")
        await service.add_endpoint(name="ask", subject=agents.subject("ask"), handler=handler)
        await service.add_group(name=agents.subject("group")).add_endpoint(name="ask", handler=handler)
        await settle(reader)
        services.append(service)
    return services


@scenario
async def service_request(agents):
    async def answer(request):
        await request.respond(request.data + b" answered", headers=request.headers)

    services = await serving(agents, answer, 2)
    writer = await agents.writer()
    for last in ("ask", "group.ask"):
        for number in range(10):
            asked = writer.request(agents.subject(last), agents.said(number), timeout=WAIT, headers={"n": str(number)})
            reply = await asked
            same((reply.data, reply.headers), (agents.said(number) + b" answered", {"n": str(number)}), "reply")
    counted = sum(endpoint.num_requests for service in services for endpoint in service.stats().endpoints)
    same(counted, 20, "requests that were counted")


@scenario
async def service_errors(agents):
    async def answer(request):
        if request.data == agents.said("raise"):
            raise ServiceError("404", "not here")
        if request.data == agents.said("break"):
            raise ValueError("broken")
        await request.respond_error("400", "bad", data=request.data + b" is bad", headers={"more": "yes"})

    (service,) = await serving(agents, answer)
    writer = await agents.writer()
    expected = {
        "raise": (b"", {ERROR_CODE_HEADER: "404", ERROR_HEADER: "not here"}),
        "break": (b"", {ERROR_CODE_HEADER: "500", ERROR_HEADER: "ValueError('broken')"}),
        "wrong": (agents.said("wrong") + b" is bad", {ERROR_CODE_HEADER: "400", ERROR_HEADER: "bad", "more": "yes"}),
    }
    for what, answer_ in expected.items():
        reply = await writer.request(agents.subject("ask"), agents.said(what), timeout=WAIT)
        same((reply.data, reply.headers), answer_, what)
    same(service.stats().endpoints[0].num_errors, 2, "errors that were counted")


@scenario
async def service_discovery(agents):
    async def answer(request):
        await request.respond(agents.said("answer"))

    services = await serving(agents, answer, 2)
    ids = {service.id for service in services}
    writer, name = await agents.writer(), agents.named()
    for verb in ("PING", "INFO", "STATS"):
        inbox = writer.new_inbox()
        answers = await heard(writer, inbox)
        await writer.publish(f"$SRV.{verb}.{name}", b"", reply=inbox)
        told = [json.loads((await receive(answers)).data) for _ in services]
        same({each["id"] for each in told}, ids, verb)
        same({(each["name"], each["version"]) for each in told}, {(name, "1.2.3")}, verb)
        for id_ in ids:
            one = json.loads((await writer.request(f"$SRV.{verb}.{name}.{id_}", b"", timeout=WAIT)).data)
            same(one["id"], id_, f"{verb} of one")
    subjects = {endpoint["subject"] for endpoint in one["endpoints"]}
    same(subjects, {agents.subject("ask"), agents.subject("group.ask")}, "endpoints")
    # Others may answer as well when no name is given.
    inbox, found = writer.new_inbox(), set()
    answers = await heard(writer, inbox)
    await writer.publish("$SRV.PING", b"", reply=inbox)
    while not ids <= found:
        found.add(json.loads((await receive(answers)).data)["id"])
