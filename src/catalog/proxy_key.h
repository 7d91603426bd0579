/* proxy_key.h -- a key of the gateway's clients. The token is shown once; its SHA-256 is kept. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/json_doc.h"
#include "base/json_out.h"
#include "base/secret.h"

struct proxy_key {
    int64_t id;
    char *name, *description;
    uint8_t hash[SECRET_HASH_SIZE];
    char prefix[13]; /* first 12 characters of the token */
    int64_t *allowed_channels; /* sorted; count 0 = all */
    size_t allowed_channel_count;
    char **allowed_models; /* "channel/model", sorted; count 0 = all */
    size_t allowed_model_count;
    bool enabled;
    utc_ms created_utc_ms, revoked_utc_ms, last_used_utc_ms; /* 0 = never */
    int64_t last_used_channel_id;
};

struct proxy_key *proxy_key_new(void);
struct proxy_key *proxy_key_dup(const struct proxy_key *k);
void proxy_key_free(struct proxy_key *k);
/* Body of POST /api/proxy/keys; spec 1 section 1.7 texts. */
MUST_USE int proxy_key_from_json(struct proxy_key *k, const json_t *obj, struct err *reterr);
/* Draw a token "sk-" + 36 characters, set hash and prefix. */
#define PROXY_KEY_TOKEN_SIZE 40
void proxy_key_draw(struct proxy_key *k, char out_token[PROXY_KEY_TOKEN_SIZE]);
void proxy_key_to_json(const struct proxy_key *k, struct json_out *j); /* whole object */
