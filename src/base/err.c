/*
 * err.c - the table of error codes, and the two functions that fill an err_info.
 */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *kind, *code;
} names[ERR_COUNT] = {
    [ERR_OK] = {"internal", "ok"},
    [ERR_LIMIT] = {"internal", "limit"},
    [ERR_CLOSED] = {"internal", "closed"},
    [ERR_BUSY] = {"conflict", "busy"},
    [ERR_CANCELLED] = {"cancelled", "cancelled"},
    [ERR_INVALID] = {"internal", "invalid"},
    [ERR_NOT_FOUND] = {"not_found", "not_found"},
    [ERR_PERMISSION] = {"permission", "permission"},
    [ERR_IO] = {"internal", "io"},
    [ERR_DNS] = {"connection", "dns"},
    [ERR_REFUSED] = {"connection", "refused"},
    [ERR_UNREACHABLE] = {"connection", "unreachable"},
    [ERR_RESET] = {"connection", "reset"},
    [ERR_CUT_OFF] = {"connection", "closed"},
    [ERR_NO_DESCRIPTORS] = {"connection", "no_descriptors"},
    [ERR_TLS_CERTIFICATE] = {"tls", "certificate"},
    [ERR_TLS_HANDSHAKE] = {"tls", "handshake"},
    [ERR_PROTOCOL] = {"bad_response", "protocol"},
    [ERR_TIMEOUT_DNS] = {"timeout", "dns"},
    [ERR_TIMEOUT_CONNECT] = {"timeout", "connect"},
    [ERR_TIMEOUT_TLS] = {"timeout", "tls"},
    [ERR_TIMEOUT_FIRST_BYTE] = {"timeout", "first_byte"},
    [ERR_TIMEOUT_FIRST_CONTENT] = {"timeout", "first_content"},
    [ERR_TIMEOUT_IDLE] = {"timeout", "idle"},
    [ERR_TIMEOUT_PROGRESS] = {"timeout", "progress"},
    [ERR_TIMEOUT_TOTAL] = {"timeout", "total"},
    [ERR_TIMEOUT] = {"timeout", "deadline"},
    [ERR_BAD_BODY] = {"bad_response", "encoding"},
    [ERR_UNAVAILABLE] = {"configuration", "unavailable"},
    [ERR_DB] = {"database", "sql"},
    [ERR_DB_LOCKED] = {"database", "locked"},
    [ERR_DB_CORRUPT] = {"database", "corrupt"},
    [ERR_DB_NEWER] = {"database", "newer"},
    [ERR_DB_READONLY] = {"database", "read_only"},
    [ERR_DB_FULL] = {"database", "full"},
    [ERR_DB_CONSTRAINT] = {"conflict", "constraint"},
    [ERR_DB_OPEN] = {"database", "open"},
    [ERR_BUDGET] = {"budget", "budget"},
    [ERR_JSON] = {"bad_response", "json"},
};

const char *err_kind(enum err code)
{
    return (unsigned)code < ERR_COUNT ? names[code].kind : "internal";
}

const char *err_code(enum err code)
{
    return (unsigned)code < ERR_COUNT ? names[code].code : "unknown";
}

static void fill(struct err_info *info, enum err code, int os_errno, const char *format, va_list args)
{
    info->code = code;
    info->os_errno = os_errno;
    vsnprintf(info->text, sizeof info->text, format, args);
    if (os_errno) {
        size_t n = strlen(info->text);
        snprintf(info->text + n, sizeof info->text - n, ": %s", strerror(os_errno));
    }
}

enum err err_set(struct err_info *info, enum err code, const char *format, ...)
{
    if (info) {
        va_list args;
        va_start(args, format);
        fill(info, code, 0, format, args);
        va_end(args);
    }
    return code;
}

enum err err_os(struct err_info *info, enum err code, int os_errno, const char *format, ...)
{
    if (info) {
        va_list args;
        va_start(args, format);
        fill(info, code, os_errno, format, args);
        va_end(args);
    }
    return code;
}
