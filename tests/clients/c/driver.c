// The scenario list in nats.c: `driver --url URL --out REPORT`. See tests/src/driver.rs for what is done with the report.
#include <nats/nats.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT 20000
#define OPEN_MOST 8

// ---- a scenario's surroundings: failing ends the scenario, connections are closed after it

static const char *url;
static const char *tls_ca, *tls_certificate, *tls_key;
static jmp_buf failed;
static char detail[400];
static natsConnection *opened[OPEN_MOST];
static int opened_count;
static char *seen; // the observations, as the inside of a JSON array
static size_t seen_len, seen_room;

static void fail(const char *what, const char *why) {
    snprintf(detail, sizeof detail, "%s: %s", what, why);
    longjmp(failed, 1);
}

static void check(bool held, const char *what) {
    if (!held) fail("check", what);
}

static void ok(natsStatus status, const char *what) {
    if (status != NATS_OK) fail(what, natsStatus_GetText(status));
}

static void observe(const char *text) {
    size_t need = seen_len + strlen(text) + 8;
    if (need > seen_room) {
        seen_room = need * 2;
        seen = realloc(seen, seen_room);
    }
    seen_len += (size_t)sprintf(seen + seen_len, "%s\"%s\"", seen_len ? ",\n  " : "", text);
}

static uint64_t digest(const char *data, int length) { // FNV-1a
    uint64_t hash = 0xcbf29ce484222325u;
    for (int at = 0; at < length; at++) hash = (hash ^ (uint8_t)data[at]) * 0x100000001b3u;
    return hash;
}

static void note(natsMsg *message) {
    char text[300];
    int length = natsMsg_GetDataLength(message);
    int end = snprintf(text, sizeof text, "%s %d %016llx", natsMsg_GetSubject(message), length,
                       (unsigned long long)digest(natsMsg_GetData(message), length));
    const char **keys = NULL;
    int count = 0;
    if (natsMsgHeader_Keys(message, &keys, &count) == NATS_OK) {
        // Keys come in no fixed order: only their values under known names are compared.
        const char *known[] = {"One", "two-words"};
        for (int at = 0; at < 2; at++) {
            const char *value = NULL;
            if (natsMsgHeader_Get(message, known[at], &value) == NATS_OK)
                end += snprintf(text + end, sizeof text - (size_t)end, " %s=%s", known[at], value);
        }
        snprintf(text + end, sizeof text - (size_t)end, " %d headers", count);
        free((void *)keys);
    }
    observe(text);
}

static char *payload(int size, int seed) { // bytes that look random and are the same in every run
    char *data = malloc((size_t)size + 1);
    uint32_t state = (uint32_t)seed * 2654435761u + 1;
    for (int at = 0; at < size; at++) {
        state = state * 1664525u + 1013904223u;
        data[at] = (char)(state >> 24);
    }
    return data;
}

static natsConnection *open_with(natsOptions *options) {
    natsConnection *connection = NULL;
    ok(natsOptions_SetURL(options, url), "url");
    ok(natsOptions_SetTimeout(options, WAIT), "timeout");
    if (tls_ca) {
        ok(natsOptions_SetSecure(options, true), "TLS");
        ok(natsOptions_LoadCATrustedCertificates(options, tls_ca), "the CA");
    }
    if (tls_certificate) ok(natsOptions_LoadCertificatesChain(options, tls_certificate, tls_key), "the certificate");
    natsStatus status = natsConnection_Connect(&connection, options);
    natsOptions_Destroy(options);
    ok(status, "connect");
    check(opened_count < OPEN_MOST, "too many connections");
    opened[opened_count++] = connection;
    return connection;
}

static natsOptions *plain(void) {
    natsOptions *options = NULL;
    ok(natsOptions_Create(&options), "options");
    ok(natsOptions_SetAllowReconnect(options, false), "options");
    return options;
}

static natsConnection *open_plain(void) { return open_with(plain()); }

static void flush(natsConnection *connection) { ok(natsConnection_FlushTimeout(connection, WAIT), "flush"); }

static natsSubscription *subscribe(natsConnection *connection, const char *subject) {
    natsSubscription *subscription = NULL;
    ok(natsConnection_SubscribeSync(&subscription, connection, subject), "subscribe");
    return subscription;
}

static void publish(natsConnection *connection, const char *subject, const char *data, int length) {
    ok(natsConnection_Publish(connection, subject, data, length), "publish");
}

