/* command_backup.c -- `gatehouse backup FILE`: a consistent copy of the database, taken while the
 * daemon runs or not. The key file is named, not copied: a copy with its key beside it is no
 * protection. */
#include "app.h"
#include "command.h"
#include "store/store.h"

int command_backup(const struct option_set *o, const char *const *words, size_t count)
{
    CLEANUP(xfree_charp) char *data_dir = str_dup(option_text(o, "data_dir"));
    struct store_config cfg = {.data_dir = data_dir, .readers = 1, .read_only = true};
    struct store *store = NULL;
    struct err e = {0};
    int rc;

    if (count != 1) {
        fprintf(stderr, "usage: gatehouse backup FILE\n");
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
    printf("%s\n", words[0]);
    fprintf(stderr, "keep %s/secret.key with it, elsewhere: upstream keys cannot be read without it\n",
            data_dir);
    return APP_OK;
}
