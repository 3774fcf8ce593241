-- perilune.tools.run_command: programs from a list, as words and never through a shell, in one folder, with next to nothing of
-- this process's environment.
local check = require "perilune.std.check"
local definition = require "perilune.tool.definition"
local errors = require "perilune.std.errors"
local proc = require "perilune.sys.proc"
local settings = require "perilune.tool.builtin.settings"

local M = {}

M.SECONDS = 60 -- when the options do not say
M.OUT_BYTES = 24 * 1024 -- kept of each output
M.WORDS_MAX = 100

---@class perilune.RunCommandOptions : perilune.BuiltinOptions
---@field allow (string|string[])[] "git": that program with any arguments; { "git", "status" }: what begins with these words
---@field folder? string where it runs; default the working folder
---@field env? string[] names of variables it gets besides PATH, LANG, LC_ALL and TZ
---@field out_bytes? integer kept of each output; default OUT_BYTES

local always_passed = { "PATH", "LANG", "LC_ALL", "TZ" }

-- Time for the program to die and for its output to arrive, after its limit and before the tool's.
local GRACE_SECONDS = 10


-- The option `allow` as lists of words.
local function prefixes_of(where, options)
  local prefixes = {}
  for i, entry in ipairs(settings.list(where, options, "allow", "string|table")) do
    local prefix = type(entry) == "string" and { entry } or entry
    check.list(("%s: allow[%d]"):format(where, i), prefix, "string", 3)
    if #prefix == 0 or prefix[1] == "" then
      check.fail(("%s: allow[%d] names no program"):format(where, i), 3)
    end
    prefixes[i] = table.move(prefix, 1, #prefix, 1, {})
  end
  return prefixes
end


local function folder_of(where, options)
  return (settings.folder(where .. ": folder", options.folder or ".")) -- in parentheses: a tail call would lose a level
end


local function begins_with(argv, prefix)
  for i, word in ipairs(prefix) do
    if argv[i] ~= word then
      return false
    end
  end
  return true
end


local function is_allowed(prefixes, argv)
  for _, prefix in ipairs(prefixes) do
    if begins_with(argv, prefix) then
      return true
    end
  end
  return false
end


local function allowed_text(prefixes)
  local lines = {}
  for i, prefix in ipairs(prefixes) do
    lines[i] = table.concat(prefix, " ")
  end
  return table.concat(lines, ", ")
end


local function environment(names)
  local env = {}
  for _, list in ipairs { always_passed, names } do
    for _, name in ipairs(list) do
      env[name] = proc.env(name)
    end
  end
  return env
end


-- What a program did, for the model.
local function report(head, result)
  local parts = { head }
  for _, name in ipairs { "stdout", "stderr" } do
    if result[name] ~= "" then
      parts[#parts + 1] = ("--- %s\n%s"):format(name, (result[name]:gsub("\n$", "")))
    end
  end
  if result.truncated then
    parts[#parts + 1] = "[cut: there was more output]"
  end
  return table.concat(parts, "\n")
end


local function run(self, arguments, context)
  local argv = arguments.argv
  for _, word in ipairs(argv) do
    if word:find("\0", 1, true) then
      return settings.failure("argument", "an argument contains no NUL")
    end
  end
  if not is_allowed(self.prefixes, argv) then
    return settings.failure("not_allowed",
      ("%s is not allowed; allowed is what begins with: %s"):format(table.concat(argv, " "), allowed_text(self.prefixes)))
  end
  if self.approval ~= "never" and not (context and context.is_approved) then
    return settings.failure("not_approved", "a person must approve this first, and nobody was asked")
  end
  local result, err = proc.run {
    argv = argv, cwd = self.folder, env = environment(self.env), stdin = arguments.stdin, timeout = self.seconds,
    out_bytes = self.out_bytes,
  }
  if result then
    return report(result.signal and "killed by " .. result.signal or "exit status " .. result.status, result)
  elseif errors.is(err, "timeout") and err.details then
    return settings.failure("timeout", report(("killed: it did not end within %g s"):format(self.seconds), err.details))
  end
  return nil, err
end


---A tool that runs programs. Unless `approval` is "never", it runs nothing that whoever calls it has not let through: who does
---says so with `context.is_approved`, so that a caller that knows no approvals can do no harm.
---@param options perilune.RunCommandOptions
---@return perilune.Tool
function M.new(options)
  local where = "perilune.tools.run_command"
  options = settings.read(where, options, { allow = "table", folder = "string", env = "table", out_bytes = "integer" })
  local self = {
    prefixes = prefixes_of(where, options),
    folder = folder_of(where, options),
    env = check.list(where .. ": env", options.env or {}, "string"),
    seconds = options.timeout or M.SECONDS,
    out_bytes = options.out_bytes or M.OUT_BYTES,
    approval = options.approval or "always",
  }
  return definition.define {
    name = options.name or "run_command",
    description = "Run a program without a shell: no pipes, no wildcards, no variables. Allowed is what begins with: "
      .. allowed_text(self.prefixes),
    parameters = {
      argv = {
        type = "array", items = { type = "string" }, minItems = 1, maxItems = M.WORDS_MAX,
        description = "the program and its arguments, one word each",
      },
      stdin = "string?: what it reads from its standard input",
    },
    timeout = self.seconds + GRACE_SECONDS,
    approval = self.approval,
    run = function(arguments, context)
      return run(self, arguments, context)
    end,
  }
end


return M
