/* board_bench.c -- time and memory of filling the board from a large probe_results.
 *
 *   board_bench DIR [rows a model]     1,000 channels x 10 models; DIR is made and left behind */
#include "base/clock.h"
#include "health/board.h"
#include "store/store.h"

#include <inttypes.h>
#include <unistd.h>

#define CHANNELS 1000
#define MODELS   10

static long resident_kib(void)
{
    long pages = 0, resident = 0;
    FILE *s = fopen("/proc/self/statm", "r");

    if (!s || fscanf(s, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (s)
        fclose(s);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void die(const struct err *e)
{
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static void exec_sql(struct store *s, const char *sql)
{
    struct store_conn *c = store_writer_lock(s);
    struct err e;

    if (store_exec(c, sql, &e) < 0)
        die(&e);
    store_writer_unlock(s);
}

/* One run per round over all channels, in the order that probes come in. */
static void fill(struct store *s, unsigned rounds)
{
    static const char rows[] =
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<9999)"
        " INSERT INTO probe_results(item_kind,item_id,run_id,at_utc_ms,model,protocol,route,endpoint,outcome,status,"
        "success,transport_success,duration_us,ttfb_us,http_status,content,error)"
        " SELECT 0,i/10+1,?1*1000+i/10+1,1767225600000+?1*1800000+i,'some-model-'||(i%10)||'-2026-01-01','openai','chat','chat',"
        "iif(i%7=?1%7,7,0),iif(i%7=?1%7,0,1),i%7<>?1%7,1,812345,200000,200,'I am a model with an answer of usual length.',"
        "iif(i%7=?1%7,'HTTP 500: upstream failed',NULL) FROM n";
    static const char runs[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)"
        " INSERT INTO runs(id,channel_id,started_utc_ms,finished_utc_ms,status,total,success,fail)"
        " SELECT ?1*1000+i,i,1767225600000+?1*1800000,1767225600000+?1*1800000+9000,'completed',10,9,1 FROM n";

    for (unsigned round = 0; round < rounds; round++) {
        const char *const both[] = {runs, rows};
        struct store_conn *c = store_writer_lock(s);
        struct store_stmt *st;
        struct err e;

        if (store_begin(c, &e) < 0)
            die(&e);
        for (unsigned i = 0; i < ARRAY_LEN(both); i++) {
            if (store_prepare(c, both[i], &st, &e) < 0)
                die(&e);
            store_bind_i64(st, 1, round);
            if (store_run(st, &e) < 0)
                die(&e);
        }
        if (store_commit(c, &e) < 0)
            die(&e);
        store_writer_unlock(s);
    }
}

static void load(struct store *s, const char *what)
{
    struct board *b = board_new();
    struct store_conn *c = store_writer_lock(s);
    long before = resident_kib();
    uint64_t began = clock_mono_us();
    int64_t id = CHANNELS / 2;
    struct board_view *v;
    struct err e;

    if (board_load(b, c, &e) < 0)
        die(&e);
    store_writer_unlock(s);
    board_get(b, &id, 1, &v);
    printf("%s: %.0f ms, %ld KiB more resident, %zu models in a view, %u points each\n", what,
           (double)(clock_mono_us() - began) / 1000, resident_kib() - before, v->model_count, v->models[0].point_count);
    board_view_unref(v);
    board_free(b);
}

int main(int argc, char **argv)
{
    struct store_config sc = {.data_dir = argc > 1 ? argv[1] : "", .readers = 1};
    uint64_t rounds = 100;
    struct store *s;
    struct err e;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || (argc > 2 && str_to_u64(str_of(argv[2]), 10000, &rounds) < 0)) {
        fprintf(stderr, "usage: board_bench DIR [rows a model]\n");
        return 64;
    }
    if (store_open(&sc, &s, &e) < 0)
        die(&e);
    if (store_is_new(s)) {
        exec_sql(s, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)"
                    " INSERT INTO channels(id,name,base_url,api_key,prompt,created_utc_ms,updated_utc_ms)"
                    " SELECT i,'channel '||i,'http://x',x'00','p',1,1 FROM n");
        fill(s, (unsigned)rounds); /* at most 10,000 */
    }
    printf("%" PRIu64 " rows, %" PRId64 " MiB database\n", rounds * CHANNELS * MODELS, store_db_bytes(s) / (1 << 20));
    load(s, "first load");
    load(s, "second load");
    store_close(s);
    return 0;
}
