/* tls.c -- TLS on top of bytes that somebody else reads and writes.
 *
 * OpenSSL sees a BIO of ours that reads from the bytes at hand and writes into the caller's buffer,
 * so an idle connection holds no buffer of either: what is left of a record lies inside the SSL
 * object only while the record is incomplete (SSL_MODE_RELEASE_BUFFERS). */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>

#define PLAIN_STEP 16384 /* a record */

struct tls_server {
    char *cert_file, *key_file;
    BIO_METHOD *bio_method;
    pthread_mutex_t lock; /* guards what follows */
    SSL_CTX *ctx;
    utc_ms not_after;
};

struct tls_conn {
    SSL *ssl;
    struct str in;   /* during a call: bytes from the wire not yet taken */
    struct buf *out; /* during a call: for the wire */
    bool is_full;    /* `out` refused bytes */
};

/* ---- certificate ---- */

static int fail_ssl(struct err *reterr, const char *what, const char *file)
{
    unsigned long e = ERR_peek_last_error();
    char text[160] = "unknown reason";

    if (e != 0)
        ERR_error_string_n(e, text, sizeof(text));
    ERR_clear_error();
    return err_set(reterr, ERR_TLS, "%s %s: %s", what, file, text);
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int end_of_validity(SSL_CTX *ctx, utc_ms *ret)
{
    const X509 *cert = SSL_CTX_get0_certificate(ctx);
    struct tm tm;

    if (!cert || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) != 1)
        return -1;
    *ret = (utc_ms)timegm(&tm) * 1000;
    return 0;
}

static int load(const struct tls_server *t, SSL_CTX **ret, utc_ms *ret_not_after,
                struct err *reterr)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx)
        return fail_ssl(reterr, "cannot set up TLS for", t->cert_file);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets do it without memory */
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, NULL);

    int rc = 0;

    if (SSL_CTX_use_certificate_chain_file(ctx, t->cert_file) != 1)
        rc = fail_ssl(reterr, "cannot use the certificate", t->cert_file);
    else if (SSL_CTX_use_PrivateKey_file(ctx, t->key_file, SSL_FILETYPE_PEM) != 1)
        rc = fail_ssl(reterr, "cannot use the key", t->key_file);
    else if (SSL_CTX_check_private_key(ctx) != 1)
        rc = fail_ssl(reterr, "the certificate does not go with the key", t->key_file);
    else if (end_of_validity(ctx, ret_not_after) < 0)
        rc = fail_ssl(reterr, "no end of validity in", t->cert_file);
    if (rc < 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *ret = ctx;
    return 0;
}

/* ---- the BIO ---- */

static int bio_read(BIO *b, char *to, size_t n, size_t *ret_n)
{
    struct tls_conn *c = BIO_get_data(b);
    size_t take = MIN(n, c->in.len);

    BIO_clear_retry_flags(b);
    if (take == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    memcpy(to, c->in.ptr, take);
    c->in = str_cut(c->in, take, c->in.len);
    *ret_n = take;
    return 1;
}

static int bio_write(BIO *b, const char *from, size_t n, size_t *ret_n)
{
    struct tls_conn *c = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (!c->out || buf_add(c->out, from, n) < 0) {
        c->is_full = true;
        return 0;
    }
    *ret_n = n;
    return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

static BIO_METHOD *make_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gatehouse");

    if (!m || BIO_meth_set_read_ex(m, bio_read) != 1 || BIO_meth_set_write_ex(m, bio_write) != 1 ||
        BIO_meth_set_ctrl(m, bio_ctrl) != 1)
        abort(); /* out of memory */
    return m;
}

/* ---- server ---- */

int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret,
                   struct err *reterr)
{
    struct tls_server *t = xcalloc(1, sizeof(*t));

    t->cert_file = xstrdup(cert_file);
    t->key_file = xstrdup(key_file);
    t->bio_method = make_bio_method();
    pthread_mutex_init(&t->lock, NULL);

    int rc = load(t, &t->ctx, &t->not_after, reterr);