static void say(natsConnection *connection, const char *subject, const char *text) {
    publish(connection, subject, text, (int)strlen(text));
}

static int pending(natsSubscription *subscription) {
    int count = 0;
    ok(natsSubscription_GetPending(subscription, &count, NULL), "pending");
    return count;
}

static void take(natsSubscription *subscription, int count) {
    for (int at = 0; at < count; at++) {
        natsMsg *message = NULL;
        ok(natsSubscription_NextMsg(&message, subscription, WAIT), "next message");
        note(message);
        natsMsg_Destroy(message);
    }
}

// libnats 3.4 may free a subscription while its reader is still inside the delivery of the last message; a PONG is read after that.
static void leave(natsConnection *connection, natsSubscription *subscription) {
    flush(connection);
    natsSubscription_Destroy(subscription);
}

static void nothing_more(natsConnection *connection, natsSubscription *subscription) {
    flush(connection);
    check(pending(subscription) == 0, "more messages than expected");
}

static void cue(const char *name) {
    char line[64];
    printf("CUE %s\n", name);
    fflush(stdout);
    check(fgets(line, sizeof line, stdin) != NULL, "no answer to the cue");
}

// ---- scenarios

static void exchange(natsConnection *connection) {
    natsSubscription *subscription = subscribe(connection, "basic.x");
    char bytes[256];
    for (int at = 0; at < 256; at++) bytes[at] = (char)at;
    say(connection, "basic.x", "hello");
    say(connection, "basic.x", "");
    say(connection, "basic.x", "\r\nPUB basic.y 3\r\nabc\r\n");
    publish(connection, "basic.x", bytes, sizeof bytes);
    take(subscription, 4);
    nothing_more(connection, subscription);
    leave(connection, subscription);
}

static void publish_subscribe(void) { exchange(open_plain()); }

static void verbose(void) {
    natsOptions *options = plain();
    ok(natsOptions_SetVerbose(options, true), "verbose");
    exchange(open_with(options));
}

static void pedantic(void) {
    natsOptions *options = plain();
    ok(natsOptions_SetPedantic(options, true), "pedantic");
    exchange(open_with(options));
}

static void wildcards(void) {
    natsConnection *connection = open_plain();
    const char *filters[] = {"w.*", "w.>", "w.*.c", "w.a.c"};
    const char *subjects[] = {"w.a", "w.a.c", "w.b.c", "w.a.b.c", "other.a"};
    natsSubscription *subscriptions[4];
    for (int at = 0; at < 4; at++) subscriptions[at] = subscribe(connection, filters[at]);
    for (int at = 0; at < 5; at++) say(connection, subjects[at], subjects[at]);
    flush(connection);
    for (int at = 0; at < 4; at++) {
        observe(filters[at]);
        take(subscriptions[at], pending(subscriptions[at]));
        leave(connection, subscriptions[at]);
    }
}

static void queue_group(void) {
    natsConnection *members[3], *publisher = open_plain();
    natsSubscription *subscriptions[3];
    bool got[60] = {false};
    char text[32];
    for (int at = 0; at < 3; at++) {
        members[at] = open_plain();
        ok(natsConnection_QueueSubscribeSync(&subscriptions[at], members[at], "work.>", "crew"), "subscribe");
        flush(members[at]);
    }
    for (int at = 0; at < 60; at++) {
        snprintf(text, sizeof text, "work.%d", at);
        say(publisher, text, text + 5);
    }
    flush(publisher);
    for (int at = 0; at < 3; at++) flush(members[at]);
    for (int at = 0; at < 3; at++) {
        int count = pending(subscriptions[at]);
        check(count > 0, "a member got nothing");
        while (count-- > 0) {
            natsMsg *message = NULL;
            ok(natsSubscription_NextMsg(&message, subscriptions[at], WAIT), "next message");
            int number = atoi(natsMsg_GetSubject(message) + 5);
            check(number >= 0 && number < 60 && !got[number], "a message came twice");
            check(atoi(natsMsg_GetData(message)) == number, "a message arrived changed");
            got[number] = true;
            natsMsg_Destroy(message);
        }
        leave(members[at], subscriptions[at]);
    }
    for (int at = 0; at < 60; at++) check(got[at], "a message is missing");
    observe("each of 60 once");
}

