/* curl_fault.c -- see curl_fault.h. */
#include "net/curl_fault.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdarg.h>

static const char *const names[] = {
    [CURL_FAULT_NONE] = "none",           [CURL_FAULT_DNS] = "dns",
    [CURL_FAULT_CONNECT] = "connect",     [CURL_FAULT_TLS] = "tls",
    [CURL_FAULT_TIMEOUT] = "timeout",     [CURL_FAULT_RESET] = "reset",
    [CURL_FAULT_PROTO] = "proto",         [CURL_FAULT_TOO_LARGE] = "too_large",
    [CURL_FAULT_EGRESS] = "egress",       [CURL_FAULT_URL] = "url",
    [CURL_FAULT_CANCELLED] = "cancelled",
};
static_assert(ARRAY_LEN(names) == CURL_FAULT_CANCELLED + 1, "a name for every fault");

const char *curl_fault_name(enum curl_fault f)
{
    return names[f];
}

struct sentence {
    char *out;
    size_t size;
};

static PRINTF(2, 3) void say(struct sentence s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(s.out, s.size, fmt, ap);
    va_end(ap);
}

static int64_t info_us(CURL *easy, CURLINFO what)
{
    curl_off_t v = 0;

    (void)curl_easy_getinfo(easy, what, &v);
    return v;
}

static long info_long(CURL *easy, CURLINFO what)
{
    long v = 0;

    (void)curl_easy_getinfo(easy, what, &v);
    return v;
}

static enum curl_fault map_timeout(const struct curl_fault_input *in, struct sentence s)
{
    uint64_t connect_ms = MIN(in->connect_timeout_ms, in->timeout_ms), ms = in->timeout_ms;
    const char *what = "the answer was not complete";

    if (info_long(in->easy, CURLINFO_RESPONSE_CODE) == 0)
        what = "no answer";
    if (info_us(in->easy, CURLINFO_PRETRANSFER_TIME_T) == 0) { /* no request was sent yet */
        ms = connect_ms;
        what = "TLS handshake not finished";
        if (info_us(in->easy, CURLINFO_CONNECT_TIME_T) == 0)
            what = "no connection";
        if (info_us(in->easy, CURLINFO_NAMELOOKUP_TIME_T) == 0)
            what = "host name was not resolved";
    }
    if (ms % 1000 == 0)
        say(s, "%s within %llu s", what, (unsigned long long)(ms / 1000));
    else
        say(s, "%s within %llu ms", what, (unsigned long long)ms);
    return CURL_FAULT_TIMEOUT;
}

static enum curl_fault map_connect(const struct curl_fault_input *in, struct sentence s)
{
    long e = in->socket_errno ? in->socket_errno : info_long(in->easy, CURLINFO_OS_ERRNO);

    switch (e) {
    case ECONNREFUSED:
        say(s, "connection refused");
        break;
    case EHOSTUNREACH:
        say(s, "no route to the host");
        break;
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        say(s, "network is unreachable");
        break;
    case ECONNRESET:
        say(s, "connection reset");
        break;
    case EMFILE:
    case ENFILE:
        say(s, "no connection: too many open files here");
        break;
    case ETIMEDOUT:
        say(s, "the host does not answer");
        break;
    default:
        say(s, "connection failed");
    }
    return CURL_FAULT_CONNECT;
}

static const char *certificate_fault(const struct curl_fault_input *in)
{
    /* libcurl compares names itself, after OpenSSL found the chain good. */
    if (strstr(in->detail, "subject name") || strstr(in->detail, "target host name") || strstr(in->detail, "ip address"))
        return "certificate is for another host name";
    switch (info_long(in->easy, CURLINFO_SSL_VERIFYRESULT)) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "certificate is not valid yet";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "certificate is self-signed";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return "certificate chain ends in an unknown self-signed certificate";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return "certificate is not signed by a known authority";
    case X509_V_ERR_CERT_REVOKED:
        return "certificate was revoked";
    default:
        return "certificate cannot be verified";
    }
}

static enum curl_fault map_tls(const struct curl_fault_input *in, struct sentence s)
{
    const char *text = "TLS handshake failed";

    if (in->code == CURLE_PEER_FAILED_VERIFICATION)
        text = certificate_fault(in);
    else if (in->code == CURLE_SSL_CACERT_BADFILE)
        text = "the file of CA certificates cannot be read";
    else if (strstr(in->detail, "wrong version number") || strstr(in->detail, "packet length too long"))
        text = "the server does not speak TLS on this port";
    else if (strstr(in->detail, "unsupported protocol") || strstr(in->detail, "alert protocol version"))
        text = "the server offers no TLS version that is safe to use";
    else if (strstr(in->detail, "reset by peer") || strstr(in->detail, "unexpected eof") || strstr(in->detail, "SSL_ERROR_SYSCALL"))
        text = "connection closed during the TLS handshake";
    say(s, "%s", text);
    return CURL_FAULT_TLS;
}

