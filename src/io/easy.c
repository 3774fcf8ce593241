/*
 * easy.c - the options of an easy handle. curl copies strings, but neither the body nor the list of headers.
 */
#include "easy.h"

#include "../base/mem.h"

static void set_string(const struct curl *c, CURL *easy, CURLoption option, struct slice value)
{
    char *text = mem_dup(value.p, value.n);
    c->easy_setopt(easy, option, text);
    mem_free(text);
}

void easy_set_transport(const struct curl *c, CURL *easy, const struct fetch_options *o)
{
    c->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    c->easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* the end of a fetch does not wait for a resolver that hangs */
    c->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    c->easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)(o->is_http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    c->easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    c->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_ms);
    c->easy_setopt(easy, CURLOPT_FOLLOWLOCATION, o->redirects_max > 0 ? 1L : 0L);
    c->easy_setopt(easy, CURLOPT_MAXREDIRS, o->redirects_max);
    c->easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, o->is_insecure ? 0L : 1L);
    c->easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, o->is_insecure ? 0L : 2L);
    set_string(c, easy, CURLOPT_PROXY, o->proxy); /* "" also keeps curl from looking at the environment */
    if (o->ca_file.n)
        set_string(c, easy, CURLOPT_CAINFO, o->ca_file);
}

static struct curl_slist *with_header(const struct curl *c, struct curl_slist *headers, struct slice line)
{
    char *text = mem_dup(line.p, line.n);
    headers = c->slist_append(headers, text);
    ASSERT(headers);
    mem_free(text);
    return headers;
}

void easy_set_request(const struct curl *c, CURL *easy, const struct fetch_options *o, char **body, struct curl_slist **headers)
{
    set_string(c, easy, CURLOPT_URL, o->url);
    *body = NULL;
    bool is_post = slice_is(o->method, "POST");
    if (o->body.p || is_post) {
        *body = mem_dup(o->body.p ? o->body.p : "", o->body.n);
        c->easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body.n);
        c->easy_setopt(easy, CURLOPT_POSTFIELDS, *body);
    }
    if (slice_is(o->method, "HEAD"))
        c->easy_setopt(easy, CURLOPT_NOBODY, 1L);
    else if (!is_post && (o->body.p || !slice_is(o->method, "GET"))) /* a custom one would outlive a redirect */
        set_string(c, easy, CURLOPT_CUSTOMREQUEST, o->method);
    *headers = NULL;
    for (size_t i = 0; i < o->headers_n; i++)
        *headers = with_header(c, *headers, o->headers[i]);
    *headers = with_header(c, *headers, (struct slice){"Expect:", 7}); /* no 100-continue: it costs a round trip */
    c->easy_setopt(easy, CURLOPT_HTTPHEADER, *headers);
}
