-- perilune init: a small project that works as it is, to be changed into one's own.
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local tables = require "perilune.std.tables"

local M = {
  usage = "init [DIR]",
  summary = [[
Writes a small project into a folder (this one, unless another is named): an assistant with a tool, a script that asks it, a spec,
and a configuration. It works without a key and without a network. Files that are there are never overwritten.]],
  options = {},
  examples = { "", "weather" },
}

-- scripts/project, as it is in the repository.
local files = fs.embedded "scripts/project/"
local names = tables.sorted_keys(files)

-- What many folders have already, and what theirs should have, too.
local KEPT = ".gitignore"

local NEXT = [[
next:
%s  perilune run main.lua            # asks it; without a key, the built-in offline model answers
  perilune test --db :memory:      # runs the specs in spec/
  perilune serve forecaster.lua    # serves it to every OpenAI client, as the model assistant/forecaster
]]


-- What is to be written. Nothing is when something would be overwritten.
local function missing(folder)
  local free, taken = {}, {}
  for _, name in ipairs(names) do
    local is_there = fs.stat(folder .. "/" .. name) ~= nil
    if not is_there then
      free[#free + 1] = name
    elseif name ~= KEPT then
      taken[#taken + 1] = name
    end
  end
  if taken[1] then
    options.fail("init: %s has %s already, and nothing is overwritten: name another folder (perilune init DIR)",
      folder == "." and "this folder" or folder, table.concat(taken, ", "))
  end
  return free
end


function M.run(values, words)
  options.at_most("init", words, 1)
  local folder = words[1] or "."
  local made = missing(folder)
  errors.must(fs.mkdir(folder .. "/spec"))
  for _, name in ipairs(made) do
    errors.must(fs.write(folder .. "/" .. name, files[name], { new = true }))
  end
  if values.json then
    output.json { folder = folder, files = json.array(made) }
  elseif not values.quiet then
    output.write(("made in %s: %s\n"):format(folder == "." and "this folder" or folder, table.concat(made, ", ")))
    output.write(NEXT:format(folder == "." and "" or "  cd " .. folder .. "\n"))
  end
  if #made < #names then
    output.note(KEPT .. " was there, and is left as it is: see that it has " .. files[KEPT]:gsub("\n$", ""):gsub("\n", ", "))
  end
  return 0
end


return M
