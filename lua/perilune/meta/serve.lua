---@meta perilune.sys.serve

---Incoming HTTP/1.1, as mechanism: no routes, no JSON, no SSE. What is ambiguous in a request never gets here: it is
---answered with 400 and the connection is closed. Failures are `nil, err`; misuse raises.
---@class perilune.sys.serve
local serve = {}


---@class perilune.serve.Options
---@field host? string a numeric address or "localhost"; default "127.0.0.1"
---@field port? integer default 0: any free port
---@field first_seconds? number from the connection to its first byte
---@field head_seconds? number from the connection, or a later head's first byte, to the complete head
---@field body_seconds? number from the head to the complete body; after 5 s it must also have come with 1 KB a second
---@field idle_seconds? number between an answer and the next request on a kept connection
---@field write_seconds? number a client that is behind, and takes less than 256 bytes a second for this long, is dropped
---@field head_bytes? integer longest request head
---@field body_bytes? integer longest request body
---@field connections? integer above it new ones wait in the kernel
---@field connections_per_address? integer default 1024; above it new ones get 429; an IPv6 address is its /64; this machine's are not counted

---Starts to listen. The server is closed by `close`, `<close>` or the collector, and its connections with it.
---@param options perilune.serve.Options
---@return perilune.serve.Server? server
---@return perilune.Error? err
function serve.listen(options) end


---@class perilune.serve.Server
local server = {}

---@return integer
function server:port() end

---Open connections.
---@return integer
function server:connections() end

---Waits for the next request. One task accepts at a time.
---@return perilune.serve.Request? request nil: the server was closed
function server:accept() end

---Waits until a client stops sending while its request is answered: it has gone, or only said that no more will come.
---@return true? has_happened nil: the server was closed
function server:half_closed() end

---Takes no new connections: who connects is refused. Connections that wait for a request are closed, the others with their next answer.
function server:stop_accepting() end

---Stops listening and closes every connection; requests under way become gone.
function server:close() end


---A request whose body is complete. The handler owns it: `local request <close> = server:accept()`. Closed without a
---complete answer, its connection is closed. After that every method but `close` and `gone` raises.
---@class perilune.serve.Request
local request = {}

---@return string
function request:method() end

---The target as it was sent: "/v1/models?limit=2".
---@return string
function request:target() end

---The target up to its first "?", not percent-decoded.
---@return string
function request:path() end

---What follows the "?", or "".
---@return string
function request:query() end

---A header, whatever its case. One that was sent several times is joined with ", ".
---@param name string
---@return string? value
function request:header(name) end

---All headers in order of arrival, as {name, value} pairs.
---@return string[][]
function request:headers() end

---@return string
function request:body() end

---The client's address and port: "127.0.0.1:4711".
---@return string? address
---@return perilune.Error? err
function request:remote() end


---@class perilune.serve.Head
---@field status? integer 200 to 599, default 200
---@field headers? table {name = value, ...}, or in order {{name, value}, ...}; date, length and coding are added

---@class perilune.serve.Reply : perilune.serve.Head
---@field body? string

---The whole answer.
---@param reply perilune.serve.Reply
---@return true? ok
---@return perilune.Error? err the client has gone
function request:reply(reply) end

---Begins a streamed answer: in chunks, unless the headers have a content-length or the client speaks HTTP/1.0.
---@param head perilune.serve.Head
---@return true? ok
---@return perilune.Error? err
function request:start(head) end

---Sends bytes of a streamed answer; waits while the client is behind. One task writes at a time.
---@param bytes string
---@return true? ok
---@return perilune.Error? err
function request:write(bytes) end

---Ends a streamed answer.
---@return true? ok
---@return perilune.Error? err
function request:finish() end

---Sends bytes as they are, at once, without any framing: for recordings and faults. `finish` then keeps the connection,
---`close` ends it.
---@param bytes string
---@return true? ok
---@return perilune.Error? err
function request:raw(bytes) end

---Breaks the connection with a TCP reset.
function request:reset() end

---From now on the running task is cancelled when the client goes away. Once a request; no task has to wait for it.
function request:end_with_client() end

---Has the client stopped sending, while the answer is not complete?
---@return boolean
function request:is_half_closed() end

---Finds out whether a client that sends no more has gone: an interim answer (102) goes out, which a client that only stopped sending
---takes no notice of. Does nothing once the answer has begun.
function request:probe() end

---Has the connection broken?
---@return boolean
function request:is_gone() end

---Waits until the client goes away. A client that only stops sending is "half_closed" (told once; most of those have
---gone, but some still read); the next call waits on. One task waits at a time.
---@return "half_closed"|"gone"|"done" reason "done": the answer is complete, or the request was closed
function request:gone() end

---Closes the request, and without a complete answer its connection. What was written before is still sent.
function request:close() end


return serve
