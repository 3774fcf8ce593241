---@meta perilune.sys.task

---Tasks: coroutines that the host runs. To wait is to give the others their turn. A script cannot wait inside a table.sort
---comparator, a string.gsub callback, __tostring, __gc or the body of a module that is being required.
---@class perilune.sys.task
---@field error_metatable table the metatable of error objects
local M = {}

---@class perilune.Task
local task = {}

---Waits until the task has ended; returns what its function returned, or raises its error.
---@return any ...
function task:wait() end

---Asks the task to end: its wait, and every later one, raises an error of kind `cancelled`.
---@param reason? "user_requested"|"timeout"|"error"|"shutdown"
function task:cancel(reason) end

---@return "active"|"cancelling"|"cancelled"|"failed"|"done" state
---@return string? reason of a cancel
function task:state() end

---Children that do not outlive their scope: `local group <close> = task.group()`. Leaving the scope waits for them; an error
---in one cancels the others and is raised; an error that leaves the scope cancels all.
---@class perilune.TaskGroup
local group = {}

---@param f function
---@param ... any
---@return perilune.Task
function group:spawn(f, ...) end

---Waits until every child has ended; raises the first error, or that another task has left the scope of the group.
function group:wait() end

---@param reason? "user_requested"|"timeout"|"error"|"shutdown"
function group:cancel(reason) end

---What tasks wait for when no operation of the host is involved.
---@class perilune.TaskSignal
local signal = {}

---Waits for a wake that comes after this call, at most so long.
---@param seconds? number
---@return boolean is_woken false when the time was over first
function signal:wait(seconds) end

---Wakes n waiting tasks in the order they came, all by default. The wake of a task that is cancelled before it runs goes to the
---next one.
---@param n? integer
---@return integer count how many were woken
function signal:wake(n) end

---Starts a task.
---@param f function
---@param ... any
---@return perilune.Task
function M.spawn(f, ...) end

---@param seconds number
function M.sleep(seconds) end

---Lets every other ready task run first.
function M.yield() end

---Raises what a wait would raise now (cancelled, past the deadline); does not wait.
function M.check() end

---Runs f(...) and returns its results; every wait inside raises an error of kind `timeout` once the time is over. Nested
---deadlines take the earlier.
---@param seconds number
---@param f function
---@param ... any
---@return any ...
function M.deadline(seconds, f, ...) end

---@return number? seconds until the deadline of the running task, at least 0; nil when it has none
function M.remaining() end

---Runs f(...) without hearing a cancel, for at most so many seconds: for the last write of a run.
---@param seconds number
---@param f function
---@param ... any
---@return any ...
function M.shield(seconds, f, ...) end

---@return perilune.TaskGroup
function M.group() end

---@return perilune.TaskSignal
function M.signal() end

---@return perilune.Task the running task; handles of one task are equal
function M.current() end

---@return integer tasks alive
---@return integer handles open in the loop
function M.count() end

---The task that Ctrl-C cancels first; nil is the main task.
---@param handle perilune.Task?
function M.foreground(handle) end

---How long a task may compute without waiting before it is stopped with an error of kind `budget`.
---@param seconds number
function M.slice(seconds) end

---Memory of the scripts of this process; sets its limit when one is given.
---@param max_bytes? integer
---@return integer bytes in use
function M.memory(max_bytes) end

return M