static void respond(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure) {
    (void)subscription, (void)closure;
    int length = natsMsg_GetDataLength(message);
    char *text = malloc((size_t)length + 4);
    memcpy(text, "re: ", 4);
    memcpy(text + 4, natsMsg_GetData(message), (size_t)length);
    natsConnection_Publish(connection, natsMsg_GetReply(message), text, length + 4);
    free(text);
    natsMsg_Destroy(message);
}

static void note_reply(natsMsg *reply) {
    char text[64];
    snprintf(text, sizeof text, "%d %016llx", natsMsg_GetDataLength(reply),
             (unsigned long long)digest(natsMsg_GetData(reply), natsMsg_GetDataLength(reply)));
    observe(text);
    natsMsg_Destroy(reply);
}

static natsSubscription *serve(natsConnection *responder) {
    natsSubscription *service = NULL;
    ok(natsConnection_Subscribe(&service, responder, "svc.*", respond, NULL), "subscribe");
    flush(responder);
    return service;
}

static void request_mux(void) {
    natsConnection *responder = open_plain(), *connection = open_plain();
    natsSubscription *service = serve(responder);
    for (int at = 0; at < 30; at++) {
        natsMsg *reply = NULL;
        char *data = payload(at, at);
        ok(natsConnection_Request(&reply, connection, "svc.echo", data, at, WAIT), "request");
        note_reply(reply);
        free(data);
    }
    leave(responder, service);
}

// An inbox and a subscription for each request, as the library's old request style has it; by hand because of leave().
static void request_inbox(void) {
    natsConnection *responder = open_plain(), *connection = open_plain();
    natsSubscription *service = serve(responder);
    for (int at = 0; at < 30; at++) {
        natsInbox *inbox = NULL;
        natsMsg *reply = NULL;
        char *data = payload(at, at);
        ok(natsInbox_Create(&inbox), "inbox");
        natsSubscription *subscription = subscribe(connection, inbox);
        ok(natsSubscription_AutoUnsubscribe(subscription, 1), "auto-unsubscribe");
        ok(natsConnection_PublishRequest(connection, "svc.echo", inbox, data, at), "publish");
        ok(natsSubscription_NextMsg(&reply, subscription, WAIT), "reply");
        note_reply(reply);
        leave(connection, subscription);
        natsInbox_Destroy(inbox);
        free(data);
    }
    leave(responder, service);
}

static void no_responders(void) {
    natsConnection *connection = open_plain();
    natsMsg *reply = NULL;
    natsStatus status = natsConnection_RequestString(&reply, connection, "nobody.home", "?", WAIT);
    observe(natsStatus_GetText(status));
    check(status == NATS_NO_RESPONDERS, "not told that there are no responders");
}

static void headers(void) {
    natsConnection *connection = open_plain();
    natsSubscription *subscription = subscribe(connection, "head.er");
    for (int at = 0; at < 2; at++) {
        natsMsg *message = NULL;
        ok(natsMsg_Create(&message, "head.er", NULL, at ? "" : "body", at ? 0 : 4), "message");
        ok(natsMsgHeader_Set(message, "One", "1"), "header");
        ok(natsMsgHeader_Set(message, "two-words", "a b: c"), "header");
        ok(natsConnection_PublishMsg(connection, message), "publish");
        natsMsg_Destroy(message);
    }
    take(subscription, 2);
    leave(connection, subscription);
}

static void auto_unsubscribe(void) {
    natsConnection *connection = open_plain();
    natsSubscription *subscription = subscribe(connection, "auto.x");
    ok(natsSubscription_AutoUnsubscribe(subscription, 3), "auto-unsubscribe");
    for (int at = 0; at < 10; at++) say(connection, "auto.x", "one of ten");
    take(subscription, 3);
    flush(connection);
    natsMsg *message = NULL;
    check(natsSubscription_NextMsg(&message, subscription, 1) != NATS_OK, "more than three");
    leave(connection, subscription);
}

static void echo_off(void) {
    natsOptions *options = plain();
    ok(natsOptions_SetNoEcho(options, true), "no echo");
    natsConnection *quiet = open_with(options), *other = open_plain();
    natsSubscription *own = subscribe(quiet, "echo.x"), *others = subscribe(other, "echo.x");
    flush(other);
    say(quiet, "echo.x", "from the quiet one");
    take(others, 1);
    nothing_more(quiet, own);
    say(other, "echo.x", "from the other");
    take(own, 1);
    leave(quiet, own);
    leave(other, others);
}

