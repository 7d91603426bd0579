/* err.h -- how a call of ours fails: a negative code, and text only where a person will read it. */
#pragma once

#include "base/base.h"

/* Every fallible function returns 0 or one of these. Unless its header says otherwise, a failure
 * leaves the outputs and the object untouched. */
enum err_code {
    ERR_NOMEM = -1,      /* a capped allocation did not fit */
    ERR_SYNTAX = -2,     /* the input is not of its grammar */
    ERR_RANGE = -3,      /* a value outside its bounds */
    ERR_LIMIT = -4,      /* a configured or fixed ceiling was reached */
    ERR_NOTFOUND = -5,   /* no such thing */
    ERR_CONFLICT = -6,   /* the state does not allow it (exists, locked, running) */
    ERR_DENIED = -7,     /* not permitted to this caller, or by the egress guard */
    ERR_TIMEOUT = -8,    /* a deadline passed */
    ERR_IO = -9,         /* the operating system or a peer failed */
    ERR_TLS = -10,       /* handshake or certificate */
    ERR_PROTO = -11,     /* a peer broke its protocol; the connection is of no further use */
    ERR_BUSY = -12,      /* a queue is full; try later */
    ERR_CANCELLED = -13, /* by us, before it ended */
    ERR_INTERNAL = -14,  /* our own mistake, survived */
};

#define ERR_TEXT_MAX 512

/* Filled on failure only, in the caller's frame; text is UTF-8, never a secret. */
struct err {
    int code;
    char field[64];          /* the input member the text speaks of, "" = none */
    char text[ERR_TEXT_MAX]; /* NUL-terminated, cut on a character boundary */
};

/* Fill *e (NULL: only the code) and return `code`, so that failing is one line. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
/* The same, naming the input member. */
int err_set_field(struct err *e, int code, const char *field, const char *fmt, ...) PRINTF(4, 5);
/* The same, with ": " and the text of errno value `errnum` behind it. */
int err_set_errno(struct err *e, int code, int errnum, const char *fmt, ...) PRINTF(4, 5);
/* Put "`what`: " before the text that *e holds already; returns e->code.
 * With e NULL the code is not known: ERR_INTERNAL, so callers that may have none keep theirs. */
int err_prefix(struct err *e, const char *fmt, ...) PRINTF(2, 3);
const char *err_name(int code); /* "not found", for logs */