/* A broken stream: before the first byte of an answer it is a failed connection, afterwards a
 * reset, and where libcurl names a reason in the bytes a protocol fault. */
static enum curl_fault map_broken(const struct curl_fault_input *in, struct sentence s)
{
    long connect_code = info_long(in->easy, CURLINFO_HTTP_CONNECTCODE);
    bool has_begun = info_long(in->easy, CURLINFO_RESPONSE_CODE) != 0;

    if (strstr(in->detail, "CONNECT tunnel failed") || strstr(in->detail, "from proxy after CONNECT")) {
        say(s, "the proxy refused the connection (status %ld)", connect_code);
        return CURL_FAULT_CONNECT;
    }
    if (strstr(in->detail, "chunked-encoding") || strstr(in->detail, "hunk") || strstr(in->detail, "Invalid")) {
        say(s, "the answer is framed badly");
        return CURL_FAULT_PROTO;
    }
    if (has_begun) {
        say(s, "the connection broke before the answer was complete");
        return CURL_FAULT_RESET;
    }
    say(s, "the connection was closed without an answer");
    return CURL_FAULT_CONNECT;
}

/* RST_STREAM behind a complete answer is how HTTP/2 servers refuse a body they do not want to
 * read; libcurl 7.88 calls it an error. */
static bool is_answered_stream(const struct curl_fault_input *in)
{
    long status = info_long(in->easy, CURLINFO_RESPONSE_CODE);
    curl_off_t length = -1, got = 0;

    (void)curl_easy_getinfo(in->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    (void)curl_easy_getinfo(in->easy, CURLINFO_SIZE_DOWNLOAD_T, &got);
    return status >= 300 || (status >= 200 && length >= 0 && got >= length);
}

static enum curl_fault map_rest(const struct curl_fault_input *in, struct sentence s)
{
    switch (in->code) {
    case CURLE_URL_MALFORMAT:
        say(s, "the URL cannot be used");
        return CURL_FAULT_URL;
    case CURLE_UNSUPPORTED_PROTOCOL: /* the scheme was checked before: this is HTTP/0.9 */
    case CURLE_WEIRD_SERVER_REPLY:
        say(s, "the answer is not HTTP");
        return CURL_FAULT_PROTO;
    case CURLE_BAD_CONTENT_ENCODING:
        say(s, "the answer's content encoding is broken");
        return CURL_FAULT_PROTO;
    case CURLE_OUT_OF_MEMORY: /* a header line past libcurl's 100 KiB; memory of ours aborts */
        say(s, "a header line of the answer is too long");
        return CURL_FAULT_TOO_LARGE;
    case CURLE_FILESIZE_EXCEEDED:
        say(s, "the answer is larger than %zu bytes", in->max_body_bytes);
        return CURL_FAULT_TOO_LARGE;
    case CURLE_PROXY:
        say(s, "the proxy refused the connection");
        return CURL_FAULT_CONNECT;
    default:
        say(s, "the exchange failed (libcurl %d)", (int)in->code);
        return CURL_FAULT_PROTO;
    }
}

enum curl_fault curl_fault_map(const struct curl_fault_input *in, char *out, size_t out_size)
{
    struct sentence s = {out, out_size};

    out[0] = '\0';
    switch (in->code) {
    case CURLE_OK:
        return CURL_FAULT_NONE;
    case CURLE_COULDNT_RESOLVE_HOST:
        say(s, "host not found");
        return CURL_FAULT_DNS;
    case CURLE_COULDNT_RESOLVE_PROXY:
        say(s, "proxy host not found");
        return CURL_FAULT_DNS;
    case CURLE_COULDNT_CONNECT:
        return map_connect(in, s);
    case CURLE_OPERATION_TIMEDOUT:
        return map_timeout(in, s);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_USE_SSL_FAILED:
        return map_tls(in, s);
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return is_answered_stream(in) ? CURL_FAULT_NONE : map_broken(in, s);
    case CURLE_SEND_ERROR: /* refused while we were still sending: the refusal counts */
        return info_long(in->easy, CURLINFO_RESPONSE_CODE) >= 400 ? CURL_FAULT_NONE : map_broken(in, s);
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return map_broken(in, s);
    default:
        return map_rest(in, s);
    }
}
