/*
 * fetch.c - outgoing HTTP. curl moves the bytes; here are the frames that wait for the script, and the time
 * limits. One lazy timer serves all limits of a request: it is not re-armed for every chunk, it looks at
 * the clock when it fires.
 */
#include "fetch.h"

#include "../base/limits.h"
#include "../base/mem.h"
#include "easy.h"
#include "fetch_error.h"
#include "sockets.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EASY_POOL_MAX 64
#define INFORMATIONAL_MAX 8        /* 1xx answers before the real one */
#define BOMB_BYTES_MIN (1u << 20)  /* a content coding that expands more than this ... */
#define BOMB_RATIO_MAX 100         /* ... by more than that is an attack */

struct fetch_shard {
    struct shard shard;
    struct fetcher *fetcher;
};

struct fetcher {
    struct loop *loop;
    struct curl curl;
    struct sockets *sockets;
    struct fetch_shard **shards; /* filled in order: the first with room takes the next request */
    size_t shards_n;
    CURL *easy_pool[EASY_POOL_MAX]; /* a reused handle saves 5 us a request */
    size_t easy_pool_n;
    size_t pool_connections;
    size_t live;
};

struct frame { /* a frame that waits to be read */
    struct list node;
    size_t data_n, event_n;
    char bytes[];
};

enum phase { CONNECTING, SENT, RECEIVING, ENDED };

struct fetch {
    struct fetcher *fetcher;
    struct shard *shard;
    CURL *easy; /* NULL once the transfer has ended */
    struct opener opener;
    struct address_policy *addresses; /* NULL: all */
    struct curl_slist *headers;
    char *body;
    struct fetch_options o; /* numbers and flags; its slices are not used after the start */
    enum phase phase;
    int status, informational;
    bool has_head, has_content, is_encoded, is_paused;
    struct buf head;
    struct framer framer;
    struct list frames;
    struct frame *current; /* lent to the caller until the next call */
    size_t queued_bytes, body_bytes;
    struct loop_timer timer;
    int64_t started_us, sent_us, first_byte_us, progress_us;
    int64_t content_us; /* the start, then the last fetch_progress; later by as long as frames have waited since */
    int64_t waiting_us; /* since when frames wait for the reader; 0: none does */
    bool is_content_timed; /* the timer looks after content_us: not while frames wait */
    struct err_info error; /* code ERR_OK: none */
    char curl_text[CURL_ERROR_SIZE];
    void (*on_change)(void *user);
    void *user;
};

static int64_t now_us(const struct fetch *f)
{
    return clock_mono_us(loop_clock(f->fetcher->loop));
}

/* Ending */

static void release(struct fetch *f)
{
    struct fetcher *fs = f->fetcher;
    if (!f->easy)
        return;
    fs->curl.multi_remove_handle(f->shard->multi, f->easy);
    f->shard->live--;
    fs->live--;
    fs->curl.multi_setopt(f->shard->multi, CURLMOPT_MAXCONNECTS, (long)(fs->pool_connections + f->shard->live));
    if (fs->easy_pool_n < EASY_POOL_MAX) {
        fs->curl.easy_reset(f->easy);
        fs->easy_pool[fs->easy_pool_n++] = f->easy;
    } else {
        fs->curl.easy_cleanup(f->easy);
    }
    f->easy = NULL;
    f->phase = ENDED;
    loop_timer_stop(fs->loop, &f->timer);
}

static void fail(struct fetch *f)
{
    release(f);
    f->on_change(f->user);
}

/* Frames */

static void on_frame(void *user, struct slice data, struct slice event)
{
    struct fetch *f = user;
    struct frame *frame = mem_alloc(sizeof *frame + data.n + event.n);
    frame->data_n = data.n;
    frame->event_n = event.n;
    memcpy(frame->bytes, data.p, data.n);
    memcpy(frame->bytes + data.n, event.p, event.n);
    list_init(&frame->node);
    list_append(&f->frames, &frame->node);
    f->queued_bytes += data.n + event.n;
    bool is_ping = slice_is(event, "ping");
    if (is_ping && f->waiting_us)
        return;
    int64_t now = now_us(f);
    if (!is_ping)
        f->progress_us = now;
    if (!f->waiting_us)
        f->waiting_us = now;
}

