-- The words of a command line: options by their description, the rest in order. Unknown options are errors with a
-- suggestion.
local errors = require "perilune.std.errors"
local text = require "perilune.std.text"

local M = {}


---A usage error: the command ends with exit code 2.
---@param message string
function M.fail(message, ...)
  error(errors.new { kind = "configuration", code = "usage", message = message:format(...) }, 0)
end


-- The option of that name, and whether it is meant (`--no-x` is the switch `--x`, not meant).
local function find(spec, name)
  local positive, names = name:match("^%-%-no(%-%-?.+)$"), {}
  positive = positive and "-" .. positive
  for _, option in ipairs(spec) do
    for _, known in ipairs(option.names) do
      if known == name or (known == positive and not option.value) then
        return option, known == name
      end
      names[#names + 1] = known
    end
  end
  local nearest = text.suggest(name, names)
  M.fail("unknown option '%s'%s", name, nearest and (", did you mean '" .. nearest .. "'?") or "")
end


local function take_value(option, name, value)
  if option.type == "number" then
    value = tonumber(value) or M.fail("option '%s' needs a number, not '%s'", name, value)
  end
  return value
end


---Parses words. An option is { names = {"--model", "-m"}, key = "model", value = "NAME"?, type = "number"?, many = bool?,
---help = "..." }; one without `value` is a switch, and `--no-x` turns the switch `--x` off; `many` may come several times and
---gives a list. "--" ends the options.
---@param words string[]
---@param spec table[]
---@param stop_at_word? boolean the first word that is no option ends the options too
---@return table values by key
---@return string[] rest
function M.parse(words, spec, stop_at_word)
  local values, rest, position = {}, {}, 1
  while words[position] do
    local word = words[position]
    position = position + 1
    if word == "--" or (stop_at_word and (word:sub(1, 1) ~= "-" or word == "-")) then
      table.move(words, word == "--" and position or position - 1, #words, #rest + 1, rest)
      break
    elseif word:sub(1, 1) ~= "-" or word == "-" then
      rest[#rest + 1] = word
    else
      local name, value = word:match("^(%-%-[^=]+)=(.*)$")
      name = name or word
      local option, is_meant = find(spec, name)
      if not option.value then
        values[option.key] = is_meant
      else
        if not value then
          value = words[position] or M.fail("option '%s' needs a value: %s", name, option.value)
          position = position + 1
        end
        value = take_value(option, name, value)
        if option.many then
          values[option.key] = values[option.key] or {}
          table.insert(values[option.key], value)
        else
          values[option.key] = value
        end
      end
    end
  end
  return values, rest
end


---The lines of a help text about these options.
---@param spec table[]
---@return string
function M.help(spec)
  local lines = {}
  for _, option in ipairs(spec) do
    local left = table.concat(option.names, ", ") .. (option.value and " " .. option.value or "")
    lines[#lines + 1] = ("  %-26s %s"):format(left, option.help)
  end
  return table.concat(lines, "\n")
end


return M
