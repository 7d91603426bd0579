#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "http_rig.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#define HOST  "Host: test\r\n"
#define HELLO "GET /hello HTTP/1.1\r\n" HOST "\r\n"

static char dir[64], cert_file[96], key_file[96];

/* A self-signed certificate that is valid for `days`. */
static void write_pair(const char *cert_path, const char *key_path, long days)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    FILE *f;

    ASN1_INTEGER_set(X509_get_serialNumber(cert), days);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), days * 86400);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    f = fopen(cert_path, "w");
    PEM_write_X509(f, cert);
    fclose(f);
    f = fopen(key_path, "w");
    PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static int group_start(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/test_tls_XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
    write_pair(cert_file, key_file, 10);
    return 0;
}

static int group_stop(void **state)
{
    unlink(cert_file);
    unlink(key_file);
    rmdir(dir);
    return 0;
}

static struct tls_server *make_server(void)
{
    struct tls_server *t = NULL;
    struct err err = {0};

    if (tls_server_new(cert_file, key_file, &t, &err) < 0)
        fail_msg("%s", err.text);
    return t;
}

/* ---- certificates ---- */

static void test_tls__says_what_is_wrong_with_the_files(void **state)
{
    struct tls_server *t = NULL;
    struct err err = {0};
    char other[96];

    assert_int_equal(tls_server_new("/nonexistent", key_file, &t, &err), ERR_TLS);
    assert_non_null(strstr(err.text, "/nonexistent"));
    assert_int_equal(tls_server_new(cert_file, cert_file, &t, &err), ERR_TLS);
    assert_int_equal(tls_server_new(key_file, key_file, &t, &err), ERR_TLS);
    snprintf(other, sizeof(other), "%s/other.pem", dir);
    write_pair("/dev/null", other, 5);
    assert_int_equal(tls_server_new(cert_file, other, &t, &err), ERR_TLS);
    assert_null(t);
    unlink(other);
}

static void test_tls__reload_keeps_the_old_pair_on_failure(void **state)
{
    struct tls_server *t = make_server();
    struct err err = {0};
    utc_ms ten_days = clock_utc_ms() + INT64_C(10) * 86400000;
    utc_ms at = tls_server_not_after(t);
    FILE *f;

    assert_true(at > ten_days - 60000 && at < ten_days + 60000);
    f = fopen(cert_file, "w");
    fputs("-----BEGIN CERTIFICATE-----\nnonsense\n", f);
    fclose(f);
    assert_int_equal(tls_server_reload(t, &err), ERR_TLS);
    assert_int_equal(tls_server_not_after(t), at);
    write_pair(cert_file, key_file, 20);
    assert_int_equal(tls_server_reload(t, &err), 0);
    assert_true(tls_server_not_after(t) > at + INT64_C(9) * 86400000);
    tls_server_free(t);
    tls_server_free(NULL);
}

/* ---- the pump, without sockets ---- */

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* memory; owned by ssl */
};