/* The time for which frames have waited is the script's, not the provider's. */
static void forgive_waiting(struct fetch *f, int64_t now)
{
    if (!f->waiting_us)
        return;
    f->content_us += now - (f->waiting_us > f->content_us ? f->waiting_us : f->content_us);
    f->waiting_us = list_is_empty(&f->frames) ? 0 : now;
}

static bool is_bomb(struct fetch *f)
{
    curl_off_t wire_bytes = 0;
    if (!f->is_encoded || f->body_bytes < BOMB_BYTES_MIN)
        return false;
    f->fetcher->curl.easy_getinfo(f->easy, CURLINFO_SIZE_DOWNLOAD_T, &wire_bytes);
    return f->body_bytes / BOMB_RATIO_MAX > (size_t)(wire_bytes > 0 ? wire_bytes : 1);
}

/* CURLOPT_WRITEFUNCTION */
static size_t on_body(char *p, size_t size, size_t n, void *user)
{
    struct fetch *f = user;
    UNUSED(size);
    if (f->queued_bytes > FETCH_QUEUE_BYTES_MAX) {
        f->is_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    f->body_bytes += n;
    if (f->body_bytes > f->o.body_bytes_max)
        err_set(&f->error, ERR_PROTOCOL, "the answer is larger than %zu bytes", f->o.body_bytes_max);
    else if (is_bomb(f))
        err_set(&f->error, ERR_BAD_BODY, "the compressed answer expands more than %d times", BOMB_RATIO_MAX);
    else if (frame_feed(&f->framer, p, n) != ERR_OK)
        err_set(&f->error, ERR_PROTOCOL, "a part of the answer is larger than %zu bytes", f->o.frame_bytes_max);
    if (f->error.code != ERR_OK)
        return 0;
    if (!list_is_empty(&f->frames))
        f->on_change(f->user);
    return n;
}

/* Time limits */

static void on_time(struct loop_timer *timer);

static void sooner(int64_t *at_us, int64_t from_us, int64_t limit_ms)
{
    if (limit_ms && (!*at_us || from_us + limit_ms * 1000 < *at_us))
        *at_us = from_us + limit_ms * 1000;
}

static int64_t content_limit_ms(const struct fetch *f)
{
    return f->has_content ? f->o.progress_ms : f->o.first_content_ms;
}

static void arm(struct fetch *f)
{
    int64_t at_us = 0;
    sooner(&at_us, f->started_us, f->o.total_ms);
    f->is_content_timed = !f->waiting_us;
    if (f->is_content_timed)
        sooner(&at_us, f->content_us, content_limit_ms(f));
    if (f->phase == SENT)
        sooner(&at_us, f->sent_us, f->o.first_byte_ms);
    if (f->phase == RECEIVING)
        sooner(&at_us, f->progress_us, f->o.idle_ms);
    if (at_us)
        loop_timer_start(f->fetcher->loop, &f->timer, (at_us - now_us(f) + 999) / 1000, on_time);
}

/* The head */

static void end_of_head(struct fetch *f)
{
    if (f->status < 200 && f->status != 101) { /* 101 is never asked for, and nothing comes after it */
        if (++f->informational > INFORMATIONAL_MAX)
            err_set(&f->error, ERR_PROTOCOL, "more than %d informational answers", INFORMATIONAL_MAX);
        return;
    }
    if (f->o.redirects_max > 0 && f->status >= 300 && f->status < 400 && f->status != 304)
        return; /* curl goes on to the next one, or fails */
    f->has_head = true;
    f->phase = RECEIVING;
    f->first_byte_us = f->progress_us = now_us(f);
    arm(f);
    if (f->status >= 400) { /* errors are documents, whatever was asked for */
        frame_deinit(&f->framer);
        frame_init(&f->framer, FRAME_WHOLE, f->o.frame_bytes_max, on_frame, f);
    }
    f->on_change(f->user);
}

static enum err head_line(struct fetch *f, const char *p, size_t n)
{
    if (n >= 9 && memcmp(p, "HTTP/", 5) == 0) { /* a new head: an answer after 100 Continue, or a redirect */
        const char *space = memchr(p, ' ', n);
        f->status = space ? (int)strtol(space, NULL, 10) : 0;
        f->is_encoded = false;
        buf_clear(&f->head);
        return ERR_OK;
    }
    if (n >= 17 && strncasecmp(p, "content-encoding:", 17) == 0)
        f->is_encoded = true;
    if (buf_add(&f->head, p, n) != ERR_OK || buf_add_char(&f->head, '\n') != ERR_OK)
        return ERR_LIMIT;
    return ERR_OK;
}

/* CURLOPT_HEADERFUNCTION: one line a call, with its line end */
static size_t on_header(char *p, size_t size, size_t n, void *user)
{
    struct fetch *f = user;
    UNUSED(size);
    size_t line_n = n;
    if (f->has_head)
        return n; /* trailers */
    while (line_n && (p[line_n - 1] == '\n' || p[line_n - 1] == '\r'))
        line_n--;
    if (line_n == 0)
        end_of_head(f);
    else if (head_line(f, p, line_n) != ERR_OK)
        err_set(&f->error, ERR_PROTOCOL, "the head of the answer is larger than %u bytes", FETCH_HEAD_BYTES_MAX);
    return f->error.code == ERR_OK ? n : 0;
}

/* When a limit may be over */

static bool is_over(int64_t now, int64_t from_us, int64_t limit_ms)
{
    return limit_ms && now >= from_us + limit_ms * 1000;
}

static void set_no_content(struct fetch *f)
{
    if (f->has_content)
        err_set(&f->error, ERR_TIMEOUT_PROGRESS, "no content for %.1f s", (double)f->o.progress_ms / 1000);
    else
        err_set(&f->error, ERR_TIMEOUT_FIRST_CONTENT, "no content within %.1f s", (double)f->o.first_content_ms / 1000);
}

static void on_time(struct loop_timer *timer)
{
    struct fetch *f = CONTAINER_OF(timer, struct fetch, timer);
    int64_t now = now_us(f);
    if (f->waiting_us)
        f->progress_us = now; /* it is the script that is slow */
    forgive_waiting(f, now);
    if (is_over(now, f->started_us, f->o.total_ms))
        err_set(&f->error, ERR_TIMEOUT_TOTAL, "no complete answer within %.1f s", (double)f->o.total_ms / 1000);
    else if (f->phase == SENT && is_over(now, f->sent_us, f->o.first_byte_ms))
        err_set(&f->error, ERR_TIMEOUT_FIRST_BYTE, "no first byte within %.1f s", (double)f->o.first_byte_ms / 1000);
    else if (f->phase == RECEIVING && is_over(now, f->progress_us, f->o.idle_ms))
        err_set(&f->error, ERR_TIMEOUT_IDLE, "no data for %.1f s", (double)f->o.idle_ms / 1000);
    else if (is_over(now, f->content_us, content_limit_ms(f)))
        set_no_content(f);
    if (f->error.code == ERR_OK)
        arm(f);
    else
        fail(f);
}

/* CURLOPT_PREREQFUNCTION: the connection stands, the request goes out */
static int on_connected(void *user, char *peer, char *local, int peer_port, int local_port)
{
    struct fetch *f = user;
    if (opener_refuses(&f->opener, peer)) /* a kept connection, that another request was free to make */
        return CURL_PREREQFUNC_ABORT;
    UNUSED(local);
    UNUSED(peer_port);
    UNUSED(local_port);
    f->phase = SENT;
    f->sent_us = now_us(f);
    arm(f);
    return CURL_PREREQFUNC_OK;
}

/* Unless a callback has already said what went wrong. */
static void set_error(struct fetch *f, CURLcode code)
{
    if (f->error.code != ERR_OK || code == CURLE_OK)
        return;
    struct fetch_failure failure = {
        .code = code, .text = f->curl_text, .socket_errno = f->opener.os_errno, .connect_ms = f->o.connect_ms,
        .is_sent = f->sent_us != 0, .has_proxy = f->o.proxy.n != 0,
        .refused = f->opener.refused, .refusal = f->opener.refusal,
    };
    fetch_error_set(&f->error, &f->fetcher->curl, f->easy, &failure);
}

static void on_done(struct shard *s, CURL *easy, CURLcode result)
{
    struct fetcher *fs = CONTAINER_OF(s, struct fetch_shard, shard)->fetcher;
    char *private = NULL;
    fs->curl.easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct fetch *f = (void *)private;
    f->has_head = f->has_head || f->status >= 300; /* a redirect that was not followed to its end */
    set_error(f, result);
    if (f->error.code == ERR_OK && !f->has_head)
        err_set(&f->error, ERR_CUT_OFF, "the connection was closed before the head of the answer was complete");
    if (f->error.code == ERR_OK && frame_finish(&f->framer) != ERR_OK)
        err_set(&f->error, ERR_PROTOCOL, "a part of the answer is larger than %zu bytes", f->o.frame_bytes_max);
    release(f);
    f->on_change(f->user);
}

/* Starting */

static struct shard *shard_with_room(struct fetcher *fs)
{
    for (size_t i = 0; i < fs->shards_n; i++)
        if (fs->shards[i]->shard.live < FETCH_SHARD_TRANSFERS_MAX)
            return &fs->shards[i]->shard;
    fs->shards = mem_resize(fs->shards, (fs->shards_n + 1) * sizeof *fs->shards);
    struct fetch_shard *s = mem_zero(1, sizeof *s);
    s->fetcher = fs;
    shard_open(&s->shard, fs->sockets, on_done);
    fs->shards[fs->shards_n++] = s;
    return &s->shard;
}

static void set_callbacks(struct fetch *f)
{
    const struct curl *c = &f->fetcher->curl;
    c->easy_setopt(f->easy, CURLOPT_PRIVATE, f);
    c->easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->curl_text);
    c->easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_body);
    c->easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    c->easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, on_header);
    c->easy_setopt(f->easy, CURLOPT_HEADERDATA, f);
    c->easy_setopt(f->easy, CURLOPT_PREREQFUNCTION, on_connected);
    c->easy_setopt(f->easy, CURLOPT_PREREQDATA, f);
    shard_adopt(f->shard, f->easy, &f->opener, f->addresses);
}

