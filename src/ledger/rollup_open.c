/* rollup_open.c -- map of row id -> one block {duration bytes, ttft bytes} for the newest period.
 */
#include "ledger/rollup_open.h"

#include "base/map.h"

#define OPEN_ROWS_MAX 32768u /* beyond it rows are read from the store */

struct open_row {
    uint16_t cap, duration_len, ttft_len; /* an encoded histogram is below 3 KiB */
    uint8_t bytes[];
};

struct rollup_open {
    int64_t at; /* the period kept */
    struct map_id *rows;
};

struct rollup_open *rollup_open_new(void)
{
    struct rollup_open *o = xcalloc(1, sizeof(*o));

    o->at = INT64_MIN;
    o->rows = map_id_new();
    return o;
}

void rollup_open_free(struct rollup_open *o)
{
    if (!o)
        return;
    map_id_free(o->rows, xfree);
    xfree(o);
}

void rollup_open_forget(struct rollup_open *o)
{
    if (map_id_count(o->rows) > 0) {
        map_id_free(o->rows, xfree);
        o->rows = map_id_new();
    }
    o->at = INT64_MIN;
}

bool rollup_open_get(struct rollup_open *o, int64_t at, int64_t rk, struct str *ret_duration,
                     struct str *ret_ttft)
{
    struct open_row *row = at == o->at ? map_id_get(o->rows, (uint64_t)rk) : NULL;

    if (!row)
        return false;
    *ret_duration = str_n((const char *)row->bytes, row->duration_len);
    *ret_ttft = str_n((const char *)row->bytes + row->duration_len, row->ttft_len);
    return true;
}

void rollup_open_put(struct rollup_open *o, int64_t at, int64_t rk, struct str duration,
                     struct str ttft)
{
    size_t need = duration.len + ttft.len;
    struct open_row *row;

    if (at < o->at)
        return;
    if (at > o->at) {
        rollup_open_forget(o);
        o->at = at;
    }
    row = map_id_get(o->rows, (uint64_t)rk);
    if (!row && map_id_count(o->rows) >= OPEN_ROWS_MAX)
        return;
    assert(need <= UINT16_MAX / 2);
    if (!row || row->cap < need) {
        size_t cap = need + need / 2; /* rows grow with each batch */

        row = xmalloc(sizeof(*row) + cap);
        row->cap = (uint16_t)cap; /* below 48 Ki by the assert above */
        xfree(map_id_set(o->rows, (uint64_t)rk, row));
    }
    row->duration_len = (uint16_t)duration.len;
    row->ttft_len = (uint16_t)ttft.len;
    if (duration.len > 0)
        memcpy(row->bytes, duration.ptr, duration.len);
    if (ttft.len > 0)
        memcpy(row->bytes + duration.len, ttft.ptr, ttft.len);
}
