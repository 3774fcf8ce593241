/*
 * test_proxies.c - behind nginx and haproxy, as most servers stand: what they pass on is read as they meant it. The rows of docs/abuse.md,
 * and requests that hide in bodies, go through each of them on one kept connection; the server must have answered as many requests as the
 * proxy says it has passed on, and the next client must get its own answer. A proxy that is not installed is skipped.
 */
#include "abuse_rows.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define HIDDEN "GET /hidden HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
#define LAST "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
#define PROBE "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nprobe"

/* What each logs of a request: "METHOD PATH STATUS", the status from the server where that has answered. */
static const char nginx_conf[] =
    "daemon off; master_process off; pid %1$s/nginx.pid; error_log %1$s/error.log; events { worker_connections 64; }\n"
    "http { log_format seen '$request_method $uri $upstream_status'; access_log %1$s/log seen;\n"
    "client_body_temp_path %1$s/t1; proxy_temp_path %1$s/t2; fastcgi_temp_path %1$s/t3; uwsgi_temp_path %1$s/t4; scgi_temp_path %1$s/t5;\n"
    "client_header_timeout 1s; client_body_timeout 1s; client_max_body_size 0; large_client_header_buffers 4 128k;\n"
    "ignore_invalid_headers off; upstream server { server 127.0.0.1:%2$d; keepalive 1; }\n"
    "server { listen unix:%1$s/socket; location / { proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection '';\n"
    "proxy_request_buffering off; proxy_next_upstream off; proxy_ignore_client_abort on; } } }\n";

static const char haproxy_conf[] =
    "global\n log stdout format raw local0\n nbthread 1\n"
    "defaults\n mode http\n log global\n log-format \"%%HM %%HU %%ST\"\n retries 0\n http-reuse always\n"
    " timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
    "frontend all\n bind unix@%1$s/socket\n default_backend server\n"
    "backend server\n server one 127.0.0.1:%2$d maxconn 1\n";

static struct {
    const char *name;
    char folder[64];
    pid_t pid;
} proxy;

/* A proxy */

static void path_in(char out[96], const char *name)
{
    snprintf(out, 96, "%s/%s", proxy.folder, name);
}

static bool is_installed(const char *path)
{
    return access(path, X_OK) == 0;
}

static void write_conf(const char *conf)
{
    char path[96];
    path_in(path, "conf");
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    if (!file)
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    fprintf(file, conf, proxy.folder, serve_port(t.serve));
#pragma GCC diagnostic pop
    fclose(file);
}

/* Ends with this process, whatever becomes of it. */
static void run_proxy(const char *const argv[])
{
    char log[96];
    path_in(log, "log");
    proxy.pid = fork();
    if (proxy.pid != 0)
        return;
    int out = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(argv[0], (char *const *)argv);
    _exit(127);
}

static void stop_proxy(void)
{
    kill(proxy.pid, SIGKILL);
    waitpid(proxy.pid, NULL, 0);
    static const char *const files[] = {"conf", "log", "socket", "nginx.pid", "error.log", "t1", "t2", "t3", "t4", "t5", ""};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[96];
        path_in(path, files[i]);
        remove(path);
    }
}

static bool connect_proxy(struct client *c)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    path_in(address.sun_path, "socket");
    *c = (struct client){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    buf_init(&c->in, 256u << 20);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return true;
    client_close(c, false);
    return false;
}

static bool is_up(void)
{
    struct client c;
    int64_t end_us = now_us() + PATIENCE_US;
    while (!connect_proxy(&c)) {
        if (now_us() > end_us)
            return false;
        pump(NULL);
    }
    client_close(&c, false);
    return true;
}

/* Requests that it says the server has answered; those that the server's reader refused have other statuses. */
static size_t passed_on(void)
{
    char path[96], line[70000];
    size_t n = 0;
    path_in(path, "log");
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        const char *status = strrchr(line, ' ');
        n += status && (strcmp(status, " 200\n") == 0 || strcmp(status, " 404\n") == 0);
    }
    if (file)
        fclose(file);
    return n;
}

