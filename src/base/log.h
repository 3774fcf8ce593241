/*
 * log.h - the only way the host prints. Lines go to one descriptor (standard error) in one write(2)
 * each, pretty or as JSON lines. Values registered as secrets are replaced by "[redacted]" wherever
 * they appear, in every line. Thread-safe. One `struct log` per process, created in main.
 */
#ifndef PERILUNE_LOG_H
#define PERILUNE_LOG_H

#include "buf.h"
#include "clock.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };
enum log_format { LOG_TEXT, LOG_JSON };

struct log;

struct log *log_new(int fd, struct clock *clock);
void log_free(struct log *l);
void log_set_level(struct log *l, enum log_level level);
void log_set_format(struct log *l, enum log_format format, bool use_colour);
bool log_is_on(struct log *l, enum log_level level);
MUST_CHECK bool log_level_parse(const char *name, enum log_level *level); /* "debug" ... "off" */

/* `area` is a short word: "fetch", "store", "script". `fields_json` is NULL or a JSON object whose
 * members are added to a JSON line, and appended as text to a pretty one. */
void log_write(struct log *l, enum log_level level, const char *area, struct slice message, struct slice fields_json);
void log_printf(struct log *l, enum log_level level, const char *area, const char *format, ...) PRINTF_LIKE(4, 5);

/* Registers a value that must never be printed. Shorter than 8 bytes is ignored (returns false): it
 * would hide ordinary words. Copied; wiped when the log is freed. */
bool log_secret_add(struct log *l, const char *value, size_t bytes);
/* Appends `text` to `out` with every secret replaced. Also used for errors and recordings. */
MUST_CHECK enum err log_redact(struct log *l, struct slice text, struct buf *out);

#endif