static enum err ensure_curl(struct fetcher *fs, struct err_info *info)
{
    if (fs->sockets)
        return ERR_OK;
    enum err err = curl_load(&fs->curl, info);
    if (err == ERR_OK)
        fs->sockets = sockets_new(fs->loop, &fs->curl);
    else if (fetch_error_is_full(info))
        return ERR_NO_DESCRIPTORS;
    return err;
}

enum err fetch_start(struct fetcher *fs, const struct fetch_options *o, void (*on_change)(void *user), void *user,
                     struct fetch **out, struct err_info *info)
{
    enum err err = ensure_curl(fs, info);
    if (err != ERR_OK)
        return err;
    struct fetch *f = mem_zero(1, sizeof *f);
    f->fetcher = fs;
    f->o = *o;
    f->on_change = on_change;
    f->user = user;
    list_init(&f->frames);
    buf_init(&f->head, FETCH_HEAD_BYTES_MAX);
    frame_init(&f->framer, o->frame, o->frame_bytes_max, on_frame, f);
    f->shard = shard_with_room(fs);
    f->easy = fs->easy_pool_n ? fs->easy_pool[--fs->easy_pool_n] : fs->curl.easy_init();
    ASSERT(f->easy);
    f->addresses = o->addresses ? (void *)mem_dup((const void *)o->addresses, sizeof *o->addresses) : NULL;
    set_callbacks(f);
    easy_set_transport(&fs->curl, f->easy, o);
    easy_set_request(&fs->curl, f->easy, o, &f->body, &f->headers);
    f->started_us = f->content_us = now_us(f);
    f->shard->live++;
    fs->live++;
    fs->curl.multi_setopt(f->shard->multi, CURLMOPT_MAXCONNECTS, (long)(fs->pool_connections + f->shard->live));
    fs->curl.multi_add_handle(f->shard->multi, f->easy);
    arm(f);
    *out = f;
    return ERR_OK;
}

