/*
 * serve_request.c - a request in the hands of its handler. It has no thought of how it is answered (serve_reply.c).
 *
 * The request, its headers and the bytes of its head are one block of memory; the slices are moved from the read
 * buffer into it.
 */
#include "serve.h"

#include "../base/mem.h"
#include "serve_conn.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static struct slice moved(struct slice s, const char *from, const char *to)
{
    return (struct slice){to + (s.p - from), s.n};
}

struct serve_request *serve_request_new(const struct http1_head *head, const char *p, size_t head_bytes,
                                        size_t body_bytes_max)
{
    size_t headers_bytes = head->header_count * sizeof(struct http1_header);
    struct serve_request *r = mem_alloc(sizeof *r + headers_bytes + head_bytes);
    struct http1_header *headers = (struct http1_header *)(r + 1);
    char *copy = (char *)(headers + head->header_count);
    memcpy(copy, p, head_bytes);
    for (size_t i = 0; i < head->header_count; i++) {
        headers[i].name = moved(head->headers[i].name, p, copy);
        headers[i].value = moved(head->headers[i].value, p, copy);
    }
    *r = (struct serve_request){
        .method = moved(head->method, p, copy),
        .target = moved(head->target, p, copy),
        .path = moved(head->path, p, copy),
        .query = moved(head->query, p, copy),
        .headers = headers,
        .header_count = head->header_count,
        .minor = head->minor,
        .left = head->length,
        .is_head = slice_is(head->method, "HEAD"),
        .is_chunked = head->is_chunked,
        .is_keep_alive = head->is_keep_alive,
    };
    list_init(&r->link);
    buf_init(&r->body_buf, body_bytes_max);
    http1_chunks_init(&r->chunks, body_bytes_max);
    return r;
}

struct serve_conn *serve_request_detach(struct serve_request *r, enum serve_state state)
{
    struct serve_conn *c = r->conn;
    ASSERT(c);
    ASSERT(r->state == SERVE_OPEN);
    r->conn = NULL;
    r->state = state;
    c->request = NULL;
    if (r->on_change)
        r->on_change(r);
    return c;
}

enum err serve_request_remote(const struct serve_request *r, char out[SERVE_REMOTE_BYTES])
{
    struct sockaddr_storage address;
    int bytes = sizeof address;
    char text[INET6_ADDRSTRLEN];
    if (!r->conn || uv_tcp_getpeername(&r->conn->tcp, (struct sockaddr *)&address, &bytes))
        return ERR_RESET;
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;
        uv_ip6_name(in6, text, sizeof text);
        snprintf(out, SERVE_REMOTE_BYTES, "[%s]:%d", text, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in4 = (struct sockaddr_in *)&address;
        uv_ip4_name(in4, text, sizeof text);
        snprintf(out, SERVE_REMOTE_BYTES, "%s:%d", text, ntohs(in4->sin_port));
    }
    return ERR_OK;
}

void serve_request_close(struct serve_request *r)
{
    if (r->conn)
        serve_conn_finish(serve_request_detach(r, SERVE_DONE));
}

void serve_request_reset(struct serve_request *r)
{
    if (r->conn)
        serve_conn_flush(r->conn);
    if (r->conn)
        serve_conn_reset(serve_request_detach(r, SERVE_DONE));
}

void serve_request_free(struct serve_request *r)
{
    r->on_change = NULL;
    serve_request_close(r);
    list_remove(&r->link);
    buf_deinit(&r->body_buf);
    mem_free(r);
}
