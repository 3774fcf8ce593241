/*
 * err.h - what can go wrong in C, as a code, and the text that says where. A function that can fail
 * returns `enum err` and fills the caller's `struct err_info`. The table in err.c gives every code
 * the `kind` that Lua sees (the closed list of api.md 2.3) and a short stable `code`.
 */
#ifndef PERILUNE_ERR_H
#define PERILUNE_ERR_H

#include "base.h"

#define ERR_TEXT_MAX 240

enum err {
    ERR_OK = 0,
    ERR_LIMIT,              /* a named limit was hit; the text names it */
    ERR_CLOSED,             /* used after close, or the peer is gone */
    ERR_BUSY,               /* somebody else is using it */
    ERR_CANCELLED,
    ERR_INVALID,            /* malformed input */
    ERR_NOT_FOUND,
    ERR_PERMISSION,
    ERR_IO,                 /* the operating system said no; see os_errno */
    /* outgoing HTTP */
    ERR_DNS,
    ERR_REFUSED,
    ERR_UNREACHABLE,        /* no way to the host, or none that this process may go */
    ERR_RESET,              /* the connection broke after it was made */
    ERR_CUT_OFF,            /* the peer closed it before the answer was complete */
    ERR_NO_DESCRIPTORS,     /* no socket can be opened: the limit of this process, or of the system */
    ERR_TLS_CERTIFICATE,
    ERR_TLS_HANDSHAKE,
    ERR_PROTOCOL,           /* the peer broke HTTP */
    ERR_TIMEOUT_DNS,
    ERR_TIMEOUT_CONNECT,
    ERR_TIMEOUT_TLS,
    ERR_TIMEOUT_FIRST_BYTE,
    ERR_TIMEOUT_FIRST_CONTENT,
    ERR_TIMEOUT_IDLE,
    ERR_TIMEOUT_PROGRESS,
    ERR_TIMEOUT_TOTAL,
    ERR_TIMEOUT,            /* a task's deadline */
    ERR_BAD_BODY,           /* content encoding that does not decode */
    ERR_UNAVAILABLE,        /* libcurl cannot be loaded, and the like */
    /* the database */
    ERR_DB,                 /* anything else SQLite reports */
    ERR_DB_LOCKED,
    ERR_DB_CORRUPT,
    ERR_DB_NEWER,           /* written by a newer Perilune */
    ERR_DB_READONLY,
    ERR_DB_FULL,
    ERR_DB_CONSTRAINT,
    ERR_DB_OPEN,
    /* scripts */
    ERR_BUDGET,             /* a script ran too long without waiting, or holds too much memory */
    ERR_JSON,
    ERR_COUNT
};

struct err_info {
    enum err code;
    int os_errno; /* 0 when the operating system had no part in it */
    char text[ERR_TEXT_MAX];
};

/* The Lua error kind ("timeout", "connection", "database", ...) and the short code ("first_byte", ...). */
const char *err_kind(enum err code);
const char *err_code(enum err code);

/* Fills `info` (may be NULL) and returns `code`, so that `return err_set(...)` reads well. */
enum err err_set(struct err_info *info, enum err code, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same with ": <strerror>" appended and os_errno kept. */
enum err err_os(struct err_info *info, enum err code, int os_errno, const char *format, ...) PRINTF_LIKE(4, 5);

#endif
