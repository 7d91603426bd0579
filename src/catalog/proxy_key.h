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

struct proxy_key *proxy_key_new(void); /* one reference, the maker's */
struct proxy_key *proxy_key_dup(const struct proxy_key *k); /* free-standing, with one reference */
/* Another reference, any thread; a key with more than one reference is never changed. */
const struct proxy_key *proxy_key_ref(const struct proxy_key *k);
void proxy_key_free(const struct proxy_key *k); /* gives one reference back */
static inline void proxy_key_freep(struct proxy_key **p)
{
    if (*p)
        proxy_key_free(*p);
}
/* Body of POST /api/proxy/keys; spec 1 section 1.7 texts. */
MUST_USE int proxy_key_from_json(struct proxy_key *k, const json_t *obj, struct err *reterr);
/* Body of PATCH: the same members and bounds, and "enabled"; what is absent or null stays as it is. */
MUST_USE int proxy_key_patch_json(struct proxy_key *k, const json_t *obj, struct err *reterr);
/* Draw a token "sk-" + 36 characters, set hash and prefix. */
#define PROXY_KEY_TOKEN_SIZE 40
void proxy_key_draw(struct proxy_key *k, char out_token[PROXY_KEY_TOKEN_SIZE]);
void proxy_key_to_json(const struct proxy_key *k, struct json_out *j); /* whole object */
/* The stored forms: JSON texts of the two lists. Reading is lenient, for what lies in a database
 * already: false = something was left out or could not be read, so the key allows more than was
 * meant, and the caller must not enable it. */
bool proxy_key_ids_read(struct proxy_key *k, struct str json);
bool proxy_key_models_read(struct proxy_key *k, struct str json);
void proxy_key_ids_write(const struct proxy_key *k, struct json_out *j);
void proxy_key_models_write(const struct proxy_key *k, struct json_out *j);
