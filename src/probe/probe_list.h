/* probe_list.h -- one GET base/v1/models: the models of an upstream, for a run or a picker. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "catalog/channel.h"
#include "net/curl_client.h"

#define PROBE_LIST_MAX    5000 /* models taken */
#define PROBE_LIST_ID_MAX 512  /* bytes of an id we can use */

struct probe_list {
    /* given to probe_list_start(); channel and client outlive the exchange */
    const struct channel *channel;
    struct curl_client *curl;
    const char *user_agent;
    unsigned key_turn;
    void (*done)(struct probe_list *l); /* exactly once unless cancelled, never inside start */
    void *ctx;
    /* result */
    int rc; /* 0, or ERR_IO with the text of spec 1 section 3.3 */
    struct err err;
    char **ids; /* in the arena, upstream's order, duplicates kept */
    size_t count;
    size_t unusable; /* left out: too long, control characters, or past PROBE_LIST_MAX */
    int64_t ping_us; /* TCP connect, 0 = not measured */
    /* its own */
    struct arena arena;
    struct curl_call *call;
    char *url;
};

void probe_list_start(struct probe_list *l);
void probe_list_release(struct probe_list *l); /* cancels what runs; not started: no-op on zeroes */
