/* fuzz_wire.c -- all readers of upstream answers with any bytes. The first byte chooses format and
 * leniency, the second the status; texts must stay UTF-8 and short, counters must not be negative.
 */
#include "llm/wire.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s, size_t cap)
{
    size_t len = strnlen(s, cap);

    if (len == cap || !str_is_utf8(str_n(s, len)))
        abort();
}

static void check_reply(const struct wire_reply *r)
{
    const struct usage *u = &r->usage;

    check_text(r->text, WIRE_TEXT_MAX + 1);
    check_text(r->error, WIRE_TEXT_MAX + 1);
    check_text(r->error_code, sizeof(r->error_code));
    check_text(r->model, sizeof(r->model));
    if (u->input < 0 || u->cache_read < 0 || u->cache_write_5m < 0 || u->cache_write_1h < 0 ||
        u->output < 0 || u->reasoning < 0 || u->unsplit < 0 || usage_total(u) < 0)
        abort();
}

static void take_id(void *ctx, struct str id)
{
    if (!str_is_utf8(id) || id.len == 0 || id.len > 1024 + 4)
        abort();
    ++*(size_t *)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reply r;
    struct str body;
    const struct wire *w;
    char error[WIRE_ERROR_MAX];
    size_t models = 0;
    struct err err;

    if (size < 2)
        return 0;
    w = wire_of((enum protocol)(PROTOCOL_OPENAI_CHAT + (data[0] & 3)));
    body = str_n((const char *)data + 2, size - 2);
    w->read_reply(body, (data[0] & 4) != 0, &r);
    check_reply(&r);
    (void)wire_judge(data[1] < 128 ? 200 + data[1] % 5 : data[1] * 3, body, &r, (data[0] & 4) != 0,
                     error);
    check_text(error, sizeof(error));
    if (wire_read_models(body, take_id, &models, &err) == 0 && models == 0)
        abort();

    /* lines as the events of a stream */
    r = (struct wire_reply){.usage_source = USAGE_NONE};
    for (struct str rest = body, line; str_split(&rest, '\n', &line);) {
        (void)w->read_event(STR_NONE, line, &r);
        check_reply(&r);
    }
    wire_end_stream(&r);
    check_reply(&r);
    return 0;
}
