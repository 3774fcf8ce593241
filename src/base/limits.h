/*
 * limits.h - every limit of the host with its reason. Units last.
 */
#ifndef PERILUNE_LIMITS_H
#define PERILUNE_LIMITS_H

/* JSON: deeper than any API nests, shallow enough for the C stack. */
#define JSON_DEPTH_MAX 128
/* One document. Larger than any answer of a model with images in it. */
#define JSON_BYTES_MAX (64u << 20)
/* Keys of one object that is written: they are sorted on the Lua stack, which has a million slots. */
#define JSON_KEYS_MAX 100000u

/* Outgoing HTTP. */
#define FETCH_HEAD_BYTES_MAX (64u << 10)     /* response heads above this are a flood, not an answer (fault 11) */
#define FETCH_BODY_BYTES_MAX (64u << 20)     /* default for one response body, after decoding */
#define FETCH_FRAME_BYTES_MAX (8u << 20)     /* one SSE event or line (fault 36) */
#define FETCH_QUEUE_BYTES_MAX (256u << 10)   /* frames waiting for the script; above it the transfer is paused */
#define FETCH_POOL_CONNECTIONS 100           /* idle connections kept for reuse */
#define FETCH_SHARD_TRANSFERS_MAX 500        /* curl's cost grows with the live transfers of a multi handle */

/* Failover. */
#define FAILOVER_ENDPOINTS_MAX 4096          /* that a process knows; the least recently used idle one is replaced */
#define FAILOVER_NAME_BYTES_MAX 128          /* of a provider or model, kept to be shown; identity is a hash of all */
#define FAILOVER_REASON_BYTES_MAX 240        /* of the last error, kept to be shown */
#define FAILOVER_LATENCIES_MAX 2000          /* an endpoint's histogram fades then, so that old days do not hide today */
#define FAILOVER_PROBE_US 60000000           /* a probe that has not reported by then has lost its right */
#define FAILOVER_COOL_US_MAX 60000000        /* whatever Retry-After says (fault 62) */
#define FAILOVER_PARK_US_MAX 86400000000     /* a wrong date must not park a key for ever: once a day it is tried */
#define FAILOVER_BUDGET_US 10000000          /* what the retry budget looks at */
#define FAILOVER_RETRIES_FREE 3              /* retries under way that need no budget */
#define FAILOVER_WAIT_MS 60000               /* for a slot or a token, unless the caller says how long */
#define FAILOVER_TURNED_AWAY_US 1000000      /* "ask again in", when nothing better is known */
#define FAILOVER_INFLIGHT_MAX 100000         /* the settings people may choose */
#define FAILOVER_QUEUE_MAX 10000

/* Incoming HTTP. */
#define SERVE_HEAD_BYTES_MAX (32u << 10)
#define SERVE_HEADERS_MAX 100
#define SERVE_BODY_BYTES_MAX (50u << 20)
#define SERVE_CONNECTIONS_MAX 10000
#define SERVE_OUT_BYTES_MAX (256u << 10)     /* unsent bytes of one connection; above it the writer waits */
#define SERVE_FIRST_MS 5000                  /* from the connection to its first byte */
#define SERVE_HEAD_MS 10000                  /* absolute: from the connection, or a later head's first byte, to the complete head */
#define SERVE_BODY_MS 60000                  /* absolute: from the head to the complete body */
#define SERVE_BODY_SLOW_MS 5000              /* after that a body must have come at the rate below, on the average */
#define SERVE_BODY_RATE 1024                 /* bytes a second */
#define SERVE_BODIES_BYTES_MAX (256u << 20)  /* of all bodies that are not complete: nobody has looked yet at who sends them */
#define SERVE_BODY_SMALL_BYTES (64u << 10)   /* a body up to here is taken even so */
#define SERVE_PER_ADDRESS_MAX 1024           /* connections of one address; this machine's own are not counted */
#define SERVE_IDLE_MS 75000                  /* keep-alive without a request */
#define SERVE_WRITE_MS 60000                 /* a peer that is behind and takes less than the rate below for this long is dropped */
#define SERVE_WRITE_RATE 256                 /* bytes a second */
#define SERVE_LINGER_MS 2000                 /* after the last answer: input is discarded, so that no reset destroys it */
#define SERVE_READ_BYTES (64u << 10)         /* one read; the buffer is shared by the connections of a server */
#define SERVE_REPLY_BYTES_MAX (64u << 20)    /* unsent bytes a single write may leave behind */
#define SERVE_ACCEPT_MAX 64                  /* connections taken in a row before others get a turn */
#define SERVE_ACCEPT_PAUSE_MS 100            /* no new connections after running out of descriptors */
#define HTTP1_CHUNK_EXT_BYTES_MAX 1024       /* extensions of one chunk; nobody uses them but floods */
#define HTTP1_CHUNK_EXTS_BYTES_MAX (16u << 10)
#define HTTP1_TRAILER_BYTES_MAX (8u << 10)

/* The log. */
#define LOG_LINE_BYTES_MAX (16u << 10)       /* a longer line is cut and says so */
#define LOG_SECRETS_MAX 4096                 /* spellings of values that must not be printed */

/* Child processes. */
#define PROC_OUT_BYTES_MAX (8u << 20)        /* kept of each output; of more only the beginning */
#define PROC_IN_BYTES_MAX (64u << 20)        /* text for standard input, and what one write may queue */
#define PROC_ARGS_MAX 4096                   /* arguments, and environment variables */
#define PROC_TERM_MS 2000                    /* from SIGTERM to SIGKILL, when a child is out of time */
#define PROC_DRAIN_MS 2000                   /* after its exit: how long something it left behind may hold its output open */
#define PROC_REAP_MS 20                      /* how long closing waits for a killed child before it leaves that to the loop */
#define PROC_END_MS 1000                     /* how long the end of the program waits for those */

/* Standard input. */
#define CONSOLE_LINE_BYTES_MAX (1u << 20)
#define CONSOLE_BYTES_MAX (64u << 20)        /* all of it */

/* Files read whole. */
#define FILE_BYTES_MAX (64u << 20)
#define FILE_NAMES_MAX 100000                /* in one folder */
#define FILE_DEPTH_MAX 64                    /* folders inside folders, when a tree is removed */

/* Scripts. */
#define TASKS_MAX 100000
#define TASK_INTERRUPT_MS 250                /* a cancel or a deadline reaches code that computes this long */
#define TASK_SLICE_MS 30000                  /* a task that computes this long without waiting is stopped */
#define SCRIPT_MEMORY_BYTES_MAX (1ull << 30) /* one Lua state */

/* The database. */
#define STORE_QUEUE_MAX 4096                 /* batches waiting for the writer; above it callers wait */
#define STORE_BATCH_MAX 256                  /* batches that share one transaction */
#define STORE_READERS 2
#define STORE_BUSY_MS 10000                  /* how long another process may hold the write lock */
#define STORE_ROWS_MAX 100000                /* rows of one query */
#define STORE_CALLS_MAX 1024                 /* statements of one batch: it holds the write lock */
#define STORE_JOB_BYTES_MAX (256u << 20)     /* parameters and rows of one job */
#define STORE_PARAMS_MAX 32                  /* parameters of one named statement */
#define STORE_STATEMENTS_MAX 1000            /* named statements */
#define STORE_WAL_BYTES (4u << 20)           /* a longer log is copied into the database without waiting for an idle moment */
#define STORE_IDLE_MS 100                    /* no write for this long is an idle moment */

#endif
