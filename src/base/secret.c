/* secret.c -- see secret.h. */
#include "base/secret.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>

static_assert(SECRET_PWHASH_SIZE == crypto_pwhash_STRBYTES, "libsodium's text form");
static_assert(SECRET_SEAL_OVERHEAD == crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES, "");
static_assert(SECRET_KEY_SIZE == crypto_secretbox_KEYBYTES, "");

/* What a stored hash may ask of us: a foreign row must not take all memory or minutes of CPU. */
#define PWHASH_KIB_MAX    (1024 * 1024)
#define PWHASH_PASSES_MAX 16

/* shared: argon2id wants 64 MiB, one at a time is enough */
static pthread_mutex_t pwhash_lock = PTHREAD_MUTEX_INITIALIZER;

/* Fetched once: a look-up by name takes locks inside OpenSSL on each call. */
static const EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void sha256_fetch(void)
{
    sha256 = EVP_sha256();

    EVP_MD *fetched = EVP_MD_fetch(NULL, "SHA256", NULL);

    if (fetched)
        sha256 = fetched; /* lives as long as the process */
}

int secret_global_init(void)
{
    return sodium_init() < 0 ? ERR_INTERNAL : 0;
}

struct secret secret_dup(struct str s)
{
    if (s.len == 0)
        return (struct secret){NULL, 0};
    return (struct secret){str_dup(s), s.len};
}

void secret_release(struct secret *s)
{
    if (s->ptr)
        explicit_bzero(s->ptr, s->len);
    xfree(s->ptr);
    *s = (struct secret){NULL, 0};
}

void secret_random(void *out, size_t n)
{
    randombytes_buf(out, n);
}

void secret_random_alnum(char *out, size_t n)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t pool[64];
    size_t i = 0;

    while (i < n) {
        secret_random(pool, sizeof(pool));
        for (size_t k = 0; k < sizeof(pool) && i < n; k++)
            if (pool[k] < 4 * 62) /* the rest would favour the first letters */
                out[i++] = alphabet[pool[k] % 62];
    }
    out[n] = '\0';
    explicit_bzero(pool, sizeof(pool));
}

static const char hex_digits[] = "0123456789abcdef";

void secret_random_hex(char *out, size_t n)
{
    uint8_t pool[64];

    for (size_t i = 0; i < n; i++) {
        if (i % sizeof(pool) == 0)
            secret_random(pool, sizeof(pool));
        out[i] = hex_digits[pool[i % sizeof(pool)] & 15];
    }
    out[n] = '\0';
    explicit_bzero(pool, sizeof(pool));
}

void secret_sha256(struct str s, uint8_t out[SECRET_HASH_SIZE])
{
    pthread_once(&sha256_once, sha256_fetch);
    if (EVP_Digest(s.len ? s.ptr : "", s.len, out, NULL, sha256, NULL) != 1)
        abort(); /* only without memory; a half-made hash must not open a door */
}

