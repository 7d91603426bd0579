/* log.h -- the text log: one record is one line on stderr, whatever bytes went into it.
 *
 *   2026-11-21T09:28:15.123Z info [probe] run ended channel=7 run=42 status=degraded
 *
 * Format text (default on a terminal and in containers), json, or journal (<N> priority prefix).
 * Control characters, ANSI escapes and bad UTF-8 are escaped as \xNN, a line is cut at 8 KiB with
 * a mark. Never log a secret. Base, net and store log at debug only; the domain logs once, where
 * the meaning is known. Thread-safe; a line is one write(2). */
#pragma once

#include "base/base.h"
#include "base/str.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVELS };
enum log_format { LOG_TEXT, LOG_JSON, LOG_JOURNAL };

void log_setup(enum log_level level, enum log_format format, int fd);
enum log_level log_level_get(void);
void log_level_set(enum log_level level);
MUST_USE int log_level_parse(struct str name, enum log_level *ret);

void log_write(enum log_level level, const char *module, const char *fmt, ...) PRINTF(3, 4);

/* `module` is a short literal: "probe", "http", "ledger". */
#define log_error(module, ...) log_write(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  log_write(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  log_write(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...)                                                                     \
    do {                                                                                           \
        if (log_level_get() >= LOG_DEBUG)                                                          \
            log_write(LOG_DEBUG, module, __VA_ARGS__);                                             \
    } while (0)
