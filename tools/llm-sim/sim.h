/* sim.h -- the parts of llm-sim. One thread, one libuv loop; see README.md for what it does.
 *
 *   sim_conn       bytes in (llhttp), bytes out by pieces with delays, how a connection ends
 *   sim_behaviour  what was asked for: rules by command line, control API, model name
 *   sim_content    what an answer says, and its usage numbers
 *   sim_format     whole answers, lists and errors in each vendor's shape
 *   sim_stream     the same as events
 *   sim_wire       framing, and all the ways to break it
 *   sim_control    /_sim/: rules, recorded requests, figures */
#pragma once

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/json_out.h"
#include "base/list.h"
#include "base/str.h"

#include <jansson.h>
#include <uv.h>

enum sim_route { SIM_CHAT, SIM_RESPONSES, SIM_MESSAGES, SIM_EMBEDDINGS, SIM_GENERATE, SIM_MODELS, SIM_OTHER, SIM_ROUTES };
enum sim_dialect { SIM_OPENAI, SIM_ANTHROPIC, SIM_GEMINI };
extern const char *const sim_route_names[SIM_ROUTES];

#define SIM_FAULTS(X)                                                                              \
    X(NONE, "none")                                                                                \
    /* when and how the connection ends */                                                         \
    X(HANG_HEAD, "hang-head")       /* nothing until the client leaves or POST /_sim/release */    \
    X(HANG_BODY, "hang-body")       /* bytes up to `at`, then as above */                          \
    X(RESET, "reset")               /* TCP reset behind byte `at` */                               \
    X(CLOSE, "close")               /* clean close behind byte `at` */                             \
    /* framing */                                                                                  \
    X(GARBAGE, "garbage")                                                                          \
    X(BAD_STATUS, "bad-status")                                                                    \
    X(HTTP09, "http09")                                                                            \
    X(LF_ONLY, "lf-only")                                                                          \
    X(TE_CL, "te-cl")                                                                              \
    X(TWO_LENGTHS, "two-lengths")                                                                  \
    X(LENGTH_OVER, "length-over")   /* Content-Length larger than the body */                      \
    X(LENGTH_UNDER, "length-under") /* and smaller: bytes behind the answer */                     \
    X(CHUNK_CUT, "chunk-cut")                                                                      \
    X(CHUNK_BAD, "chunk-bad")                                                                      \
    X(NO_LAST_CHUNK, "no-last-chunk")                                                              \
    X(HEADER_1M, "header-1m")                                                                      \
    X(HEADERS_10K, "headers-10k")                                                                  \
    X(EARLY_HINTS, "early-hints")   /* 103 before the answer */                                    \
    X(TWICE, "twice")               /* a second answer nobody asked for */                         \
    X(REDIRECT, "redirect")         /* 302 to `body` */                                            \
    /* size */                                                                                     \
    X(ENDLESS, "endless")                                                                          \
    X(GIANT_LINE, "giant-line")                                                                    \
    X(BIG_BODY, "big-body")                                                                        \
    X(GZIP, "gzip")                                                                                \
    X(GZIP_BOMB, "gzip-bomb")                                                                      \
    X(GZIP_INVALID, "gzip-invalid")                                                                \
    /* content */                                                                                  \
    X(NOT_JSON, "not-json")                                                                        \
    X(HTML, "html")                                                                                \
    X(EMPTY_BODY, "empty-body")                                                                    \
    X(CUT_JSON, "cut-json")                                                                        \
    X(BAD_UTF8, "bad-utf8")                                                                        \
    X(DEPTH_BOMB, "depth-bomb")                                                                    \
    X(ERROR_SUCCESS, "error-200-success") /* {"success":false,"message"} */                        \
    X(ERROR_CODE, "error-200-code")       /* {"code":N,"message"} */                               \
    X(ERROR_STRING, "error-200-string")   /* {"error":"text"} */                                   \
    X(ERROR_OBJECT, "error-200-object")   /* the vendor's error under status 200 */                \
    X(EMPTY_CHOICES, "empty-choices")                                                              \
    X(ARRAY_CONTENT, "array-content")                                                              \
    X(NULL_CONTENT, "null-content")                                                                \
    X(REFUSAL, "refusal")                                                                          \
    X(REASONING_ONLY, "reasoning-only")                                                            \
    X(LENGTH, "length")             /* cut at the token limit */                                   \
    X(TOOL_CALL, "tool-call")                                                                      \
    X(NO_USAGE, "no-usage")                                                                        \
    /* streams */                                                                                  \
    X(STREAM_ERROR, "stream-error") /* error event behind `at` events */                           \
    X(NO_DONE, "no-done")           /* ends well-framed without its last event */                  \
    X(STREAM_AS_JSON, "stream-as-json")                                                            \
    X(JSON_AS_STREAM, "json-as-stream")                                                            \
    /* model lists */                                                                              \
    X(LIST_NO_DATA, "list-no-data")                                                                \
    X(LIST_EMPTY, "list-empty")                                                                    \
    X(LIST_DUPLICATES, "list-duplicates")                                                          \
    X(LIST_5000, "list-5000")                                                                      \
    X(LIST_HOSTILE, "list-hostile")                                                                \
    X(LIST_WRONG_TYPES, "list-wrong-types")

