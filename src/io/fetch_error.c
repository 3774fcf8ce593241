/*
 * fetch_error.c - curl's failures as codes that stay the same. curl says how a request failed, not always where: the phase
 * of a timeout is known by what the phases before it have left. A full descriptor table looks like a name that cannot be
 * resolved or a certificate file that cannot be read, so we ask for descriptors ourselves before we believe in those.
 */
#include "fetch_error.h"

#include "../base/buf.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define DESCRIPTORS_NEEDED 4 /* the resolver's pair, the file it reads, a socket */

static void set_full(struct err_info *info, int os_errno)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    if (os_errno == EMFILE)
        err_os(info, ERR_NO_DESCRIPTORS, os_errno,
               "no descriptor is left for a connection; this process may open %llu: allow it more with 'ulimit -n'",
               (unsigned long long)limit.rlim_cur);
    else
        err_os(info, ERR_NO_DESCRIPTORS, os_errno, "no descriptor is left for a connection in the whole system (fs.file-max)");
}

static bool is_full_errno(int os_errno)
{
    return os_errno == EMFILE || os_errno == ENFILE;
}

bool fetch_error_is_full(struct err_info *info)
{
    int fds[DESCRIPTORS_NEEDED], n = 0, os_errno = 0;
    while (n < DESCRIPTORS_NEEDED && (fds[n] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) >= 0)
        n++;
    if (n < DESCRIPTORS_NEEDED)
        os_errno = errno;
    while (n)
        close(fds[--n]);
    if (!is_full_errno(os_errno))
        return false;
    set_full(info, os_errno);
    return true;
}

/* Timeouts: only connecting has a limit that curl itself watches */

/* The host and port of the URL, without credentials. */
static struct slice peer(const struct curl *c, CURL *easy)
{
    const char *url = "";
    c->easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &url);
    const char *start = strstr(url, "://");
    start = start ? start + 3 : url;
    size_t n = strcspn(start, "/?#");
    const char *at = memrchr(start, '@', n);
    return at ? (struct slice){at + 1, n - (size_t)(at + 1 - start)} : (struct slice){start, n};
}

static void set_timeout(struct err_info *info, const struct curl *c, CURL *easy, const struct fetch_failure *failure)
{
    curl_off_t lookup_us = 0;
    long port = 0; /* of the peer, once TCP is connected */
    c->easy_getinfo(easy, CURLINFO_NAMELOOKUP_TIME_T, &lookup_us);
    c->easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port);
    /* After a redirect they are those of the connection before. */
    bool is_resolved = failure->is_sent || lookup_us > 0, is_connected = !failure->is_sent && port > 0;
    struct slice who = failure->has_proxy && !is_connected ? (struct slice){"the proxy", 9} : peer(c, easy);
    double limit_s = (double)failure->connect_ms / 1000;
    if (!is_resolved)
        err_set(info, ERR_TIMEOUT_DNS, "the resolver did not answer for %.*s within %.1f s", (int)who.n, who.p, limit_s);
    else if (!is_connected)
        err_set(info, ERR_TIMEOUT_CONNECT, "no connection to %.*s within %.1f s", (int)who.n, who.p, limit_s);
    else
        err_set(info, ERR_TIMEOUT_TLS, "no TLS handshake with %.*s within %.1f s", (int)who.n, who.p, limit_s);
}

/* Everything else */

static enum err connect_code(int os_errno)
{
    switch (os_errno) {
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ECONNRESET:
        return ERR_RESET;
    default:
        return ERR_UNREACHABLE;
    }
}

static enum err code_of(const struct fetch_failure *failure)
{
    switch (failure->code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return ERR_TLS_CERTIFICATE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
        return ERR_TLS_HANDSHAKE;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
        return ERR_CUT_OFF;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return ERR_RESET;
    case CURLE_BAD_CONTENT_ENCODING:
        return ERR_BAD_BODY;
    case CURLE_URL_MALFORMAT:
        return ERR_UNAVAILABLE;
    case CURLE_UNSUPPORTED_PROTOCOL: /* of the URL, or of the answer */
        return failure->is_sent ? ERR_PROTOCOL : ERR_UNAVAILABLE;
    default:
        return ERR_PROTOCOL;
    }
}

/* Those that curl reports when it could not open what it needed. */
static bool may_be_full(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_OUT_OF_MEMORY || code == CURLE_FAILED_INIT;
}

void fetch_error_set(struct err_info *info, const struct curl *c, CURL *easy, const struct fetch_failure *failure)
{
    const char *text = failure->text[0] ? failure->text : c->easy_strerror(failure->code);
    long os_errno = 0;
    if (failure->refusal) {
        err_set(info, ERR_PERMISSION, "connecting to %s is not allowed: it is %s", failure->refused, failure->refusal);
        return;
    }
    if (may_be_full(failure->code) && fetch_error_is_full(info))
        return;
    switch (failure->code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        err_set(info, ERR_DNS, "%s: the name does not exist, or the resolver has no answer", text);
        return;
    case CURLE_COULDNT_CONNECT:
        c->easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
        if (is_full_errno(failure->socket_errno))
            set_full(info, failure->socket_errno);
        else
            err_os(info, connect_code((int)os_errno), (int)os_errno, "%s", text);
        return;
    case CURLE_OPERATION_TIMEDOUT:
        set_timeout(info, c, easy, failure);
        return;
    default:
        err_set(info, code_of(failure), "%s", text);
    }
}
