---@meta perilune.sys.fetch

---Outgoing HTTP. The mechanism only: no retries, no redirects unless asked, no JSON; see perilune.net.fetch.
---@class perilune.sys.fetch
local M = {}

---@class perilune.FetchOptions times in seconds; a time that is left out is no limit
---@field url string http:// or https://
---@field method? string default GET
---@field headers? table<string, string>
---@field body? string
---@field frame? "sse"|"lines"|"json"|"whole"|"bytes" how the body is cut; default bytes
---@field connect? number name resolution, TCP and TLS together; default 10
---@field first_byte? number from the request's way out to the head of the answer
---@field first_content? number from the start to the first `handle:progress()`
---@field idle? number between two frames; comments and pings do not count
---@field progress? number from one `handle:progress()` to the next; while frames wait to be read, no time passes
---@field total? number
---@field body_bytes? integer limit of the body after decoding; default 64 MB
---@field frame_bytes? integer limit of one frame; default 8 MB
---@field proxy? string
---@field ca_file? string
---@field insecure? boolean do not verify the peer's certificate
---@field http2? boolean ask for HTTP/2 (TLS only)
---@field redirects? integer how many are followed; default 0
---@field addresses? "public"|string[] connect to public addresses only, and to those in these ranges ("10.0.0.0/8", "::1"). Asked for
---every connection by the address that the resolver gave, redirects and kept connections included; a refusal is an error of
---kind `permission`. Not together with a proxy

---One request. The script owns it: `local handle <close> = fetch.open{...}`; closing cancels.
---@class perilune.Fetch
local handle = {}

---Waits for the head of the answer. Header names are in lower case; a repeated header is joined with ", ".
---
---An error has a `kind` and a `code` that stay the same: connection (dns, refused, unreachable, reset, closed,
---no_descriptors), timeout (dns, connect, tls, first_byte, first_content, idle, progress, total), tls (certificate,
---handshake), bad_response (protocol, encoding), and cancelled when another task closed the request meanwhile.
---@return { status: integer, headers: table<string, string> }?
---@return perilune.Error? err `maybe_billed` is set once the request was on its way
function handle:head() end

---Waits for the next frame. An answer with a status of 400 or more comes as one frame.
---@return string? data nil at the end
---@return string|perilune.Error|nil event_or_err the SSE event's name; with data nil, the error
function handle:next() end

---The same, for frames that differ in a text alone: of one without a name that begins and ends with these, with a text between them that
---JSON writes as it is, that text, joined with those of the frames that have come by now and are like it.
---@param before string
---@param after string
---@param wants_pieces? boolean
---@return string? data nil at the end
---@return string|perilune.Error|nil event_or_err the SSE event's name; with data nil, the error
---@return integer? count data is the text of so many frames
---@return string[]? pieces of which it was joined, when they are wanted
function handle:next_texts(before, after, wants_pieces) end

---@return number? seconds from the start to the head of the answer
function handle:first_byte() end

---Says that what was read was understood as content: the `progress` limit counts from here. Cheap: it only notes the time.
function handle:progress() end

---Ends the request; an unfinished one is cancelled and its socket closed. Another task that waits for its head or its next
---frame gets nil and an error of kind `cancelled`. Harmless when called again.
function handle:close() end

---Starts a request; waits for nothing. An answer with status 400 or more is not an error here.
---@param options perilune.FetchOptions
---@return perilune.Fetch?
---@return perilune.Error?
function M.open(options) end

---What libcurl is, and its parts: "libcurl/7.88.1 OpenSSL/3.0.17 …". Loads it.
---@return string?
---@return perilune.Error?
function M.library() end

---May this text stand in `addresses`?
---@param text string
---@return boolean
function M.is_range(text) end

---@return integer requests under way in this process
function M.live() end

return M
