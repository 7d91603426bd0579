/* secret.h -- everything that must not leak: random tokens, hashes, encryption at rest, constant
 * time comparison, wiped memory. OpenSSL for SHA-256, libsodium for argon2id and secretbox. */
#pragma once

#include "base/base.h"
#include "base/err.h"
#include "base/str.h"

#define SECRET_HASH_SIZE  32 /* SHA-256 */
#define SECRET_KEY_SIZE   32 /* secretbox */

/* A text that is wiped when it goes; never printed by any formatter of ours. */
struct secret {
    char *ptr; /* NUL-terminated, or NULL when len is 0 */
    size_t len;
};

MUST_USE int secret_global_init(void); /* once, before threads: sodium_init */
struct secret secret_dup(struct str s);
void secret_release(struct secret *s); /* wiped and freed; zero afterwards */
static inline struct str secret_str(const struct secret *s)
{
    return str_n(s->ptr, s->len);
}

void secret_random(void *out, size_t n);
/* n random characters of [A-Za-z0-9] resp. lower-case hex digits, and NUL. */
void secret_random_alnum(char *out, size_t n);
void secret_random_hex(char *out, size_t n);

void secret_sha256(struct str s, uint8_t out[SECRET_HASH_SIZE]);
void secret_hex(const uint8_t *p, size_t n, char *out); /* 2n digits and NUL */
MUST_USE int secret_unhex(struct str hex, uint8_t *out, size_t n);
/* Compares SHA-256 of both sides, so neither content nor length shows in the time. */
bool secret_equal(struct str a, struct str b);
bool secret_hash_equal(const uint8_t a[SECRET_HASH_SIZE], const uint8_t b[SECRET_HASH_SIZE]);

/* argon2id, 64 MiB: some 100 ms of CPU, never on a loop, one at a time (a lock inside).
 * ret: libsodium's text form, NUL-terminated. */
#define SECRET_PWHASH_SIZE 128
MUST_USE int secret_pwhash(struct str password, char out[SECRET_PWHASH_SIZE], struct err *reterr);
bool secret_pwhash_verify(const char *hash, struct str password);

/* secretbox with a random nonce in front; `out` has room for plain.len + SECRET_SEAL_OVERHEAD. */
#define SECRET_SEAL_OVERHEAD (24 + 16)
void secret_seal(const uint8_t key[SECRET_KEY_SIZE], struct str plain, uint8_t *out);
/* 0, or ERR_DENIED when it was not sealed with this key or was changed. */
MUST_USE int secret_open(const uint8_t key[SECRET_KEY_SIZE], struct str sealed, struct secret *ret);

/* Take a secret out of a text that somebody else wrote (an upstream that repeats the key it
 * refuses): each whole occurrence becomes its mask, in place, and so does a beginning of 8 or more
 * characters that a cut has left at the end. Secrets under 8 characters are left alone. */
void secret_redact(char *text, struct str secret);

/* "sk-abcd...wxyz" -> "****wxyz" (shorter than 12: "****"; empty: ""). out: 4 + 4 + NUL. */
#define SECRET_MASK_SIZE 9
void secret_mask(struct str s, char out[SECRET_MASK_SIZE]);