enum sim_fault {
#define X(name, text) SIM_FAULT_##name,
    SIM_FAULTS(X)
#undef X
        SIM_FAULT_COUNT
};
extern const char *const sim_fault_names[SIM_FAULT_COUNT];

/* ---- behaviour ---- */

struct sim_behaviour { /* texts live in the arena it was made with; NULL or 0 = not given */
    const char *model, *route;
    enum sim_fault fault;
    int status;
    const char *body, *type, *text, *reasoning, *tool, *finish, *request_id;
    uint64_t delay_ms, pace_ms, jitter_ms, at, size, words, times, retry_after;
    uint64_t prompt_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens;
    bool has_at, is_oneapi;
};

struct sim_rules;

/* One key=value into *b; false: unknown key or bad value, `why` says it. */
bool sim_behaviour_set(struct sim_behaviour *b, struct arena *a, struct str key, struct str value, char why[200]);
/* "key=value;key=value" */
bool sim_behaviour_parse(struct sim_behaviour *b, struct arena *a, struct str text, char why[200]);
void sim_behaviour_write(const struct sim_behaviour *b, struct json_out *j);

struct sim_rules *sim_rules_new(void);
void sim_rules_free(struct sim_rules *r);
bool sim_rules_add_text(struct sim_rules *r, struct str text, bool is_permanent, char why[200]);
bool sim_rules_add_json(struct sim_rules *r, const json_t *obj, char why[200]);
void sim_rules_reset(struct sim_rules *r); /* all but the permanent ones */
void sim_rules_write(const struct sim_rules *r, struct json_out *j);
/* The newest rule for this route and model, copied into the arena, counted down; then the suffix of the
 * model name. False: the suffix is bad. */
bool sim_rules_apply(struct sim_rules *r, enum sim_route route, struct str model, struct arena *a, struct sim_behaviour *ret, char why[200]);

/* ---- a request and its answer ---- */

struct sim_header {
    struct str name, value;
};

struct sim_call { /* shared by its connection and the record */
    unsigned refs;
    struct arena arena;
    uint64_t number;
    uint64_t start_ms, end_ms; /* uv_now() */
    int64_t at_ms;             /* wall clock */
    struct str method, target, path, query, model;
    struct sim_header *headers;
    size_t header_count;
    struct buf body;
    size_t body_bytes;
    json_t *json; /* NULL = none or not JSON; gone when answered */
    enum sim_route route;
    enum sim_dialect dialect;
    bool wants_stream, wants_usage, wants_array;
    bool is_last; /* the client keeps no connection */
    bool is_sim; /* /_sim/: neither recorded nor counted */
    struct sim_behaviour b;
    const char *outcome; /* "running", "answered", "cancelled", "cut" */
    int status;
};

struct sim_event {
    size_t end; /* in the body */
};

struct sim_reply {
    int status;
    const char *type;
    struct buf headers; /* whole lines with CR LF */
    struct buf body;
    struct sim_event *events; /* of a stream */
    size_t event_count, event_capacity;
    bool is_stream;
};