/* Reading */

void fetch_progress(struct fetch *f)
{
    bool is_first = !f->has_content;
    f->has_content = true;
    f->content_us = now_us(f);
    if (is_first && f->phase != ENDED)
        arm(f); /* from now on it is another limit; later calls only move it on */
}

int fetch_status(const struct fetch *f)
{
    return f->has_head ? f->status : 0;
}

struct slice fetch_head(const struct fetch *f)
{
    return (struct slice){f->head.n ? f->head.p : "", f->head.n};
}

int64_t fetch_first_byte_us(const struct fetch *f)
{
    return f->first_byte_us ? f->first_byte_us - f->started_us : 0;
}

bool fetch_is_sent(const struct fetch *f)
{
    return f->sent_us != 0;
}

static void resume_if_drained(struct fetch *f)
{
    if (!f->is_paused || f->phase == ENDED || f->queued_bytes > FETCH_QUEUE_BYTES_MAX / 2)
        return;
    f->is_paused = false;
    f->progress_us = now_us(f);
    CURLcode code = f->fetcher->curl.easy_pause(f->easy, CURLPAUSE_CONT); /* may call on_body at once */
    if (code == CURLE_OK)
        return;
    set_error(f, code); /* curl has dropped what on_body refused, and would go on without it */
    release(f);
}