/* Playing */

static struct client say_all(const char *p, size_t n, const char *last)
{
    struct client c;
    CHECK(connect_proxy(&c));
    send(c.fd, p, n, MSG_NOSIGNAL); /* a proxy may have refused it before it has come whole */
    send(c.fd, last, strlen(last), MSG_NOSIGNAL);
    shutdown(c.fd, SHUT_WR);
    WAIT_FOR(&c, c.is_eof);
    return c;
}

static void play_bytes(const char *what, const char *p, size_t n)
{
    size_t passed = passed_on(), answered = t.request_count;
    struct client c = say_all(p, n, LAST);
    client_close(&c, false);
    c = say_all("", 0, PROBE);
    bool is_right = ends_with(&c, "\r\n\r\nprobe");
    client_close(&c, false);
    int64_t end_us = now_us() + PATIENCE_US;
    while (passed_on() - passed != t.request_count - answered && now_us() < end_us)
        pump(NULL);
    is_right &= passed_on() - passed == t.request_count - answered;
    CHECK(is_right);
    if (!is_right)
        fprintf(stderr, "  %s, %s: passed on %zu, answered %zu\n", proxy.name, what, passed_on() - passed, t.request_count - answered);
}

static void play_row(const struct row *r)
{
    play_bytes(r->what, r->payload.p, r->payload.n);
}

static void play_hidden(void)
{
    static const char *const headers[] = {
        "Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\x0b" "chunked", "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", " Transfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity", "Transfer-Encoding:\xa0" "chunked", "Transfer-Encoding: \"chunked\"",
        "transfer-encoding:\tchunked", "Transfer_Encoding: chunked", "Transfer-Encoding: chunked\r", "X: y\nTransfer-Encoding: chunked",
        "Connection: transfer-encoding\r\nTransfer-Encoding: chunked", "Connection: content-length\r\nX: y",
    };
    static const char *const shapes[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 44\r\n%s\r\n\r\n0\r\n\r\n" HIDDEN,
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n%s\r\n\r\n27\r\n" HIDDEN "\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "%s\r\n\r\n27\r\n" HIDDEN "\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\n" HOST "%s\r\n\r\n27\r\n" HIDDEN "\r\n0\r\n\r\n",
        "GET /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 39\r\n%s\r\n\r\n" HIDDEN,
        "PUT /echo HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 39\r\n%s\r\n\r\n" HIDDEN,
    };
    CHECK(strlen(HIDDEN) == 39);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        for (size_t k = 0; k < ARRAY_LEN(shapes); k++) {
            char text[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int n = snprintf(text, sizeof text, shapes[k], headers[i]);
#pragma GCC diagnostic pop
            play_bytes(headers[i], text, (size_t)n);
        }
    }
}

static void test_behind(const char *name, const char *path, const char *conf)
{
    char conf_path[96];
    proxy.name = name;
    if (!is_installed(path)) {
        check_skip(name);
        return;
    }
    strcpy(proxy.folder, "/tmp/perilune-proxy-XXXXXX");
    CHECK(mkdtemp(proxy.folder) != NULL);
    start_default();
    write_conf(conf);
    path_in(conf_path, "conf");
    const char *const nginx[] = {path, "-p", proxy.folder, "-c", conf_path, NULL}, *const haproxy[] = {path, "-f", conf_path, NULL};
    run_proxy(strcmp(name, "nginx") == 0 ? nginx : haproxy);
    if (CHECK(is_up())) {
        rows_play(play_row);
        play_hidden();
    }
    stop_proxy();
    stop();
}

int main(void)
{
    test_behind("nginx", "/usr/sbin/nginx", nginx_conf);
    test_behind("haproxy", "/usr/sbin/haproxy", haproxy_conf);
    return check_report();
}
