/* probe_call.c -- see probe_call.h. */
#include "probe/probe_call.h"

struct str probe_call_key(const struct channel *ch, unsigned turn)
{
    size_t n = turn % (ch->api_key_count + 1);

    return n == 0 ? secret_str(&ch->api_key) : secret_str(&ch->api_keys[n - 1]);
}

static int add_line(struct buf *b, const char *name, struct str value)
{
    int rc = buf_add_str(b, str_of(name));

    if (rc == 0)
        rc = buf_add_str(b, STR(": "));
    if (rc == 0)
        rc = buf_add_str(b, value);
    return rc == 0 ? buf_add_char(b, '\0') : rc;
}

static void split_lines(struct probe_call_headers *h)
{
    struct str rest = buf_str(&h->text);
    size_t n = 0;

    while (rest.len > 0 && n + 1 < ARRAY_LEN(h->lines)) {
        h->lines[n++] = rest.ptr;
        rest = str_cut(rest, strlen(rest.ptr) + 1, rest.len);
    }
    h->lines[n] = NULL;
}

int probe_call_headers_init(struct probe_call_headers *h, const struct channel *ch,
                            const char *user_agent, struct str key, const struct wire *wire)
{
    const char *agent = ch->user_agent ? ch->user_agent : user_agent;
    struct str bearer[] = {STR("Authorization: Bearer "), key};
    int rc;

    buf_init(&h->text, 64 * 1024);
    rc = buf_reserve(&h->text,
                     1024 + 2 * key.len + strlen(agent)); /* growth would leave keys behind */
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(bearer); i++)
        rc = buf_add_str(&h->text, bearer[i]);
    if (rc == 0)
        rc = buf_add_char(&h->text, '\0');
    if (rc == 0)
        rc = add_line(&h->text, "User-Agent", str_of(agent));
    if (rc == 0)
        rc = add_line(&h->text, "Accept", STR("application/json, text/plain, */*"));
    if (rc == 0)
        rc = add_line(&h->text, "Accept-Language", STR("en-US,en;q=0.9"));
    if (rc == 0 && wire)
        rc = add_line(&h->text, "Content-Type", STR("application/json"));
    if (rc == 0 && wire)
        rc = wire->probe_headers(&h->text, key, str_of(ch->anthropic_version));
    if (rc == 0)
        split_lines(h);
    else
        probe_call_headers_release(h);
    return rc;
}

void probe_call_headers_release(struct probe_call_headers *h)
{
    buf_secure_release(&h->text);
    h->lines[0] = NULL;
}

uint64_t probe_call_timeout_ms(const struct channel *ch)
{
    return (uint64_t)(ch->timeout_s * 1000); /* 3..300 s by the field table */
}

void probe_call_redact(const struct channel *ch, char *text)
{
    secret_redact(text, secret_str(&ch->api_key));
    for (size_t i = 0; i < ch->api_key_count; i++)
        secret_redact(text, secret_str(&ch->api_keys[i]));
}

unsigned probe_call_flags(const struct channel *ch)
{
    return (ch->by_visitor ? 0 : CURL_CALL_PRIVATE_OK) | (ch->verify_ssl ? CURL_CALL_VERIFY : 0);
}

enum outcome probe_call_outcome(const struct curl_answer *a)
{
    switch (a->fault) {
    case CURL_FAULT_DNS:
        return OUTCOME_DNS;
    case CURL_FAULT_CONNECT:
        return OUTCOME_CONNECT;
    case CURL_FAULT_TLS:
        return OUTCOME_TLS;
    case CURL_FAULT_TIMEOUT:
        return a->status != 0 ? OUTCOME_STREAM_TIMEOUT : OUTCOME_TIMEOUT;
    case CURL_FAULT_RESET:
        return OUTCOME_BROKEN;
    case CURL_FAULT_PROTO:
        return OUTCOME_PROTOCOL;
    case CURL_FAULT_TOO_LARGE:
        return OUTCOME_TOO_LARGE;
    case CURL_FAULT_EGRESS:
        return OUTCOME_EGRESS;
    case CURL_FAULT_URL:
        return OUTCOME_BAD_URL;
    case CURL_FAULT_CANCELLED:
    case CURL_FAULT_NONE:
        break;
    }
    return OUTCOME_CANCELLED;
}

void probe_call_failure(const char *method, const char *url, const struct curl_answer *a,
                        char out[PROBE_CALL_ERROR_MAX])
{
    struct str shown = str_cut_utf8(str_until(str_of(url), '?'), 600);

    snprintf(out, PROBE_CALL_ERROR_MAX, "HTTP %s %.*s failed (%lldms): %s", method, STR_ARG(shown),
             (long long)(a->timing.total_us / 1000),
             a->error[0] ? a->error : curl_fault_name(a->fault));
}

bool probe_call_redirect(const struct curl_answer *a, char *out, size_t cap)
{
    struct str to = str_cut_utf8(str_until(a->location, '?'), 300);

    if (a->status / 100 != 3)
        return false;
    if (to.len == 0 || !str_is_utf8(to) || str_has_control(to))
        snprintf(out, cap, "redirects are not followed");
    else
        snprintf(out, cap, "redirects are not followed (to %.*s)", STR_ARG(to));
    return true;
}
