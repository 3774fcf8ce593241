-- perilune run: an agent script.
local cassettes = require "perilune.cli.cassette"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local options = require "perilune.cli.options"
local people = require "perilune.cli.person"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"

local M = {
  usage = "run [OPTION...] FILE [ARGUMENT...]   (FILE - is standard input; -e CODE runs CODE)",
  summary = "Runs an agent script. Arguments after FILE are in `arg`.",
  stops_at_word = true, -- what follows FILE belongs to the script
  options = {
    { names = { "-e" }, key = "code", value = "CODE", help = "run this instead of a file" },
    { names = { "--model", "-m" }, key = "model", value = "NAME", help = "the default model, as provider/model" },
    {
      names = { "--deadline" }, key = "deadline", value = "SECONDS", type = "number", min = 0, max = 1e9,
      help = "stop the script after this long",
    },
    {
      names = { "--slice" }, key = "slice", value = "SECONDS", type = "number", min = 0.001, max = 1e9,
      help = "how long a task may compute without waiting (30)",
    },
    { names = { "--memory" }, key = "memory", value = "MB", type = "number", min = 1, max = 1e6, help = "memory of the script (1024)" },
    table.unpack(cassettes.options),
  },
  examples = {
    "scripts/tools.lua", "-e 'print(require(\"perilune\").client():chat(\"Hello\").content)'", "--deadline 60 agent.lua Paris",
    "--record paris.jsonl agent.lua Paris", "--replay paris.jsonl agent.lua Paris",
  },
}


local function read(values, words)
  if values.code then
    return values.code, "=(command line)"
  end
  local path = table.remove(words, 1)
  if not path then
    options.fail("run: which script? (perilune run FILE)")
  elseif path == "-" then
    local text, err = proc.read_stdin()
    return text or error(err, 0), "=(standard input)"
  end
  local text, err = fs.read(path)
  if not text then
    if err.kind == "not_found" then
      options.fail("run: there is no script '%s'", path)
    end
    options.fail("run: %s", err.message)
  end
  return text, "@" .. path, path
end


-- The script as a function. A mark of the encoding and a first line for the shell may come before it.
local function compile(text, chunk_name)
  text = text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")
  local script, problem = load(text, chunk_name, "t")
  if not script then
    local name = chunk_name:sub(2)
    if not problem:find(name, 1, true) then
      problem = name .. ": " .. problem
    end
    error(errors.new { kind = "internal", code = "syntax", message = problem }, 0)
  end
  return script
end


function M.run(values, words, app)
  local text, chunk_name, path = read(values, words)
  local script = compile(text, chunk_name)
  local _ <close> = cassettes.insert("run", values, app)
  words[0] = path or chunk_name:sub(2)
  rawset(_G, "arg", words)
  app.person = people.here()
  if values.slice then
    task.slice(values.slice)
  end
  if values.memory then
    task.memory(math.floor(values.memory * 1024 * 1024))
  end
  if values.deadline then
    task.deadline(values.deadline, script, table.unpack(words))
  else
    script(table.unpack(words))
  end
  return 0
end


return M
