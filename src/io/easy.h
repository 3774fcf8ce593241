/*
 * easy.h - what a request says to curl: its options as those of an easy handle. Callbacks are fetch.c's.
 */
#ifndef PERILUNE_EASY_H
#define PERILUNE_EASY_H

#include "curl.h"
#include "fetch.h"

void easy_set_transport(const struct curl *c, CURL *easy, const struct fetch_options *o);
/* Address, method, headers and body. `body` and `headers` are what curl does not copy: the caller's, to be freed after the transfer;
 * NULL where there is none. */
void easy_set_request(const struct curl *c, CURL *easy, const struct fetch_options *o, char **body, struct curl_slist **headers);

#endif
