/* command_backup.c -- `gatehouse backup FILE`: a consistent copy of the database, taken while the
 * daemon runs or not. The key file is named, not copied: a copy with its key beside it is no
 * protection. */
#include "app.h"
#include "base/json_out.h"
#include "command.h"
#include "command_output.h"
#include "store/store.h"

#include <sys/stat.h>

static int tell(const struct option_set *o, const char *path, const char *data_dir)
{
    struct buf out = BUF_INIT(64 * 1024);
    struct json_out j;
    struct stat st;
    int code;

    if (command_output_form(o) == COMMAND_JSON) {
        CLEANUP(xfree_charp) char *key = NULL;
        struct buf key_path = BUF_INIT(16 * 1024);

        buf_putf(&key_path, "%s/secret.key", data_dir);
        key = buf_take_cstr(&key_path, NULL);
        json_out_init(&j, &out);
        json_out_object(&j);
        json_out_kcstr(&j, "file", path);
        json_out_ki64(&j, "bytes", stat(path, &st) == 0 ? (int64_t)st.st_size : 0);
        json_out_kcstr(&j, "key_file", option_text(o, "secret_key").len ? NULL : key);
        json_out_end(&j);
        buf_put(&out, STR("\n"));
    } else {
        buf_putf(&out, "%s\n", path);
    }
    code = command_output_write(&out);
    buf_release(&out);
    return code;
}

int command_backup(const struct option_set *o, const char *const *words, size_t count)
{
    CLEANUP(xfree_charp) char *data_dir = str_dup(option_text(o, "data_dir"));
    struct store_config cfg = {.data_dir = data_dir, .readers = 1, .read_only = true};
    struct store *store = NULL;
    struct err e = {0};
    int rc;

    if (count != 1) {
        fprintf(stderr, "usage: gatehouse backup FILE [--json]\n");
        return APP_USAGE;
    }
    rc = store_open(&cfg, &store, &e);
    if (rc == 0)
        rc = store_backup(store, words[0], &e);
    store_close(store);
    if (rc < 0) {
        fprintf(stderr, "gatehouse: backup: %s\n", e.text);
        return APP_FAILED;
    }
    if (option_text(o, "secret_key").len == 0)
        fprintf(stderr,
                "keep %s/secret.key with it, elsewhere: upstream keys cannot be read without it\n",
                data_dir);
    return tell(o, words[0], data_dir);
}
