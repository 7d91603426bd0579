/* fuzz_call_event.c -- any bytes as a call event and as a ledger record (a spool of another version,
 * or damaged): refused, or taken so that encoding gives the same meaning again. */
#include "base/err.h"
#include "ledger/ledger_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(struct str bytes)
{
    struct call_event e, back;
    struct buf b = BUF_INIT(64 * 1024);
    size_t used = 0, again = 0;

    if (call_event_decode(bytes, &e, &used) < 0)
        return;
    assert(used <= bytes.len);
    if (call_event_encode(&e, &b) < 0)
        abort();
    assert(buf_len(&b) == used && memcmp(buf_cstr(&b), bytes.ptr, used) == 0);
    if (call_event_decode(buf_str(&b), &back, &again) < 0 || again != used)
        abort();
    call_event_clamp(&e);
    assert(e.duration_us >= 0 && e.usage.input >= 0 && e.ended_utc_ms >= 0);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n(size ? (const char *)data : NULL, size);
    struct buf b = BUF_INIT(LEDGER_RECORD_MAX);
    static struct ledger_record r; /* large */

    check_event(bytes);
    if (ledger_record_decode(bytes, &r) == 0) {
        if (ledger_record_encode(&r, &b) < 0)
            abort();
        assert(buf_len(&b) == size && memcmp(buf_cstr(&b), data, size) == 0);
    }
    buf_release(&b);
    return 0;
}