void secret_hex(const uint8_t *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[p[i] >> 4];
        out[2 * i + 1] = hex_digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

int secret_unhex(struct str hex, uint8_t *out, size_t n)
{
    if (hex.len != 2 * n)
        return ERR_SYNTAX;
    for (size_t i = 0; i < hex.len; i++)
        if (str_hex_value(hex.ptr[i]) < 0)
            return ERR_SYNTAX;
    for (size_t i = 0; i < n; i++)
        out[i] =
            (uint8_t)(str_hex_value(hex.ptr[2 * i]) << 4 | str_hex_value(hex.ptr[2 * i + 1])); /* < 256 */
    return 0;
}

bool secret_equal(struct str a, struct str b)
{
    uint8_t hash_a[SECRET_HASH_SIZE], hash_b[SECRET_HASH_SIZE];

    secret_sha256(a, hash_a);
    secret_sha256(b, hash_b);

    bool equal = secret_hash_equal(hash_a, hash_b);

    explicit_bzero(hash_a, sizeof(hash_a));
    explicit_bzero(hash_b, sizeof(hash_b));
    return equal;
}

bool secret_hash_equal(const uint8_t a[SECRET_HASH_SIZE], const uint8_t b[SECRET_HASH_SIZE])
{
    return sodium_memcmp(a, b, SECRET_HASH_SIZE) == 0;
}

int secret_pwhash(struct str password, char out[SECRET_PWHASH_SIZE], struct err *reterr)
{
    pthread_mutex_lock(&pwhash_lock);

    int rc = crypto_pwhash_str_alg(
        out, password.len ? password.ptr : "", password.len, crypto_pwhash_OPSLIMIT_INTERACTIVE,
        crypto_pwhash_MEMLIMIT_INTERACTIVE, crypto_pwhash_ALG_ARGON2ID13);

    pthread_mutex_unlock(&pwhash_lock);
    if (rc != 0)
        return err_set(reterr, ERR_NOMEM, "no memory to hash a password");
    return 0;
}

/* "$argon2id$v=19$m=65536,t=2,p=1$...": a hash of ours, with bearable costs. */
static bool is_pwhash(struct str hash)
{
    uint64_t kib, passes;

    if (hash.len >= SECRET_PWHASH_SIZE || !str_skip_prefix(&hash, STR("$argon2id$v=19$m=")))
        return false;

    struct str memory = str_until(hash, ',');

    hash = str_after(hash, ',');
    return str_to_u64(memory, PWHASH_KIB_MAX, &kib) == 0 && str_skip_prefix(&hash, STR("t=")) &&
           str_to_u64(str_until(hash, ','), PWHASH_PASSES_MAX, &passes) == 0;
}

bool secret_pwhash_verify(const char *hash, struct str password)
{
    if (!is_pwhash(str_of(hash)))
        return false;
    pthread_mutex_lock(&pwhash_lock);

    int rc = crypto_pwhash_str_verify(hash, password.len ? password.ptr : "", password.len);

    pthread_mutex_unlock(&pwhash_lock);
    return rc == 0;
}

void secret_seal(const uint8_t key[SECRET_KEY_SIZE], struct str plain, uint8_t *out)
{
    secret_random(out, crypto_secretbox_NONCEBYTES);
    if (crypto_secretbox_easy(out + crypto_secretbox_NONCEBYTES,
                              (const uint8_t *)(plain.len ? plain.ptr : ""), plain.len, out,
                              key) != 0)
        abort(); /* only for sizes no memory could hold */
}

int secret_open(const uint8_t key[SECRET_KEY_SIZE], struct str sealed, struct secret *ret)
{
    const uint8_t *p = (const uint8_t *)sealed.ptr;

    if (sealed.len < SECRET_SEAL_OVERHEAD)
        return ERR_DENIED;

    size_t n = sealed.len - SECRET_SEAL_OVERHEAD;
    struct secret plain = {xmalloc(n + 1), n};

    if (crypto_secretbox_open_easy((uint8_t *)plain.ptr, p + crypto_secretbox_NONCEBYTES,
                                   n + crypto_secretbox_MACBYTES, p, key) != 0) {
        secret_release(&plain);
        return ERR_DENIED;
    }
    plain.ptr[n] = '\0';
    if (n == 0)
        secret_release(&plain); /* an empty secret has no pointer */
    *ret = plain;
    return 0;
}

void secret_mask(struct str s, char out[SECRET_MASK_SIZE])
{
    struct str tail = s.len < 12 ? STR_NONE : str_cut(s, s.len - 4, 4);

    for (size_t i = 0; i < tail.len; i++)
        if (tail.ptr[i] < 0x21 || tail.ptr[i] > 0x7e) /* half a character or a control */
            tail.len = 0;
    snprintf(out, SECRET_MASK_SIZE, "%s%.*s", s.len ? "****" : "", STR_ARG(tail));
}

#define REDACT_MIN 8

/* Length of the longest beginning of `secret` that `text` ends with, 0 when under REDACT_MIN. */
static size_t cut_beginning(struct str text, struct str secret)
{
    for (size_t n = MIN(text.len, secret.len - 1); n >= REDACT_MIN; n--) {
        if (memcmp(text.ptr + text.len - n, secret.ptr, n) == 0)
            return n;
    }
    return 0;
}

void secret_redact(char *text, struct str secret)
{
    char mask[SECRET_MASK_SIZE];
    size_t mask_len, tail;
    ssize_t at;

    if (secret.len < REDACT_MIN)
        return;
    secret_mask(secret, mask);
    mask_len = strlen(mask); /* 4 or 8, never longer than the secret */
    while ((at = str_find_str(str_of(text), secret)) >= 0) {
        char *found = text + at;

        memcpy(found, mask, mask_len);
        memmove(found + mask_len, found + secret.len, strlen(found + secret.len) + 1);
    }
    tail = cut_beginning(str_of(text), secret);
    if (tail != 0)
        memcpy(text + strlen(text) - tail, "****", 5); /* REDACT_MIN bytes hold it */
}
