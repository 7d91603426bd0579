#include "api/api_batch.h"

#include "api/api_target_edit.h"
#include "api/paste.h"
#include "base/map.h"
#include "net/url.h"

/* ---- filling ---- */

static struct api_batch_item *add(struct api_batch *b)
{
    if (b->count == b->cap) {
        b->cap = b->cap > 0 ? 2 * b->cap : 16;
        b->items = xrealloc(b->items, b->cap * sizeof(*b->items));
    }
    b->items[b->count] = (struct api_batch_item){0};
    return &b->items[b->count++];
}

void api_batch_add(struct api_batch *b, json_t *json, unsigned line)
{
    struct api_batch_item *it = add(b);

    it->json = json_incref(json);
    it->line = line;
}

/* The host stands for a missing name, with a number behind it when that is taken. */
static void name_of_host(struct str url, const struct catalog_snapshot *s, const struct map *names,
                         char *out, size_t cap)
{
    struct url u;
    char host[100];

    if (url_parse(url, &u, NULL) < 0)
        u.host = STR("relay");
    str_copy(host, sizeof(host), u.host);
    snprintf(out, cap, "%s", host);
    for (unsigned n = 2; map_get(names, str_of(out)) || catalog_channel_by_name(s, str_of(out));
         n++)
        snprintf(out, cap, "%s-%u", host, n);
}

static void set_text(json_t *o, const char *key, struct str s)
{
    /* NULL, bytes that are not UTF-8: a JSON body never brings them here */
    json_object_set_new(o, key, json_stringn(s.ptr ? s.ptr : "", s.len));
}

void api_batch_add_paste(struct api_batch *b, const struct catalog_snapshot *s, struct str text)
{
    struct paste_item *lines = xcalloc(PASTE_LINES_MAX, sizeof(*lines));
    struct map *names = map_new(); /* given to lines without one */
    size_t n = paste_parse(text, lines);

    for (size_t i = 0; i < MIN(n, (size_t)PASTE_LINES_MAX); i++) {
        struct api_batch_item *it = add(b);
        struct str name = lines[i].name;
        char made[128];

        if (name.len == 0 && !lines[i].fault) {
            name_of_host(lines[i].url, s, names, made, sizeof(made));
            name = str_of(made);
        }
        if (name.len > 0)
            map_set(names, name, b);
        it->line = lines[i].line;
        it->json = json_object();
        set_text(it->json, "name", name);
        set_text(it->json, "base_url", lines[i].url);
        set_text(it->json, "api_key", lines[i].key);
        if (lines[i].fault)
            err_set(&it->fault, ERR_SYNTAX, "%s", lines[i].fault);
    }
    if (n > PASTE_LINES_MAX)
        err_set(&add(b)->fault, ERR_LIMIT, "%zu lines; at most %d at once", n, PASTE_LINES_MAX);
    map_free(names, NULL);
    xfree(lines);
}

void api_batch_release(struct api_batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        json_decref(b->items[i].json);
        if (b->items[i].after)
            channel_free(b->items[i].after);
    }
    xfree(b->items);
    if (b->snapshot)
        catalog_unref(b->snapshot);
    *b = (struct api_batch){0};
}

/* ---- judging ---- */

static int judge(struct api_batch_item *it, const struct api_call *c,
                 const struct catalog_snapshot *s, bool may_update)
{
    struct str name = str_trim(json_doc_str(json_doc_get(it->json, "name")));
    struct err *e = &it->fault;
    int rc;

    if (!json_is_object(it->json))
        return err_set(e, ERR_SYNTAX, "not an object with the members of a channel");
    it->before = name.len > 0 ? catalog_channel_by_name(s, name) : NULL;
    if (it->before && !may_update)
        return err_set_field(e, ERR_CONFLICT, "name", "a channel of this name exists");
    it->after = it->before ? channel_dup(it->before) : channel_new();
    rc = channel_from_json(it->after, it->json, CHANNEL_JSON_STRICT, &it->is_changed, e);
    if (rc == 0)
        rc = api_target_edit_check(c, it->after, it->before, e);
    if (rc < 0) {
        channel_free(it->after);
        it->after = NULL;
    }
    return rc;
}