static void client_open(struct client *c)
{
    c->ctx = SSL_CTX_new(TLS_client_method());
    c->ssl = SSL_new(c->ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_connect_state(c->ssl);
}

static void client_close(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
}

/* All that the client has for the wire, to the server in pieces of `step`; its answers back. */
static int pump(struct client *c, struct tls_conn *s, size_t step, struct buf *plain, bool *closed)
{
    struct buf wire = BUF_INIT(1 << 20);
    char bytes[65536];
    int n = BIO_read(c->out, bytes, sizeof(bytes));
    int rc = 0;

    for (size_t at = 0; n > 0 && at < (size_t)n && rc == 0; at += step)
        rc = tls_conn_read(s, str_cut(str_n(bytes, (size_t)n), at, step), plain, &wire, closed);
    if (buf_len(&wire) > 0)
        BIO_write(c->in, buf_cstr(&wire), (int)buf_len(&wire));
    buf_release(&wire);
    return rc;
}

static void shake_hands(struct client *c, struct tls_conn *s, size_t step)
{
    struct buf plain = BUF_INIT(65536);
    bool closed = false;

    for (int i = 0; i < 10 && !(SSL_is_init_finished(c->ssl) && tls_conn_is_ready(s)); i++) {
        SSL_do_handshake(c->ssl);
        assert_int_equal(pump(c, s, step, &plain, &closed), 0);
    }
    assert_true(tls_conn_is_ready(s));
    assert_int_equal(buf_len(&plain), 0);
    buf_release(&plain);
}

static void test_tls__pumps_bytes_in_any_pieces(void **state)
{
    static const size_t steps[] = {1, 7, 65536};
    struct tls_server *t = make_server();

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct client c;
        struct tls_conn *s = tls_conn_new(t);
        struct buf plain = BUF_INIT(65536), wire = BUF_INIT(65536);
        bool closed = false;
        char answer[16] = "";

        client_open(&c);
        assert_false(tls_conn_is_ready(s));
        shake_hands(&c, s, steps[i]);
        assert_int_equal(SSL_write(c.ssl, "question", 8), 8);
        assert_int_equal(pump(&c, s, steps[i], &plain, &closed), 0);
        assert_string_equal(buf_cstr(&plain), "question");
        assert_int_equal(tls_conn_write(s, STR("answer"), &wire), 0);
        BIO_write(c.in, buf_cstr(&wire), (int)buf_len(&wire));
        assert_int_equal(SSL_read(c.ssl, answer, sizeof(answer)), 6);
        assert_string_equal(answer, "answer");
        assert_false(closed);
        SSL_shutdown(c.ssl);
        assert_int_equal(pump(&c, s, steps[i], &plain, &closed), 0);
        assert_true(closed);
        buf_clear(&wire);
        assert_int_equal(tls_conn_close(s, &wire), 0);
        assert_true(buf_len(&wire) > 0);
        buf_release(&plain);
        buf_release(&wire);
        tls_conn_free(s);
        client_close(&c);
    }
    tls_server_free(t);
}

static void test_tls__refuses_what_is_not_tls(void **state)
{
    struct tls_server *t = make_server();
    struct tls_conn *s = tls_conn_new(t);
    struct buf plain = BUF_INIT(65536), wire = BUF_INIT(65536);
    bool closed = false;

    assert_int_equal(tls_conn_read(s, STR(HELLO), &plain, &wire, &closed), ERR_TLS);
    buf_release(&plain);
    buf_release(&wire);
    tls_conn_free(s);
    tls_server_free(t);
}

static void test_tls__refuses_old_versions_and_damage(void **state)
{
    struct tls_server *t = make_server();
    struct tls_conn *s = tls_conn_new(t);
    struct buf plain = BUF_INIT(65536), wire = BUF_INIT(65536);
    struct client c;
    bool closed = false;
    char bytes[4096];
    int n;

    client_open(&c);
    SSL_set_max_proto_version(c.ssl, TLS1_1_VERSION);
    SSL_set_security_level(c.ssl, 0);
    SSL_do_handshake(c.ssl);
    assert_int_equal(pump(&c, s, 65536, &plain, &closed), ERR_TLS);
    client_close(&c);
    tls_conn_free(s);

    s = tls_conn_new(t);
    client_open(&c);
    shake_hands(&c, s, 65536);
    SSL_write(c.ssl, "question", 8);
    n = BIO_read(c.out, bytes, sizeof(bytes));
    bytes[n - 1] ^= 1;
    assert_int_equal(tls_conn_read(s, str_n(bytes, (size_t)n), &plain, &wire, &closed), ERR_TLS);
    assert_int_equal(buf_len(&plain), 0);
    client_close(&c);
    tls_conn_free(s);
    tls_server_free(t);
    buf_release(&plain);
    buf_release(&wire);
}

static void test_tls__full_buffers_are_told(void **state)
{
    struct tls_server *t = make_server();
    struct tls_conn *s = tls_conn_new(t);
    struct buf small = BUF_INIT(10);
    struct client c;

    client_open(&c);
    shake_hands(&c, s, 65536);
    assert_int_equal(tls_conn_write(s, STR("far more than ten bytes"), &small), ERR_LIMIT);
    client_close(&c);
    buf_release(&small);
    tls_conn_free(s);
    tls_server_free(t);
}

/* ---- a server ---- */

static struct rig rig;

static int start(void **state)
{
    rig_init(&rig);
    rig.tls = make_server();
    rig_start(&rig);
    return 0;
}

