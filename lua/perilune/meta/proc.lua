---@meta perilune.sys.proc

--- Child processes, without a shell; and this process: its identity, environment and standard descriptors.
---@class perilune.sys.proc
local proc = {}

---Without `env` a child gets PATH, HOME, USER, LOGNAME, SHELL, TERM, LANG, LC_ALL, LC_CTYPE, TZ and TMPDIR of the
---host, and nothing else: API keys are in the environment.
---@class perilune.ProcOptions
---@field argv string[] the program and its arguments; without a slash it is looked up in PATH
---@field cwd? string
---@field env? table<string, string> all that the child gets
---@field out_bytes? integer what is kept of each output, default 8 MiB

---@class perilune.ProcRunOptions : perilune.ProcOptions
---@field stdin? string default: standard input is /dev/null
---@field timeout? number seconds; then SIGTERM, and 2 s later SIGKILL, to the child and all it started

---@class perilune.ProcResult
---@field status? integer exit code
---@field signal? string the signal that killed it: "KILL"
---@field stdout string
---@field stderr string
---@field truncated boolean some output was dropped

---Runs a program to its end; waits. A cancelled task kills it and all it started. Once the program has exited,
---something it left running may hold the outputs open for 2 s more.
---@param options perilune.ProcRunOptions
---@return perilune.ProcResult?
---@return perilune.Error? err `not_found`: no such program; `timeout`: `details` has stdout and stderr
function proc.run(options) end

---Starts a program that runs beside the script. Standard input and output are pipes; of standard error the first
---`out_bytes` unread are kept.
---@param options perilune.ProcOptions
---@return perilune.ProcChild?
---@return perilune.Error? err
function proc.start(options) end

---A child process. Own it with `local child <close>`: closing kills it and all it started.
---@class perilune.ProcChild
local child = {}

---What has arrived; waits for something when there is nothing.
---@param output? "stdout"|"stderr" default stdout
---@return string? bytes nil at the end
---@return perilune.Error? err
function child:read(output) end

---Waits until the pipe has taken all of it.
---@param bytes string
---@return true?
---@return perilune.Error? err the child does not read any more
function child:write(bytes) end

---Ends the child's standard input, once what was written has gone.
function child:close_stdin() end

---Waits for the exit.
---@return { status?: integer, signal?: string }?
---@return perilune.Error? err
function child:wait() end

---Sends a signal to the child and all it started; harmless after its exit.
---@param name? string "TERM" (default), "KILL", "INT", "HUP", ...
---@return true?
---@return perilune.Error? err
function child:kill(name) end

---@return integer?
---@return perilune.Error? err
function child:pid() end

---Kills what is left and forgets it. May be called again.
function child:close() end

---A name for this process that no other process of this machine ever has.
---@return string? owner "boot_id:pid:start"
---@return perilune.Error? err
function proc.self() end

---Does the process with this name still live?
---@param owner string
---@return boolean
function proc.is_alive(owner) end

---A variable of the environment.
---@param name string
---@return string?
function proc.env(name) end

---@param fd 0|1|2
---@return boolean
function proc.is_tty(fd) end

---How wide the terminal is.
---@param fd 0|1|2
---@return integer? columns nil when it is no terminal
function proc.columns(fd) end

---Writes all of it, blocking, for the output of commands.
---@param fd 1|2
---@param text string
---@return true?
---@return perilune.Error? err code `closed`: nobody reads it any more
function proc.write(fd, text) end

---The next line of standard input, without its line feed; waits.
---@return string? line nil at the end
---@return perilune.Error? err
function proc.read_line() end

---From this call on the first SIGINT or SIGTERM, and every SIGHUP, goes to who waits here, instead of ending something; a second one ends
---the process as always. One at a time: a second call raises while the first is open.
---@return perilune.ProcSignals
function proc.signals() end

---Own it with `local signals <close>`: closing gives the signals back.
---@class perilune.ProcSignals
local signals = {}

---Waits for the next signal; one that came before counts.
---@return "HUP"|"INT"|"TERM" name
function signals:wait() end

---May be called again.
function signals:close() end

---All that is left of standard input, at most 64 MiB; waits for its end.
---@return string? text
---@return perilune.Error? err
function proc.read_stdin() end

return proc
