/* option_priv.h -- what a set of options is inside, for base/option*.c alone. */
#pragma once

#include "base/option.h"
#include "base/secret.h"

#define OPTION_ENV_PREFIX "GATEHOUSE_"
#define OPTION_VIA_SIZE   80 /* "GATEHOUSE_HTTP_CONNECTIONS_PER_ADDRESS" and some */

struct option_value {
    enum option_origin origin;
    int64_t num;               /* BOOL, INT, SIZE, DURATION_MS */
    struct secret text;        /* as given, trimmed; lists joined by "," */
    char via[OPTION_VIA_SIZE]; /* "PORT", "--port"; "" = the origin says all */
};

struct option_set {
    size_t count; /* option_row_count */
    struct option_value values[];
};

/* Flags, environment names and dotted names are one but for case and the marks ".", "-", "_". */
const struct option_row *option_find_folded(struct str name);
/* "tls.cert" -> "tls-cert" */
void option_spell_flag(const char *name, char out[OPTION_VIA_SIZE]);
/* "tls.cert" -> "GATEHOUSE_TLS_CERT" */
void option_spell_env(const char *name, char out[OPTION_VIA_SIZE]);
/* Next item of a list off the front of *in; false at its end. */
bool option_next_item(struct str *in, struct str *ret);
