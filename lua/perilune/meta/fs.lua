---@meta perilune.sys.fs

--- Files. Every call but `cwd` waits for a thread of the pool. A missing file is a `not_found` error, a refused one a
--- `permission` error; messages name the path.
---
--- With `beneath` a path is relative to that folder and cannot leave it: `..`, absolute paths and symbolic links, on the way and
--- at the end, are `permission` errors, also when somebody exchanges folders meanwhile. Hard links and mounts are what they are.
---@class perilune.sys.fs
local fs = {}

---Reads a regular file whole.
---@param path string
---@param options? { bytes?: integer, beneath?: string } bytes: the most that is read, default 64 MiB; a larger file is an error
---@return string? text
---@return perilune.Error? err
function fs.read(path, options) end

---Replaces a file as a whole: other processes see the old or the new contents, also after a crash.
---@param path string a symbolic link is followed
---@param text string
---@param options? { mode?: integer, new?: boolean, beneath?: string } mode: permission bits; default those it has, or what the
---umask leaves of 0666. new: an error of code `invalid` when there is such a file
---@return true?
---@return perilune.Error? err
function fs.write(path, text, options) end

---Adds to the end of a file, which is created when missing. Not synced.
---@param path string
---@param text string
---@param options? { mode?: integer, beneath?: string } mode: of a new file
---@return true?
---@return perilune.Error? err
function fs.append(path, text, options) end

---The names in a folder, sorted by bytes, without `.` and `..`.
---@param path string
---@param options? { beneath?: string }
---@return string[]? names
---@return perilune.Error? err
function fs.list(path, options) end

---@class perilune.FileStat
---@field type "file"|"directory"|"link"|"other" "link" only with `beneath`
---@field size integer bytes
---@field modified number seconds since 1970
---@field mode integer permission bits

---Follows symbolic links, but not with `beneath`.
---@param path string
---@param options? { beneath?: string }
---@return perilune.FileStat?
---@return perilune.Error? err
function fs.stat(path, options) end

---The files in a folder of those that are inside of this program, by their names from there.
---@param folder string "scripts/project/"
---@return table<string, string> texts
function fs.embedded(folder) end

---Makes a folder and its parents; fine when it exists.
---@param path string
---@param options? { beneath?: string }
---@return true?
---@return perilune.Error? err
function fs.mkdir(path, options) end

---Removes a file or an empty folder, or with `recursive` a tree. Never follows symbolic links.
---@param path string
---@param options? { recursive?: boolean }
---@return true?
---@return perilune.Error? err
function fs.remove(path, options) end

---Makes a new folder in `$TMPDIR` or `/tmp`, for this user only. Whoever asked for it removes it.
---@param prefix string the beginning of its name
---@return string? path
---@return perilune.Error? err
function fs.temp_dir(prefix) end

---The working folder. Does not wait.
---@return string? path
---@return perilune.Error? err
function fs.cwd() end

return fs
