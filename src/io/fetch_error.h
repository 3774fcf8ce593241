/*
 * fetch_error.h - what a failure of curl means: a code for each phase of a request, and words for people. For fetch.c only.
 */
#ifndef PERILUNE_FETCH_ERROR_H
#define PERILUNE_FETCH_ERROR_H

#include "curl.h"

struct fetch_failure {
    CURLcode code;
    const char *text; /* curl's own words, may be empty */
    int socket_errno; /* why no socket could be opened, 0: one could */
    int64_t connect_ms;
    bool is_sent;     /* the request had been on its way: this is a redirect's next connection */
    bool has_proxy;
    const char *refused, *refusal; /* the address that was not to be connected to, and what it is; NULL: none */
};

/* Fills `info`. The transfer must still be known to curl. */
void fetch_error_set(struct err_info *info, const struct curl *c, CURL *easy, const struct fetch_failure *failure);
/* Is there no descriptor left, whatever the failure looked like? Then `info` says so. */
bool fetch_error_is_full(struct err_info *info);

#endif
