/*
 * curl.h - libcurl, loaded when the first request is made: its 30 libraries cost 5 ms, which a script that
 * never fetches should not pay. The table holds exactly the functions that are called.
 */
#ifndef PERILUNE_CURL_H
#define PERILUNE_CURL_H

#include <curl/curl.h>

#include "../base/err.h"

#define CURL_FUNCTIONS(X)                                                                                              \
    X(CURLcode, global_init, (long))                                                                                   \
    X(char *, version, (void))                                                                                         \
    X(CURL *, easy_init, (void))                                                                                       \
    X(void, easy_cleanup, (CURL *))                                                                                    \
    X(void, easy_reset, (CURL *))                                                                                      \
    X(CURLcode, easy_setopt, (CURL *, CURLoption, ...))                                                                \
    X(CURLcode, easy_getinfo, (CURL *, CURLINFO, ...))                                                                 \
    X(CURLcode, easy_pause, (CURL *, int))                                                                             \
    X(const char *, easy_strerror, (CURLcode))                                                                         \
    X(CURLM *, multi_init, (void))                                                                                     \
    X(CURLMcode, multi_cleanup, (CURLM *))                                                                             \
    X(CURLMcode, multi_setopt, (CURLM *, CURLMoption, ...))                                                            \
    X(CURLMcode, multi_add_handle, (CURLM *, CURL *))                                                                  \
    X(CURLMcode, multi_remove_handle, (CURLM *, CURL *))                                                               \
    X(CURLMcode, multi_socket_action, (CURLM *, curl_socket_t, int, int *))                                            \
    X(CURLMsg *, multi_info_read, (CURLM *, int *))                                                                    \
    X(struct curl_slist *, slist_append, (struct curl_slist *, const char *))                                          \
    X(void, slist_free_all, (struct curl_slist *))

#define CURL_FIELD(type, name, args) type(*name) args;
struct curl {
    void *library;
    CURL_FUNCTIONS(CURL_FIELD)
};
#undef CURL_FIELD

/* Loads and initialises libcurl; stays loaded until the process ends. ERR_UNAVAILABLE says what is missing. */
MUST_CHECK enum err curl_load(struct curl *c, struct err_info *info);

#endif
