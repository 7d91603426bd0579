/* map.h -- hash map from text or 64-bit number to pointer; open addressing, keys of text maps
 * are copied. Not thread-safe. Iteration order is unspecified; do not change the map while iterating. */
#pragma once

#include "base/base.h"
#include "base/str.h"

struct map; /* text -> void * */

struct map *map_new(void);
void map_free(struct map *m, void (*free_value)(void *)); /* m and free_value may be NULL */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, struct str key); /* NULL when absent */
/* Previous value or NULL; value is not NULL. */
void *map_set(struct map *m, struct str key, void *value);
void *map_del(struct map *m, struct str key);              /* the value that was there, or NULL */
/* `size_t it = 0; while (map_next(m, &it, &key, &value))` */
bool map_next(const struct map *m, size_t *it, struct str *ret_key, void **ret_value);

struct map_id; /* uint64_t -> void * */

struct map_id *map_id_new(void);
void map_id_free(struct map_id *m, void (*free_value)(void *));
size_t map_id_count(const struct map_id *m);
void *map_id_get(const struct map_id *m, uint64_t key);
void *map_id_set(struct map_id *m, uint64_t key, void *value);
void *map_id_del(struct map_id *m, uint64_t key);
bool map_id_next(const struct map_id *m, size_t *it, uint64_t *ret_key, void **ret_value);