static void sizes(void) {
    natsConnection *connection = open_plain(), *receiver = open_plain();
    natsSubscription *subscription = subscribe(receiver, "size.x");
    flush(receiver);
    int every[] = {0, 1, 2, 15, 16, 17, 31, 32, 47, 48, 49, 127, 128, 1023, 1024, 4096, 32768, 65535, 65536, 300000};
    int count = (int)(sizeof every / sizeof *every), most = (int)natsConnection_GetMaxPayload(connection);
    for (int at = 0; at < count; at++) {
        char *data = payload(every[at], every[at]);
        publish(connection, "size.x", data, every[at]);
        free(data);
    }
    take(subscription, count);
    char *data = payload(most, 1);
    natsMsg *message = NULL;
    publish(connection, "size.x", data, most);
    ok(natsSubscription_NextMsg(&message, subscription, WAIT), "the largest message");
    check(natsMsg_GetDataLength(message) == most && memcmp(natsMsg_GetData(message), data, (size_t)most) == 0,
          "the largest message arrived changed");
    free(data);
    natsMsg_Destroy(message);
    leave(receiver, subscription);
}

static void too_large(void) {
    natsConnection *connection = open_plain();
    int size = (int)natsConnection_GetMaxPayload(connection) + 1;
    char *data = payload(size, 1);
    observe(natsStatus_GetText(natsConnection_Publish(connection, "size.x", data, size)));
    free(data);
    flush(connection);
}

static void burst(void) {
    natsConnection *connection = open_plain(), *receiver = open_plain();
    natsSubscription *subscription = subscribe(receiver, "burst.>");
    flush(receiver);
    for (int at = 0; at < 2000; at++) {
        char subject[32], *data = payload(at * 37 % 1500, at);
        snprintf(subject, sizeof subject, "burst.%d", at % 7);
        publish(connection, subject, data, at * 37 % 1500);
        free(data);
    }
    take(subscription, 2000);
    leave(receiver, subscription);
}

static void flush_is_a_barrier(void) {
    natsConnection *connection = open_plain();
    natsSubscription *subscription = subscribe(connection, "flush.x");
    for (int round = 0; round < 20; round++) {
        for (int at = 0; at < 10; at++) say(connection, "flush.x", "tick");
        flush(connection);
        check(pending(subscription) == 10, "the flush came back too early");
        take(subscription, 10);
    }
    leave(connection, subscription);
}

static void drain(void) {
    natsConnection *connection = open_plain(), *publisher = open_plain();
    natsSubscription *subscription = subscribe(connection, "drain.x");
    flush(connection);
    for (int at = 0; at < 200; at++) say(publisher, "drain.x", "drop");
    flush(publisher);
    ok(natsSubscription_Drain(subscription), "drain");
    take(subscription, 200);
    ok(natsSubscription_WaitForDrainCompletion(subscription, WAIT), "the end of the drain");
    leave(connection, subscription);
    ok(natsConnection_Drain(connection), "drain the connection");
    for (int look = 0; look < WAIT / 5 && !natsConnection_IsClosed(connection); look++) nats_Sleep(5);
    check(natsConnection_IsClosed(connection), "the drain did not close the connection");
}

static void reconnected(natsConnection *connection, void *closure) {
    (void)connection;
    __atomic_store_n((bool *)closure, true, __ATOMIC_SEQ_CST);
}

static void reconnect(const char *name) {
    static bool again;
    natsOptions *options = plain();
    again = false;
    ok(natsOptions_SetAllowReconnect(options, true), "reconnect");
    ok(natsOptions_SetMaxReconnect(options, -1), "reconnect");
    ok(natsOptions_SetReconnectWait(options, 50), "reconnect");
    ok(natsOptions_SetReconnectJitter(options, 1, 1), "reconnect");
    ok(natsOptions_SetReconnectedCB(options, reconnected, &again), "reconnect");
    natsConnection *connection = open_with(options);
    natsSubscription *subscription = subscribe(connection, "again.x");
    say(connection, "again.x", "before");
    take(subscription, 1);
    cue(name);
    for (int look = 0; look < WAIT / 5 && !__atomic_load_n(&again, __ATOMIC_SEQ_CST); look++) nats_Sleep(5);
    check(__atomic_load_n(&again, __ATOMIC_SEQ_CST), "not connected again");
    say(connection, "again.x", "after");
    take(subscription, 1);
    leave(connection, subscription);
}

