/* api.h -- the house's front desk: finds the route, learns who asks, reads the body, calls the
 * handler, shapes errors. One struct api for the process, shared by all loops, immutable after
 * start apart from parts that say otherwise. */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json_doc.h"
#include "base/json_out.h"
#include "base/option.h"
#include "catalog/catalog.h"
#include "health/board.h"
#include "health/health.h"
#include "ledger/ledger.h"
#include "net/http_server.h"
#include "probe/prober.h"
#include "store/store.h"

struct api;
struct route;

struct api_config {
    const char *base_path; /* "/" or "/x/y/" */
    const struct option_set *options; /* as started: flags, environment, defaults (stored values are in the catalog) */
    struct store *store;
    struct catalog *catalog;
    struct ledger *ledger;
    struct board *board;
    struct health *health;
    struct prober *prober;
    const struct egress *egress;
    struct loop *control;
    /* Settings that take effect at once elsewhere: called on the control loop after a change committed. */
    void (*on_settings)(void *ctx);
    void *ctx;
    utc_ms started_utc_ms;
};

/* First start makes the secrets (ruling 13): shown once through *ret_first (text to print, "" else). */
MUST_USE int api_new(const struct api_config *cfg, struct api **ret, struct buf *ret_first, struct err *reterr);
void api_free(struct api *a);
void api_attach_loop(struct api *a, struct loop *l); /* before threads: live stream fan-out to this loop's clients */
/* http_server_config.on_request / format_error; ctx = api */
void api_on_request(struct http_exchange *x, void *ctx);
void api_format_error(void *ctx, struct str path, int status, const char *text, struct buf *out, const char **ret_type);
void api_drain(struct api *a, struct loop *l); /* on that loop: end live streams */

enum api_role { API_ANONYMOUS, API_VISITOR, API_ADMIN };

struct api_call { /* one request being answered; in the exchange's arena */
    struct api *api;
    struct http_exchange *x;
    const struct route *route;
    struct str params[4]; /* path parameters, decoded */
    enum api_role role;
    bool by_cookie;
    const char *actor;    /* "admin session", "admin token", "visitor", for the audit */
    uint8_t session_hash[SECRET_HASH_SIZE]; /* by_cookie: the session */
    json_t *body;         /* ROUTE_BODY; released with the call */
    void (*with_body)(struct api_call *c); /* api_body() */
    struct catalog_snapshot *snapshot; /* referenced for the life of the call */
};

/* For handlers that check more than the role before the body counts (spec 1: 404 and 403 come before
 * `invalid JSON`): without ROUTE_BODY in the row; reads the body into c->body as that does, then fn. */
void api_body(struct api_call *c, void (*fn)(struct api_call *c));

/* ---- answering; each ends the call ---- */
/* 200 application/json; fn fills a buf. api_json_begin gives a writer whose buf lives in the call. */
struct api_reply {
    struct api_call *call;
    struct buf buf;
    struct json_out json;
};
void api_reply_init(struct api_reply *r, struct api_call *c); /* ceiling 64 MiB */
void api_reply_send(struct api_reply *r, int status);          /* newline added; 500 when the writer failed */
void api_ok(struct api_call *c);                                /* {"ok":true} */
void api_error(struct api_call *c, int status, const char *fmt, ...) PRINTF(3, 4); /* {"detail":"..."} */
void api_error_field(struct api_call *c, int status, const char *field, const char *fmt, ...) PRINTF(4, 5); /* + "field" */
/* The one table from err codes to statuses; IO and INTERNAL become a generic text, the cause is logged. */
void api_fail(struct api_call *c, const struct err *e);

/* ---- parameters ---- */
/* Path parameter i as id: false after it answered 400 `invalid id`. */
bool api_param_id(struct api_call *c, unsigned i, int64_t *ret);
/* Missing or unparsable -> default; out of range -> clamped (row of route->params). */
int64_t api_query_int(struct api_call *c, const char *name);
struct str api_query_str(struct api_call *c, const char *name); /* STR_NONE when absent */

/* ---- work off the loop ---- */
/* Read job with the call's life: run on a store thread fills what `done` renders. Both get arg. */
struct api_job {
    struct store_job job;
    struct api_call *call;
    int (*run)(struct api_job *j, struct store_conn *c, struct err *reterr);
    void (*done)(struct api_job *j); /* on the loop, only when rc is 0; else api_fail() was called */
    void *arg;
};
void api_read(struct api_call *c, struct api_job *j);
/* Catalog change: done only when rc is 0; else api_fail(). */
struct api_change {
    struct catalog_job job;
    struct api_call *call;
    int (*run)(struct api_change *ch, struct catalog_tx *tx, struct err *reterr);
    void (*done)(struct api_change *ch);
    void (*failed)(struct api_change *ch); /* NULL, or called instead of done, before the error is answered */
    void *arg;
};
void api_change(struct api_call *c, struct api_change *ch);
bool api_may_operate(const struct api_call *c, const struct channel *ch); /* admin, or visitor with the channel's switch */
/* Channel by path parameter 0; NULL after it answered 400 or 404 `target not found`. */
const struct channel *api_channel(struct api_call *c);

/* ---- parts, for the resources ---- */
/* Value in force of an option that the page may store, see settings.h. */
struct str api_setting(struct api *a, struct catalog_snapshot *s, const char *name);
