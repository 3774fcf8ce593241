---@meta perilune.sys.store

-- The database, as mechanism: batches of named statements (db/queries) go in, rows come out. What threads, messages and
-- runs are is lua/perilune/store. Every function but `open` and `library` is a method of the database; all of them wait.
local M = {}


---@class perilune.StoreOptions
---@field path string a file, or ":memory:"
---@field read_only? boolean default false
---@field busy_seconds? number how long another process may hold the database; default 10

---One statement: its name, parameters by name (missing ones are NULL, booleans become 0 and 1), and how many rows it must
---change, or return if it is a query. Another number fails the batch: kind "conflict", code "expectation".
---@class perilune.StoreCall
---@field [1] string
---@field [2]? table<string, string|number|boolean|lightuserdata>
---@field expect? integer

---The rows of one statement of a batch, by column name; a NULL is absent.
---@class perilune.StoreResult
---@field [integer] table<string, string|number>
---@field changes integer rows changed; of a query, returned

---@class perilune.StoreInfo
---@field path string
---@field read_only boolean
---@field schema_version integer
---@field sqlite_version string
---@field journal_mode string
---@field size integer bytes
---@field transactions integer since it was opened
---@field batches integer that these transactions wrote
---@field checkpoints integer

---@class perilune.Database
local database = {}


---Opens a database, creates it with its folder when it is missing, and migrates it. Never repairs and never overwrites: a
---database that is damaged, newer, another program's, locked or read-only is an error of kind "database" with a code of
---`corrupt newer open locked read_only full`.
---@param options perilune.StoreOptions
---@return perilune.Database|nil
---@return perilune.Error?
function M.open(options) end


---SQLite's version: "3.40.1".
---@return string
function M.library() end


---Runs a batch: all of it is on the disk when this returns, or nothing of it. Batches that wait together share one
---transaction, but fail each for itself. Raises for unknown statements and parameters. A task that is cancelled while it waits
---does not take the batch back. With `relaxed = true` in the batch a power cut may take it until the next batch without: for what nobody
---misses then. The end of the process takes nothing of it.
---@param batch perilune.StoreCall[]
---@return perilune.StoreResult[]|nil results one for each statement
---@return perilune.Error? err `details` has `statement` and `call`, the position in the batch
function database:write(batch) end


---Runs one query beside the writer. It sees everything that was acknowledged before, by any process.
---@param name string
---@param params? table<string, string|number|boolean|lightuserdata>
---@return table<string, string|number>[]|nil rows
---@return perilune.Error?
function database:read(name, params) end


---Looks for damage: SQLite's own checks and what must be true of our rows (db/queries/check.sql).
---@return string[]|nil problems empty when all is well
---@return perilune.Error?
function database:check() end


---Copies the database as it is now into a new file. Never overwrites.
---@param path string
---@return true|nil
---@return perilune.Error?
function database:backup(path) end


---@return perilune.StoreInfo|nil
---@return perilune.Error?
function database:info() end


---Writes what is waiting, then closes. Also `local db <close>`. Closing twice is fine.
---@return true
function database:close() end


return M