// A stream and a schedule whose messages would open for nobody; where it is asked for by name alone.
static void misdirected(void) {
    jsCtx *js = NULL;
    jsErrCode code = 0;
    char text[400];
    ok(natsConnection_JetStream(&js, open_plain(), NULL), "JetStream");
    jsRePublish republish;
    jsRePublish_Init(&republish);
    republish.Source = "at.>";
    republish.Destination = "copy.>";
    jsStreamConfig config;
    jsStreamConfig_Init(&config);
    config.Name = "t";
    config.Subjects = (const char *[]){"at.>"};
    config.SubjectsLen = 1;
    config.RePublish = &republish;
    natsStatus made = js_AddStream(NULL, js, &config, NULL, &code);
    snprintf(text, sizeof text, "%d %s", (int)code, made == NATS_OK ? "an answer" : nats_GetLastError(NULL));
    observe(text);
    natsMsg *message = NULL;
    ok(natsMsg_Create(&message, "in.a", NULL, "soon", 4), "message");
    ok(natsMsgHeader_Set(message, "Nats-Schedule", "@at 2099-01-01T00:00:00Z"), "header");
    ok(natsMsgHeader_Set(message, "Nats-Schedule-Target", "out.a"), "header");
    natsStatus sent = js_PublishMsg(NULL, js, message, NULL, &code);
    snprintf(text, sizeof text, "%d %s", (int)code, sent == NATS_OK ? "an answer" : nats_GetLastError(NULL));
    observe(text);
    natsMsg_Destroy(message);
    jsCtx_Destroy(js);
}

static void reconnect_front(void) { reconnect("restart-front"); }
static void reconnect_server(void) { reconnect("restart-server"); }

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
#define SCENARIO(name) {#name, name}
    SCENARIO(publish_subscribe), SCENARIO(verbose),     SCENARIO(pedantic),         SCENARIO(wildcards),
    SCENARIO(queue_group),       SCENARIO(request_mux), SCENARIO(request_inbox),    SCENARIO(no_responders),
    SCENARIO(headers),           SCENARIO(echo_off),    SCENARIO(auto_unsubscribe), SCENARIO(sizes),
    SCENARIO(too_large),         SCENARIO(burst),       SCENARIO(drain),            SCENARIO(flush_is_a_barrier),
    SCENARIO(reconnect_front),   SCENARIO(reconnect_server), SCENARIO(misdirected),
};
// The last ones need a gateway.
#define ALONE 1

static void perform(FILE *out, int at, bool first) {
    volatile bool pass = false;
    seen_len = 0;
    detail[0] = 0;
    opened_count = 0;
    if (setjmp(failed) == 0) {
        scenarios[at].run();
        pass = true;
    }
    while (opened_count > 0) natsConnection_Destroy(opened[--opened_count]);
    fprintf(out, "%s{\"name\": \"%s\", \"pass\": %s, \"detail\": \"%s\", \"seen\": [%.*s]}", first ? "" : ",\n",
            scenarios[at].name, pass ? "true" : "false", detail, (int)seen_len, seen_len ? seen : "");
}

static const char *option(int count, char **words, const char *name) {
    for (int at = 1; at + 1 < count; at++)
        if (strcmp(words[at], name) == 0) return words[at + 1];
    return NULL;
}

int main(int count, char **words) {
    const char *path = option(count, words, "--out"), *only = option(count, words, "--only");
    url = option(count, words, "--url");
    tls_ca = option(count, words, "--tls-ca");
    tls_certificate = option(count, words, "--tls-certificate");
    tls_key = option(count, words, "--tls-key");
    FILE *out = path ? fopen(path, "w") : NULL;
    if (!url || !out) {
        fprintf(stderr, "usage: driver --url URL --out REPORT [--only SCENARIO]\n");
        return 2;
    }
    bool first = true;
    fputc('[', out);
    for (int at = 0; at < (int)(sizeof scenarios / sizeof *scenarios); at++) {
        bool alone = at >= (int)(sizeof scenarios / sizeof *scenarios) - ALONE;
        if (only ? strcmp(only, scenarios[at].name) != 0 : alone) continue;
        perform(out, at, first);
        first = false;
    }
    fputs("]\n", out);
    return fclose(out) == 0 ? 0 : 1;
}
