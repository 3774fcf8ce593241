---@meta

--- The C module behind `perilune.json` (src/api/ljson.c).
---@class perilune.sys.json
---@field null lightuserdata what `null` reads as; truthy; equal to cjson.null
local M = {}

--- JSON text, validated once, that `encode` passes on as it is; `tostring` gives the text.
---@class perilune.json.Raw: userdata

---@class perilune.json.DecodeOptions
---@field repair? boolean ill-formed UTF-8 and half surrogate pairs become U+FFFD; of duplicate keys the last one wins
---@field depth? integer how deep the text may be nested: 1 to 128, which is the default
---@field bytes? integer how long the text may be: at most 64 MiB, which is the default
---@field ordered? boolean the order of keys is kept for `encode`, in a metatable

---@class perilune.json.EncodeOptions
---@field pretty? boolean one member a line, indented by two spaces
---@field repair? boolean strings that are not UTF-8 get U+FFFD in place of what is wrong
---@field depth? integer how deep the value may be nested: 1 to 128, which is the default


---The value of a JSON text (RFC 8259, strictly; a byte order mark in front is skipped). Arrays carry a mark, so that
---an empty one is written as `[]` again. An integer that does not fit 64 bits becomes a float; `-0` becomes -0.0.
---A failure is a `bad_response` error whose message names line, column and byte.
---@param text string
---@param options? perilune.json.DecodeOptions
---@return any value nil on failure
---@return true|perilune.Error|nil repaired true when `repair` had something to do, or the error
function M.decode(text, options) end


---The JSON text of a value, on one line. Tables with the keys 1..n are arrays; an empty table is `{}` unless it is
---marked; keys are written in byte order, or where `decode` has kept it in theirs: those that were added come last. Tables are read raw. The message of a failure names the place:
---"at $.messages[2].content: ...".
---@param value any
---@param options? perilune.json.EncodeOptions
---@return string? text nil on failure
---@return true|perilune.Error|nil repaired true when `repair` had something to do, or the error
function M.encode(value, options) end


---Marks a table as an array, whatever it holds; a new one without an argument. The table must have no other metatable.
---@param t? table
---@return table t the same table
function M.array(t) end


---Would `encode` write this value as an array: is it marked, or does it have exactly the keys 1..n?
---@param value any
---@return boolean
function M.is_array(value) end


---Gives a copy of a table the order of keys that `decode` has kept for it, if it has one.
---@generic T: table
---@param copy T a table without a metatable
---@param source table
---@return T copy
function M.keep_order(copy, source) end


---JSON text to be written as it is, wherever it stands in a value.
---@param text string
---@return perilune.json.Raw? raw nil on failure
---@return perilune.Error? err
function M.raw(text) end


---Does this value come from `raw`?
---@param value any
---@return boolean
function M.is_raw(value) end

return M
