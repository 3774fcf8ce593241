/*
 * curl.c - dlopen of libcurl. The library is never closed: OpenSSL registers exit handlers in it.
 */
#include "curl.h"

#include <dlfcn.h>
#include <string.h>

static bool find(void *library, const char *name, void *field)
{
    void *symbol = dlsym(library, name);
    memcpy(field, &symbol, sizeof symbol); /* POSIX's way around the missing cast */
    return symbol != NULL;
}

enum err curl_load(struct curl *c, struct err_info *info)
{
    memset(c, 0, sizeof *c);
    c->library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    if (!c->library)
        return err_set(info, ERR_UNAVAILABLE, "cannot load libcurl (Debian package libcurl4): %s", dlerror());
#define CURL_FIND(type, name, args)                                                                                    \
    if (!find(c->library, "curl_" #name, &c->name))                                                                    \
        return err_set(info, ERR_UNAVAILABLE, "this libcurl has no curl_" #name ": it is too old");
    CURL_FUNCTIONS(CURL_FIND)
#undef CURL_FIND
    CURLcode code = c->global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK)
        return err_set(info, ERR_UNAVAILABLE, "libcurl cannot start: %s", c->easy_strerror(code));
    return ERR_OK;
}
