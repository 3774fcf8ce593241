---@meta perilune.sys.token

--- Random bytes, identifiers, hashes, base64, and comparison in constant time.
---@class perilune.sys.token
local token = {}

---Random bytes of the operating system.
---@param n integer 1 to 65536
---@return string bytes
function token.random(n) end

---A new identifier: the prefix, `_` and 26 characters. Sorts after every earlier one of this process and cannot be
---guessed.
---@param prefix string 1 to 24 of a-z, 0-9 and _, beginning with a letter
---@return string id
function token.id(prefix) end

---For tests: makes `random` and `id` reproducible; without an argument random again.
---@param seed? integer
function token.seed(seed) end

---@param text string
---@return string hex 64 hexadecimal digits, lower case
function token.sha256(text) end

---@param key string
---@param text string
---@return string hex 64 hexadecimal digits, lower case
function token.hmac_sha256(key, text) end

---@param bytes string
---@param alphabet? "standard"|"url" default standard: `+/` with padding; url: `-_` without
---@return string text
function token.base64(bytes, alphabet) end

---Strict: no white space, no wrong padding, no stray bits.
---@param text string
---@param alphabet? "standard"|"url"
---@return string? bytes
---@return perilune.Error? err names the first bad character
function token.unbase64(text, alphabet) end

---Compares in a time that does not depend on where they differ (only on whether their lengths do).
---@param a string
---@param b string
---@return boolean
function token.equal(a, b) end

return token
