/* outcome.h -- the one table of how a call can end. Probe judgement, gateway fail-over, breaker,
 * statistics and pages read it; numbers are stored, so rows are only ever added at the end. */
#pragma once

#include "base/base.h"
#include "base/str.h"

enum outcome_class { /* order = columns n_ok ... n_dns of the roll-ups */
    OUTCOME_CLASS_OK, OUTCOME_CLASS_DEGRADED, OUTCOME_CLASS_UPSTREAM, OUTCOME_CLASS_RATE_LIMIT, OUTCOME_CLASS_QUOTA,
    OUTCOME_CLASS_AUTH, OUTCOME_CLASS_CLIENT, OUTCOME_CLASS_CANCELLED, OUTCOME_CLASS_TIMEOUT, OUTCOME_CLASS_NETWORK,
    OUTCOME_CLASS_TLS, OUTCOME_CLASS_DNS,
    OUTCOME_CLASSES
};

enum outcome {
    OUTCOME_OK = 0,
    OUTCOME_TRUNCATED = 1,        /* usable, cut by a token limit */
    OUTCOME_SLOW = 2,             /* usable, past the slow threshold (declared monitors) */
    OUTCOME_EMPTY = 3,            /* 2xx without readable text */
    OUTCOME_BODY_ERROR = 4,       /* 2xx whose body reports an error */
    OUTCOME_BAD_BODY = 5,         /* 2xx whose body is not of the format */
    OUTCOME_CONTENT_MISMATCH = 6, /* success_contains not found */
    OUTCOME_SERVER_ERROR = 7,     /* 5xx */
    OUTCOME_OVERLOADED = 8,       /* 503, 529 */
    OUTCOME_RATE_LIMITED = 9,     /* 429 */
    OUTCOME_QUOTA = 10,           /* 402, insufficient_quota, balance */
    OUTCOME_AUTH = 11,            /* 401 */
    OUTCOME_FORBIDDEN = 12,       /* 403 */
    OUTCOME_MODEL_UNKNOWN = 13,   /* 404 or an error that says so */
    OUTCOME_BAD_REQUEST = 14,     /* other 4xx: the caller's request was refused */
    OUTCOME_UNEXPECTED_STATUS = 15, /* 1xx, 3xx, other 2xx where one was not expected */
    OUTCOME_TIMEOUT = 16,         /* no answer in time */
    OUTCOME_STREAM_TIMEOUT = 17,  /* began to answer, then fell silent */
    OUTCOME_CONNECT = 18,         /* refused, unreachable, reset before an answer */
    OUTCOME_BROKEN = 19,          /* broke off inside the answer */
    OUTCOME_PROTOCOL = 20,        /* not HTTP, or bad framing */
    OUTCOME_TOO_LARGE = 21,       /* more bytes than we take */
    OUTCOME_TLS = 22,
    OUTCOME_DNS = 23,
    OUTCOME_EGRESS = 24,          /* refused by our own guard */
    OUTCOME_BAD_URL = 25,
    OUTCOME_CANCELLED = 26,       /* by us or by the client who left */
    OUTCOME_CLIENT_SLOW = 27,     /* the client stopped reading */
    OUTCOME_INTERRUPTED = 28,     /* our process ended */
    OUTCOME_MISSED = 29,          /* a slot that could not be kept (declared monitors) */
    OUTCOME_REFUSED_LIMIT = 30,   /* refused here: rate, parallel or budget limit of a key */
    OUTCOME_COUNT
};

struct outcome_row {
    const char *name;           /* "rate_limited": API, metrics, JSONL */
    enum outcome_class class;
    bool counts_against_channel; /* breaker and channel error rate */
    bool retry_elsewhere;        /* the gateway may try another channel */
    uint8_t status;              /* colour of system 4: 0 red, 1 green, 2 yellow */
    const char *en, *zh_cn, *zh_tw; /* for people: "rate limited by the upstream (429)" */
};

extern const struct outcome_row outcome_rows[OUTCOME_COUNT];
const char *outcome_class_name(enum outcome_class c); /* "rate_limit" */
bool outcome_is_success(enum outcome o); /* class ok or degraded */
/* Outcome of an HTTP status alone; error_code = machine-readable code of the body, may be empty
 * (insufficient_quota, model_not_found, ...). */
enum outcome outcome_of_status(int status, struct str error_code);