    if (rc < 0) {
        tls_server_free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

int tls_server_reload(struct tls_server *t, struct err *reterr)
{
    SSL_CTX *fresh = NULL;
    utc_ms not_after = 0;
    int rc = load(t, &fresh, &not_after, reterr);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&t->lock);

    SSL_CTX *old = t->ctx;

    t->ctx = fresh;
    t->not_after = not_after;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old); /* open connections hold it as long as they need it */
    return 0;
}

void tls_server_free(struct tls_server *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->bio_method);
    pthread_mutex_destroy(&t->lock);
    xfree(t->cert_file);
    xfree(t->key_file);
    xfree(t);
}

utc_ms tls_server_not_after(struct tls_server *t)
{
    pthread_mutex_lock(&t->lock);

    utc_ms at = t->not_after;

    pthread_mutex_unlock(&t->lock);
    return at;
}

/* ---- connection ---- */

struct tls_conn *tls_conn_new(struct tls_server *t)
{
    struct tls_conn *c = xcalloc(1, sizeof(*c));

    pthread_mutex_lock(&t->lock);
    c->ssl = SSL_new(t->ctx);
    pthread_mutex_unlock(&t->lock);

    BIO *bio = BIO_new(t->bio_method);

    if (!c->ssl || !bio)
        abort(); /* out of memory, as xmalloc() */
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_accept_state(c->ssl);
    return c;
}

void tls_conn_free(struct tls_conn *c)
{
    if (!c)
        return;
    ERR_clear_error();
    SSL_free(c->ssl);
    xfree(c);
}

/* After a call that returned rc <= 0: 0 when it only waits for more bytes. */
static int judge(struct tls_conn *c, int rc, bool *ret_closed)
{
    int e = SSL_get_error(c->ssl, rc);

    ERR_clear_error();
    if (c->is_full)
        return ERR_LIMIT;
    if (e == SSL_ERROR_ZERO_RETURN) {
        *ret_closed = true;
        return 0;
    }
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? 0 : ERR_TLS;
}

static int read_all(struct tls_conn *c, struct buf *plain, bool *ret_closed)
{
    for (;;) {
        size_t n = 0;
        int rc = buf_reserve(plain, PLAIN_STEP);

        if (rc < 0)
            return rc;
        rc = SSL_read_ex(c->ssl, plain->ptr + plain->tail, PLAIN_STEP, &n);
        if (rc <= 0)
            return judge(c, rc, ret_closed);
        plain->tail += n;
        plain->ptr[plain->tail] = '\0';
    }
}

int tls_conn_read(struct tls_conn *c, struct str from_wire, struct buf *plain, struct buf *wire,
                  bool *ret_closed)
{
    int rc;

    c->in = from_wire;
    c->out = wire;
    c->is_full = false;
    ERR_clear_error();
    rc = read_all(c, plain, ret_closed); /* does the handshake as well */
    c->in = STR_NONE;
    c->out = NULL;
    return rc;
}

int tls_conn_write(struct tls_conn *c, struct str plain, struct buf *wire)
{
    int rc = 0;

    c->out = wire;
    c->is_full = false;
    ERR_clear_error();
    while (rc == 0 && plain.len > 0) {
        size_t n = 0;
        bool is_closed = false;
        int ok = SSL_write_ex(c->ssl, plain.ptr, plain.len, &n);

        if (ok <= 0)
            rc = judge(c, ok, &is_closed) == ERR_LIMIT ? ERR_LIMIT : ERR_TLS;
        else
            plain = str_cut(plain, n, plain.len);
    }
    c->out = NULL;
    return rc;
}

int tls_conn_close(struct tls_conn *c, struct buf *wire)
{
    if (!SSL_is_init_finished(c->ssl))
        return 0;
    c->out = wire;
    c->is_full = false;
    ERR_clear_error();

    int rc = SSL_shutdown(c->ssl); /* 0: sent, the other side's has not come; nobody waits for it */

    ERR_clear_error();
    c->out = NULL;
    if (c->is_full)
        return ERR_LIMIT;
    return rc >= 0 ? 0 : ERR_TLS;
}

bool tls_conn_is_ready(const struct tls_conn *c)
{
    return SSL_is_init_finished(c->ssl);
}
