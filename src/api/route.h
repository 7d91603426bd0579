/* route.h -- one table of everything the listener answers: method, path, who may, handler, and the
 * texts and shapes from which /openapi.json and /docs are made. Each api_<resource>.c owns its rows;
 * route_table.c lists the resources. */
#pragma once

#include "api/api.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/json_out.h"
#include "base/str.h"
#include "net/http_server.h"

enum route_auth {
    ROUTE_OPEN,    /* anybody */
    ROUTE_ANY,     /* admin or visitor: bearer, session cookie, or anonymous where visitor mode allows */
    ROUTE_OPERATE, /* like ROUTE_ANY; the handler asks api_may_operate() for the channel */
    ROUTE_ADMIN,   /* admin bearer or admin session */
};

#define ROUTE_BODY        1u /* JSON body, read before the handler runs (c->body) */
#define ROUTE_QUERY_TOKEN 2u /* ?token= is a credential here (spec 1: /api/events only) */
#define ROUTE_BODY_EMPTY  4u /* with ROUTE_BODY: an empty body is allowed (c->body NULL) */
#define ROUTE_HIDDEN     16u /* not in openapi */
#define ROUTE_BOARD      64u /* waits for the board: it is read in the background after the start */
#define ROUTE_CSRF       32u /* Origin and Content-Type are enforced whatever the credential (login) */

/* Query or path parameter, for openapi and for api_query_*(). */
struct route_param {
    const char *name;
    const char *type; /* "integer", "string", "boolean" */
    const char *help;
    int64_t min, max, deflt; /* integers */
    const char *choices; /* "latest|all", NULL = free */
};

struct route {
    enum http_method method;
    const char *path; /* "/api/targets/{id}/runs"; {id} matches one segment */
    enum route_auth auth;
    unsigned flags;
    void (*handle)(struct api_call *c);
    const char *tag;      /* section in the docs */
    const char *summary;  /* one line */
    const struct route_param *params; /* ended by name NULL; may be NULL */
    const char *request;  /* JSON schema text of the body, or "#channel", "#channel_patch": made from the field table */
    const char *response; /* JSON schema text of the 200 answer, short */
    const char *errors;   /* "400 invalid id; 404 target not found" */
};

struct route_group {
    const struct route *rows;
    const size_t *count; /* its file's constant, which is none to another file's initialiser */
};
extern const struct route_group route_groups[];
extern const size_t route_group_count;

/* Built once at start: segments tree. NULL when no path matches; *ret_allow collects methods of the path
 * for 405. */
struct route_index;
struct route_index *route_index_new(void);
void route_index_free(struct route_index *i);
const struct route *route_find(const struct route_index *i, enum http_method m, struct str path, struct str params[4], char *ret_allow, size_t allow_cap);
/* OpenAPI 3.1 document of the table. */
MUST_USE int route_openapi(struct buf *out);
