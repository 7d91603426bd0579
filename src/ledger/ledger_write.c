/* ledger_write.c -- one batch as rows: raw event and its id, probe detail, run and channel state,
 * notable call, roll-ups. The id row decides: an event that is there already leaves no other trace.
 */
#include "ledger/ledger_private.h"

#include "base/err.h"

#define NOTABLE_US 1000000 /* slower than this is notable */

static const char id_sql[] = "INSERT OR IGNORE INTO call_ids(id,row) VALUES(?1,?2)";
static const char event_sql[] =
    "INSERT INTO call_events(row,id,ended_utc_ms,origin,kind,site,source,provider,grp,user,key_id,"
    "channel_id,model,served_model,protocol,outcome,http_status,is_stream,duration_us,ttft_us,"
    "t_input,t_cache_read,t_cache_write_5m,t_cache_write_1h,t_output,t_reasoning,t_unsplit,"
    "cost_nano_usd,charge_units,usage_source,cost_source,price_version,request_id,"
    "upstream_request_id,command,error_class,error_text,attempts)"
    " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
static const char notable_sql[] =
    "INSERT INTO "
    "notable(row,ended_utc_ms,origin,kind,site,channel_id,model,user,duration_us,outcome)"
    " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)";
/* Not for a channel that was deleted meanwhile. */
static const char probe_sql[] =
    "INSERT OR IGNORE INTO "
    "probe_results(id,item_kind,item_id,run_id,at_utc_ms,model,protocol,route,"
    "endpoint,outcome,status,sub_status,success,transport_success,is_stream,duration_us,ttfb_us,"
    "ttft_us,ping_us,dns_us,connect_us,tls_us,http_status,tool_calls_count,tool_calls,content,"
    "error)"
    " SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,"
    "?24,?25,?26,?27 WHERE ?2<>0 OR EXISTS(SELECT 1 FROM channels WHERE id=?3)";
/* The end of a run is final: its beginning may be replayed after it. */
static const char run_sql[] =
    "INSERT INTO runs(id,channel_id,started_utc_ms,finished_utc_ms,status,total,success,fail,"
    "log_file,error,cause) SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11"
    " WHERE EXISTS(SELECT 1 FROM channels WHERE id=?2)"
    " ON CONFLICT(id) DO UPDATE SET "
    "finished_utc_ms=excluded.finished_utc_ms,status=excluded.status,"
    "total=excluded.total,success=excluded.success,fail=excluded.fail,log_file=excluded.log_file,"
    "error=excluded.error WHERE finished_utc_ms IS NULL";
static const char state_sql[] =
    "INSERT INTO channel_state(channel_id,last_run_id,last_run_utc_ms,last_status,last_total,"
    "last_success,last_fail,last_log_file,last_error) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)"
    " ON CONFLICT(channel_id) DO UPDATE SET last_run_id=excluded.last_run_id,"
    "last_run_utc_ms=excluded.last_run_utc_ms,last_status=excluded.last_status,"
    "last_total=excluded.last_total,last_success=excluded.last_success,last_fail=excluded.last_"
    "fail,"
    "last_log_file=excluded.last_log_file,last_error=excluded.last_error"
    " WHERE last_run_id IS NULL OR last_run_id<=excluded.last_run_id";

struct bound;

struct statements { /* of one batch */
    struct store_stmt *id, *event, *notable, *probe, *run, *state;
    struct bound *bound; /* of `event` */
};

