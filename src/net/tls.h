/* tls.h -- TLS for the listener: one certificate and key, TLS 1.2 and 1.3, reloaded without
 * dropping a connection; and the byte pump between a connection and libuv (memory BIOs). */
#pragma once

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct tls_server; /* shared by all loops; the current SSL_CTX is swapped under a short lock */

MUST_USE int tls_server_new(const char *cert_file, const char *key_file, struct tls_server **ret, struct err *reterr);
/* Read the files again; on failure the old certificate stays and *reterr says why. */
MUST_USE int tls_server_reload(struct tls_server *t, struct err *reterr);
void tls_server_free(struct tls_server *t);
utc_ms tls_server_not_after(struct tls_server *t); /* end of validity, for pages and alerts */

struct tls_conn; /* one connection; owned by its loop */

struct tls_conn *tls_conn_new(struct tls_server *t);
void tls_conn_free(struct tls_conn *c);
/* Bytes from the wire in; plain text out to `plain`, bytes for the wire out to `wire`.
 * 0; ERR_TLS handshake failed or record broken; ERR_LIMIT a buf is full. *ret_closed: close_notify. */
MUST_USE int tls_conn_read(struct tls_conn *c, struct str from_wire, struct buf *plain, struct buf *wire, bool *ret_closed);
MUST_USE int tls_conn_write(struct tls_conn *c, struct str plain, struct buf *wire);
MUST_USE int tls_conn_close(struct tls_conn *c, struct buf *wire); /* close_notify */
bool tls_conn_is_ready(const struct tls_conn *c);                   /* handshake done */