enum sim_end { SIM_KEEP, SIM_CLOSE, SIM_RESET };
#define SIM_HANG UINT64_MAX

struct sim_piece {
    size_t end;        /* in the bytes; begins where the one before ends */
    uint64_t delay_ms; /* before it; SIM_HANG = until released */
};

struct sim_wire {
    struct buf bytes;
    struct sim_piece *pieces;
    size_t piece_count, piece_capacity;
    enum sim_end end;
    struct str block;    /* behind the bytes: block_count times this */
    uint64_t block_count; /* UINT64_MAX = for ever */
    uint64_t block_delay_ms;
    struct buf tail; /* behind the blocks */
};

struct str sim_call_header(const struct sim_call *c, const char *name); /* any case */
void sim_call_unref(struct sim_call *c);

void sim_reply_init(struct sim_reply *r);
void sim_reply_release(struct sim_reply *r);
void sim_reply_header(struct sim_reply *r, const char *fmt, ...) PRINTF(2, 3);
void sim_reply_event(struct sim_reply *r); /* the body up to here is one more event */

void sim_wire_init(struct sim_wire *w);
void sim_wire_release(struct sim_wire *w);
void sim_wire_frame(struct sim_wire *w, const struct sim_call *c, const struct sim_reply *r);

/* ---- content ---- */

struct sim_usage {
    uint64_t prompt, cached, cache_write, output, reasoning; /* prompt holds cached and written, output holds reasoning */
};

enum sim_finish { SIM_STOP, SIM_LENGTH, SIM_TOOL, SIM_REFUSED };

struct sim_content {
    struct str text, reasoning, refusal, tool;
    enum sim_finish finish;
    struct sim_usage usage;
    bool is_empty;
};

void sim_content_make(struct sim_call *c, struct sim_content *ret);
const char *sim_content_finish(const struct sim_call *c, const struct sim_content *content);
void sim_usage_write(const struct sim_call *c, const struct sim_usage *u, struct json_out *j); /* the value, in the route's shape */
bool sim_next_word(struct str *text, struct str *ret);

struct sim_models {
    char **ids;
    size_t count;
};

void sim_format_answer(struct sim_call *c, struct sim_reply *r);
void sim_format_response(struct json_out *j, const struct sim_call *c, const struct sim_content *content, bool is_done);
void sim_format_generate(struct json_out *j, const struct sim_call *c, const struct sim_content *content, struct str text, bool is_first, bool is_last);
void sim_format_embeddings(struct sim_call *c, struct sim_reply *r);
void sim_format_models(struct sim_call *c, const struct sim_models *m, struct sim_reply *r);
void sim_format_error(const struct sim_call *c, int status, const char *message, struct sim_reply *r); /* vendor's shape */
void sim_stream_answer(struct sim_call *c, struct sim_reply *r);
void sim_stream_error(const struct sim_call *c, struct sim_reply *r); /* one event */

/* ---- the simulator ---- */

struct sim_conn;

#define SIM_RECORDS 500
#define SIM_CANCELS 200

struct sim_cancel {
    int64_t at_ms;
    uint64_t after_ms, number;
};

struct sim {
    uv_loop_t loop;
    uv_tcp_t listener;
    const char *key; /* NULL = any */
    bool is_strict;  /* unknown models are 404 */
    struct sim_models models, first_models;
    struct sim_rules *rules;
    struct list conns;
    struct sim_call *records[SIM_RECORDS]; /* number % SIM_RECORDS */
    uint64_t numbers, connections, in_flight, max_in_flight, answered, cancelled, cut;
    uint64_t per_route[SIM_ROUTES];
    struct sim_cancel cancels[SIM_CANCELS]; /* cancelled % SIM_CANCELS */
};

void sim_conn_accept(uv_stream_t *listener, int status);
void sim_conn_release(struct sim *s); /* all that hang go on */
void sim_conn_close_all(struct sim *s);

void sim_control_answer(struct sim *s, struct sim_call *c, struct sim_reply *r);
void sim_control_reset(struct sim *s);
void sim_models_set(struct sim_models *m, char **ids, size_t count); /* takes ids */

/* Ceiling of any answer that is held whole. */
#define SIM_BODY_MAX (256u << 20)