void api_batch_plan(struct api_batch *b, const struct api_call *c, struct catalog_snapshot *s,
                    bool may_update)
{
    struct map *names = map_new();

    b->snapshot = catalog_ref(s);
    b->fault_count = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct api_batch_item *it = &b->items[i];

        if (it->fault.code == 0 && judge(it, c, s, may_update) == 0 &&
            map_set(names, str_of(it->after->name), it)) {
            err_set_field(&it->fault, ERR_CONFLICT, "name", "the name stands further up already");
            channel_free(TAKE(it->after));
        }
        b->fault_count += it->fault.code != 0;
    }
    map_free(names, NULL);
}

/* ---- storing ---- */

static int store_one(struct api_batch_item *it, struct catalog_tx *tx, const struct api_call *c,
                     struct err *reterr)
{
    struct buf detail = BUF_INIT(4096); /* names of the table's rows fit */
    int rc;

    it->id = it->after->id;
    if (it->before && !it->is_changed)
        return 0;
    if (it->before) {
        api_target_edit_diff(it->before, it->after, &detail);
        rc = api_target_edit_update(tx, it->after, reterr);
    } else {
        rc = api_target_edit_insert(tx, it->after, &it->id, reterr);
        it->after->id = it->id;
    }
    if (rc == 0)
        rc = api_target_edit_audit(tx, c, it->before ? "channel.update" : "channel.create",
                                   it->after, buf_str(&detail), reterr);
    buf_release(&detail);
    return rc;
}

int api_batch_store(struct api_batch *b, struct catalog_tx *tx, const struct api_call *c,
                    struct err *reterr)
{
    int rc = 0;

    assert(b->fault_count == 0);
    for (size_t i = 0; i < b->count && rc == 0; i++)
        rc = store_one(&b->items[i], tx, c, reterr);
    return rc;
}

/* ---- telling ---- */

static struct str name_shown(const struct api_batch_item *it)
{
    return it->after ? str_of(it->after->name) : json_doc_str(json_doc_get(it->json, "name"));
}

void api_batch_write_faults(const struct api_batch *b, struct json_out *j)
{
    json_out_key(j, "faults");
    json_out_array(j);
    for (size_t i = 0; i < b->count; i++) {
        const struct api_batch_item *it = &b->items[i];

        if (it->fault.code == 0)
            continue;
        json_out_object(j);
        json_out_ki64(j, "index", (int64_t)i);
        if (it->line > 0)
            json_out_ki64(j, "line", it->line);
        json_out_kstr(j, "name", name_shown(it));
        json_out_kcstr(j, "field", it->fault.field[0] ? it->fault.field : NULL);
        json_out_kcstr(j, "detail", it->fault.text);
        json_out_end(j);
    }
    json_out_end(j);
}

static void write_fields(const struct api_batch_item *it, struct json_out *j)
{
    json_out_key(j, "fields");
    json_out_array(j);
    for (size_t i = 0; i < channel_field_count; i++)
        if (!channel_field_equal(&channel_fields[i], it->before, it->after))
            json_out_cstr(j, channel_fields[i].name);
    json_out_end(j);
}

enum part { PART_CREATE, PART_UPDATE, PART_UNCHANGED, PARTS };

static enum part part_of(const struct api_batch_item *it)
{
    return !it->before ? PART_CREATE : it->is_changed ? PART_UPDATE : PART_UNCHANGED;
}

void api_batch_write_plan(const struct api_batch *b, struct json_out *j)
{
    static const char *const names[] = {"create", "update", "unchanged"};

    static_assert(ARRAY_LEN(names) == PARTS, "a name per part");
    for (enum part part = 0; part < PARTS; part++) {
        json_out_key(j, names[part]);
        json_out_array(j);
        for (size_t i = 0; i < b->count; i++) {
            const struct api_batch_item *it = &b->items[i];

            if (!it->after || part_of(it) != part)
                continue;
            json_out_object(j);
            if (it->id > 0 || it->before)
                json_out_ki64(j, "id", it->before ? it->before->id : it->id);
            json_out_kcstr(j, "name", it->after->name);
            if (part == PART_UPDATE)
                write_fields(it, j);
            json_out_end(j);
        }
        json_out_end(j);
    }
}