static int prepare(struct store_conn *c, struct statements *st, struct err *reterr)
{
    const struct {
        const char *sql;
        struct store_stmt **ret;
    } all[] = {{id_sql, &st->id},       {event_sql, &st->event}, {notable_sql, &st->notable},
               {probe_sql, &st->probe}, {run_sql, &st->run},     {state_sql, &st->state}};

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        int rc = store_prepare(c, all[i].sql, all[i].ret, reterr);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static void bind_text(struct store_stmt *st, int i, struct str s)
{
    store_bind_str(st, i, s.len > 0 ? s : STR_NONE); /* nothing is NULL */
}

static void bind_full(struct store_stmt *st, int i, struct str s)
{
    store_bind_str(st, i, s.len > 0 ? s : STR("")); /* NOT NULL columns */
}

static void bind_known(struct store_stmt *st, int i, int64_t v)
{
    if (v != 0)
        store_bind_i64(st, i, v);
    else
        store_bind_null(st, i);
}

/* The columns of an event and what is bound to them: values stay bound from row to row, and most
 * are the same again, so only changes are bound. Texts are bound anew unless both are absent. */
#define EVENT_COLUMNS 38u

struct bound {
    struct store_stmt *st;
    int at; /* column bound last, from 1 */
    bool is_known[EVENT_COLUMNS + 1];
    int64_t value[EVENT_COLUMNS + 1]; /* of a text: is there one */
};

static void event_i64(struct bound *b, int64_t v)
{
    int i = ++b->at;

    if (b->is_known[i] && b->value[i] == v)
        return;
    store_bind_i64(b->st, i, v);
    b->is_known[i] = true;
    b->value[i] = v;
}

static void event_text(struct bound *b, struct str s)
{
    int i = ++b->at;

    if (s.len == 0 && b->is_known[i] && b->value[i] == 0)
        return;
    bind_text(b->st, i, s);
    b->is_known[i] = true;
    b->value[i] = s.len > 0;
}

static int insert_event(struct bound *b, int64_t row, const struct call_event *e,
                        struct err *reterr)
{
    b->at = 0;
    event_i64(b, row);
    store_bind_blob(b->st, ++b->at, e->id.bytes, sizeof(e->id.bytes));
    event_i64(b, e->ended_utc_ms);
    event_i64(b, e->origin);
    event_i64(b, e->kind);
    event_i64(b, e->site);
    event_text(b, e->source);
    event_text(b, e->provider);
    event_text(b, e->group);
    event_text(b, e->user);
    event_i64(b, e->key_id);
    event_i64(b, e->channel_id);
    event_text(b, e->model);
    event_text(b, e->served_model);
    event_i64(b, e->protocol);
    event_i64(b, e->outcome);
    event_i64(b, e->http_status);
    event_i64(b, e->is_stream);
    event_i64(b, e->duration_us);
    event_i64(b, e->ttft_us);
    event_i64(b, e->usage.input);
    event_i64(b, e->usage.cache_read);
    event_i64(b, e->usage.cache_write_5m);
    event_i64(b, e->usage.cache_write_1h);
    event_i64(b, e->usage.output);
    event_i64(b, e->usage.reasoning);
    event_i64(b, e->usage.unsplit);
    event_i64(b, e->cost_nano_usd);
    event_i64(b, e->charge_units);
    event_i64(b, e->usage_source);
    event_i64(b, e->cost_source);
    event_i64(b, e->price_version);
    event_text(b, e->request_id);
    event_text(b, e->upstream_request_id);
    event_text(b, e->command);
    event_text(b, e->error_class);
    event_text(b, e->error_text);
    event_i64(b, e->attempts);
    assert(b->at == (int)EVENT_COLUMNS);
    return store_step(b->st, reterr);
}

static bool is_notable(const struct call_event *e)
{
    return e->duration_us > NOTABLE_US || outcome_rows[e->outcome].class != OUTCOME_CLASS_OK;
}

static int insert_notable(struct store_stmt *st, int64_t row, const struct call_event *e,
                          struct err *reterr)
{
    store_bind_i64(st, 1, row);
    store_bind_i64(st, 2, e->ended_utc_ms);
    store_bind_i64(st, 3, e->origin);
    store_bind_i64(st, 4, e->kind);
    store_bind_i64(st, 5, e->site);
    store_bind_i64(st, 6, e->channel_id);
    bind_text(st, 7, e->model);
    bind_text(st, 8, e->user);
    store_bind_i64(st, 9, e->duration_us);
    store_bind_i64(st, 10, e->outcome);
    return store_run(st, reterr);
}

/* *ret_new: false when the channel is gone or the row was there. */
static int insert_probe(struct store_stmt *st, struct store_conn *c, const struct ledger_record *r,
                        bool *ret_new, struct err *reterr)
{
    const struct call_event *e = &r->call;
    const struct ledger_probe *d = &r->probe;
    int i = 1, rc;

    bind_known(st, i++, d->id); /* NULL: SQLite gives the next one */
    store_bind_i64(st, i++, d->item_kind);
    store_bind_i64(st, i++, d->item_id);
    store_bind_i64(st, i++, d->run_id);
    store_bind_i64(st, i++, d->at_utc_ms);
    bind_full(st, i++, e->model);
    bind_full(st, i++, d->family);
    bind_full(st, i++, d->route);
    bind_full(st, i++, d->endpoint);
    store_bind_i64(st, i++, e->outcome);
    store_bind_i64(st, i++, d->status);
    bind_full(st, i++, d->sub_status);
    store_bind_i64(st, i++, d->success);
    store_bind_i64(st, i++, d->transport_success);
    store_bind_i64(st, i++, e->is_stream);
    store_bind_i64(st, i++, e->duration_us);
    bind_known(st, i++, d->ttfb_us);
    bind_known(st, i++, e->ttft_us);
    bind_known(st, i++, d->ping_us);
    bind_known(st, i++, d->dns_us);
    bind_known(st, i++, d->connect_us);
    bind_known(st, i++, d->tls_us);
    bind_known(st, i++, e->http_status);
    store_bind_i64(st, i++, d->tool_calls_count);
    bind_text(st, i++, d->tool_calls);
    bind_text(st, i++, d->content);
    bind_text(st, i, d->error);
    rc = store_run(st, reterr);
    *ret_new = rc == 0 && store_changes(c) > 0;
    return rc;
}

static int insert_state(struct store_stmt *st, const struct ledger_run *r, struct err *reterr)
{
    store_bind_i64(st, 1, r->channel_id);
    store_bind_i64(st, 2, r->id);
    store_bind_i64(st, 3, r->finished_utc_ms);
    bind_text(st, 4, r->channel_status);
    store_bind_i64(st, 5, r->total);
    store_bind_i64(st, 6, r->success);
    store_bind_i64(st, 7, r->fail);
    bind_text(st, 8, r->log_file);
    bind_text(st, 9, r->error);
    return store_run(st, reterr);
}

/* *ret_new: false when the channel is gone or the run had ended already. */
static int insert_run(const struct statements *st, struct store_conn *c, const struct ledger_run *r,
                      bool *ret_new, struct err *reterr)
{
    int rc;

    *ret_new = false;
    store_bind_i64(st->run, 1, r->id);
    store_bind_i64(st->run, 2, r->channel_id);
    store_bind_i64(st->run, 3, r->started_utc_ms);
    bind_known(st->run, 4, r->finished_utc_ms);
    bind_full(st->run, 5, r->status);
    store_bind_i64(st->run, 6, r->total);
    store_bind_i64(st->run, 7, r->success);
    store_bind_i64(st->run, 8, r->fail);
    bind_text(st->run, 9, r->log_file);
    bind_text(st->run, 10, r->error);
    store_bind_str(st->run, 11, r->cause.len > 0 ? r->cause : STR("schedule"));
    rc = store_run(st->run, reterr);
    if (rc < 0 || store_changes(c) == 0)
        return rc;
    *ret_new = true;
    if (r->finished_utc_ms == 0 || r->channel_status.len == 0)
        return 0;
    return insert_state(st->state, r, reterr);
}

/* Call or probe. *ret_new false: a duplicate. A probe whose channel is gone becomes a plain call.
 */
static int insert_call(struct ledger_writer *w, const struct statements *st, struct store_conn *c,
                       struct ledger_record *r, bool *ret_new, struct err *reterr)
{
    struct call_event *e = &r->call;
    int64_t row = w->next_row;
    bool has_detail = false;
    int rc;

    *ret_new = false;
    call_event_clamp(e);
    store_bind_blob(st->id, 1, e->id.bytes, sizeof(e->id.bytes));
    store_bind_i64(st->id, 2, row);
    rc = store_step(st->id, reterr);
    if (rc < 0 || store_changes(c) == 0)
        return rc;
    w->next_row++;
    *ret_new = true;
    rc = insert_event(st->bound, row, e, reterr);
    if (rc == 0 && is_notable(e))
        rc = insert_notable(st->notable, row, e, reterr);
    if (rc == 0)
        rc = rollup_add(w->rollup, c, e, reterr);
    if (rc < 0 || r->kind != LEDGER_PROBE)
        return rc;
    rc = insert_probe(st->probe, c, r, &has_detail, reterr);
    if (!has_detail)
        r->kind = LEDGER_CALL;
    else if (r->probe.id == 0)
        r->probe.id = store_last_id(c);
    return rc;
}

static int insert_record(struct ledger_writer *w, const struct statements *st, struct store_conn *c,
                         struct ledger_record *r, struct ledger_written *ret, struct err *reterr)
{
    bool is_new = false;
    int rc;

    if (r->kind == LEDGER_RUN) {
        rc = insert_run(st, c, &r->run, &is_new, reterr);
    } else {
        rc = insert_call(w, st, c, r, &is_new, reterr);
        ret->duplicates += rc == 0 && !is_new;
    }
    if (rc == 0 && is_new)
        ret->count++;
    return rc;
}

int ledger_write(struct ledger_writer *w, struct store_conn *c, const struct ledger_batch *b,
                 struct ledger_written *ret, struct err *reterr)
{
    struct bound bound = {0};
    struct statements st = {.bound = &bound};
    struct str queued;
    size_t at = 0;
    int rc = prepare(c, &st, reterr);

    bound.st = st.event;
    *ret = (struct ledger_written){0};
    while (rc == 0 && ledger_batch_next(b, &at, &queued)) {
        struct ledger_record *r = &w->records[ret->count];

        if (ledger_record_decode(str_n(queued.ptr + LEDGER_HEAD, queued.len - LEDGER_HEAD), r) <
            0) {
            ret->refused++; /* of another version, in an old spool */
            continue;
        }
        r->seq = ledger_queued_number(queued);
        rc = insert_record(w, &st, c, r, ret, reterr);
    }
    if (st.id)
        store_reset(st.id); /* what they have bound dies with the batch */
    if (st.event)
        store_reset(st.event);
    return rc == 0 ? rollup_flush(w->rollup, c, reterr) : rc;
}

void ledger_write_abort(struct ledger_writer *w)
{
    rollup_abort(w->rollup);
}

static int one_i64(struct store_conn *c, const char *sql, int64_t *ret, struct err *reterr)
{
    struct store_stmt *st;
    int rc = store_prepare(c, sql, &st, reterr);

    if (rc < 0)
        return rc;
    rc = store_step(st, reterr);
    if (rc >= 0)
        *ret = rc > 0 ? store_col_i64(st, 0) : 0;
    store_reset(st);
    return MIN(rc, 0);
}

int ledger_write_seed(struct ledger_writer *w, struct store_conn *c, struct err *reterr)
{
    int64_t row = 0;
    int rc = one_i64(c,
                     "SELECT max(coalesce((SELECT max(row) FROM call_events),0),"
                     "coalesce((SELECT max(row) FROM notable),0))",
                     &row, reterr);

    if (rc == 0)
        w->next_row = row + 1;
    return rc;
}

int ledger_write_last_run(struct store_conn *c, int64_t *ret, struct err *reterr)
{
    /* sqlite_sequence: the id of a run that was deleted is not given again. */
    return one_i64(c,
                   "SELECT max(coalesce((SELECT max(id) FROM runs),0),"
                   "coalesce((SELECT seq FROM sqlite_sequence WHERE name='runs'),0))",
                   ret, reterr);
}