/* The script's own time does not count. */
static void frame_taken(struct fetch *f, struct slice event)
{
    int64_t now = now_us(f);
    if (!slice_is(event, "ping"))
        f->progress_us = now;
    if (list_is_empty(&f->frames)) {
        forgive_waiting(f, now);
        if (!f->is_content_timed)
            arm(f);
    }
    resume_if_drained(f);
}

bool fetch_peek(const struct fetch *f, struct slice *data, struct slice *event)
{
    const struct list *node = list_first(&f->frames);
    if (!node)
        return false;
    const struct frame *frame = CONTAINER_OF(node, const struct frame, node);
    *data = (struct slice){frame->bytes, frame->data_n};
    *event = (struct slice){frame->bytes + frame->data_n, frame->event_n};
    return true;
}

enum fetch_step fetch_next(struct fetch *f, struct slice *data, struct slice *event, struct err_info *info)
{
    mem_free(f->current);
    f->current = NULL;
    if (fetch_peek(f, data, event)) {
        f->current = CONTAINER_OF(list_first(&f->frames), struct frame, node);
        list_remove(&f->current->node);
        f->queued_bytes -= data->n + event->n;
        if (f->phase == RECEIVING)
            frame_taken(f, *event);
        return FETCH_FRAME;
    }
    if (f->phase != ENDED)
        return FETCH_WAIT;
    if (f->error.code == ERR_OK)
        return FETCH_END;
    *info = f->error;
    return FETCH_FAILED;
}

void fetch_close(struct fetch *f)
{
    if (!f)
        return;
    struct list *node;
    release(f);
    while ((node = list_first(&f->frames))) {
        list_remove(node);
        mem_free(CONTAINER_OF(node, struct frame, node));
    }
    mem_free(f->current);
    mem_free(f->body);
    mem_free(f->addresses);
    if (f->headers)
        f->fetcher->curl.slist_free_all(f->headers);
    frame_deinit(&f->framer);
    buf_deinit(&f->head);
    mem_free(f);
}

/* The pool */

struct fetcher *fetcher_new(struct loop *l, size_t pool_connections)
{
    struct fetcher *fs = mem_zero(1, sizeof *fs);
    fs->loop = l;
    fs->pool_connections = pool_connections;
    return fs;
}

void fetcher_free(struct fetcher *fs)
{
    ASSERT(fs->live == 0);
    while (fs->easy_pool_n)
        fs->curl.easy_cleanup(fs->easy_pool[--fs->easy_pool_n]);
    for (size_t i = 0; i < fs->shards_n; i++) {
        shard_close(&fs->shards[i]->shard);
        mem_free(fs->shards[i]);
    }
    mem_free(fs->shards);
    if (fs->sockets)
        sockets_free(fs->sockets);
    mem_free(fs);
}

size_t fetcher_live(const struct fetcher *fs)
{
    return fs->live;
}

enum err fetcher_library(struct fetcher *fs, const char **version, struct err_info *info)
{
    enum err err = ensure_curl(fs, info);
    *version = err == ERR_OK ? fs->curl.version() : NULL;
    return err;
}