static int stop(void **state)
{
    rig_stop(&rig);
    tls_server_free(rig.tls);
    return 0;
}

static SSL *dial(struct client *c, int *ret_fd)
{
    c->ctx = SSL_CTX_new(TLS_client_method());
    c->ssl = SSL_new(c->ctx);
    *ret_fd = rig_connect(&rig);
    SSL_set_fd(c->ssl, *ret_fd);
    SSL_set_alpn_protos(c->ssl, (const unsigned char *)"\x08http/1.1", 9);
    assert_int_equal(SSL_connect(c->ssl), 1);
    return c->ssl;
}

static void ask_hello(SSL *ssl)
{
    char answer[1024];
    int n = 0;

    assert_true(SSL_write(ssl, HELLO, sizeof(HELLO) - 1) > 0);
    while (n < (int)sizeof(answer) - 1) {
        int got = SSL_read(ssl, answer + n, (int)sizeof(answer) - 1 - n);

        assert_true(got > 0);
        n += got;
        answer[n] = '\0';
        if (strstr(answer, "\r\n\r\nhello"))
            return;
    }
    fail();
}

static void test_tls__serves_requests(void **state)
{
    struct client c;
    const unsigned char *alpn;
    unsigned alpn_len;
    int fd;
    SSL *ssl = dial(&c, &fd);

    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    assert_int_equal(alpn_len, 8);
    ask_hello(ssl);
    ask_hello(ssl);
    SSL_shutdown(ssl);
    client_close(&c);
    close(fd);
}

static void test_tls__sends_large_bodies_and_says_the_end(void **state)
{
    static const char request[] = "GET /big HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
    char piece[16384];
    size_t total = 0;
    struct client c;
    int fd, n;
    SSL *ssl = dial(&c, &fd);

    SSL_write(ssl, request, sizeof(request) - 1);
    while ((n = SSL_read(ssl, piece, sizeof(piece))) > 0)
        total += (size_t)n;
    assert_int_equal(SSL_get_error(ssl, n), SSL_ERROR_ZERO_RETURN); /* close_notify, no cut */
    assert_true(total > 1024 * 1024);
    client_close(&c);
    close(fd);
}

static void test_tls__reload_drops_no_connection(void **state)
{
    struct client old, fresh;
    struct err err = {0};
    int old_fd, fresh_fd;
    SSL *ssl = dial(&old, &old_fd);
    X509 *first, *second;

    ask_hello(ssl);
    write_pair(cert_file, key_file, 30);
    assert_int_equal(tls_server_reload(rig.tls, &err), 0);
    ask_hello(ssl);
    dial(&fresh, &fresh_fd);
    ask_hello(fresh.ssl);
    first = SSL_get1_peer_certificate(old.ssl);
    second = SSL_get1_peer_certificate(fresh.ssl);
    assert_int_not_equal(X509_cmp(first, second), 0);
    X509_free(first);
    X509_free(second);
    client_close(&old);
    client_close(&fresh);
    close(old_fd);
    close(fresh_fd);
}

static void test_tls__clear_text_is_closed(void **state)
{
    int fd = rig_connect(&rig);

    rig_send(fd, HELLO);
    assert_true(rig_read_all(fd, NULL));
    close(fd);
    assert_int_equal(atomic_load(&rig.requests), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls__says_what_is_wrong_with_the_files),
        cmocka_unit_test(test_tls__reload_keeps_the_old_pair_on_failure),
        cmocka_unit_test(test_tls__pumps_bytes_in_any_pieces),
        cmocka_unit_test(test_tls__refuses_what_is_not_tls),
        cmocka_unit_test(test_tls__refuses_old_versions_and_damage),
        cmocka_unit_test(test_tls__full_buffers_are_told),
        cmocka_unit_test_setup_teardown(test_tls__serves_requests, start, stop),
        cmocka_unit_test_setup_teardown(test_tls__sends_large_bodies_and_says_the_end, start, stop),
        cmocka_unit_test_setup_teardown(test_tls__reload_drops_no_connection, start, stop),
        cmocka_unit_test_setup_teardown(test_tls__clear_text_is_closed, start, stop),
    };

    return cmocka_run_group_tests(tests, group_start, group_stop);
}
