-- The words of a command line: options by their description, the rest in order. Unknown options are errors with a
-- suggestion.
local errors = require "perilune.std.errors"
local tables = require "perilune.std.tables"
local text = require "perilune.std.text"

local M = {}


---A usage error: the command ends with exit code 2.
---@param message string
function M.fail(message, ...)
  error(errors.new { kind = "configuration", code = "usage", message = message:format(...) }, 0)
end


-- Of -x every other short option is one edit away: that is no suggestion.
local SHORT_BYTES_MAX = 2


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
      names[#names + 1] = positive and not option.value and known:gsub("^%-%-", "--no-") or nil
    end
  end
  local nearest = #name > SHORT_BYTES_MAX and text.suggest(name, names)
  M.fail("unknown option '%s'%s", name, nearest and (", did you mean '" .. nearest .. "'?") or "; try --help")
end


local function take_value(option, name, value)
  if not option.type then
    return value
  end
  local is_integer = option.type == "integer"
  local number = tonumber(value)
  if is_integer then
    number = math.tointeger(number)
  end
  if not number then
    M.fail("option '%s' needs %s, not '%s'", name, is_integer and "a whole number" or "a number", value)
  elseif not (number >= (option.min or -math.huge) and number <= (option.max or math.huge)) then
    M.fail("option '%s' must be %s, not %s", name, option.max and ("between %.14g and %.14g"):format(option.min, option.max)
      or ("at least %.14g"):format(option.min), value)
  end
  return number
end


---Refuses words that a command has no use for.
---@param command string
---@param words string[]
---@param most integer how many it takes
function M.at_most(command, words, most)
  if words[most + 1] then
    M.fail("%s: unexpected argument '%s'; try perilune %s --help", command, words[most + 1], command)
  end
end


---Refuses options that an action of a command has no use for: an option with `of` is for these actions alone.
---@param command string
---@param spec table[] see `parse`
---@param values table by key
---@param action string
function M.only(command, spec, values, action)
  for _, option in ipairs(spec) do
    if option.of and values[option.key] ~= nil and not tables.set(option.of)[action] then
      local others = table.concat(option.of, ", ")
      M.fail("%s %s: %s is an option of %s; try perilune %s --help", command, action, option.names[1], others, command)
    end
  end
end


---Parses words. An option is { names = {"--model", "-m"}, key = "model", value = "NAME"?, type = "number"|"integer"|nil,
---min = 0?, max = 9?, many = bool?, of = { "list" }?, help = "..." }; one without `value` is a switch, and `--no-x` turns the
---switch `--x` off; `many` may come several times and gives a list; `of` are the actions that it is for (`only`). "--" ends the options.
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
    local is_option = word:find("^%-[^%d]") ~= nil -- "-" is standard input, "-2.5" a number
    if word == "--" or stop_at_word and not is_option then
      table.move(words, word == "--" and position or position - 1, #words, #rest + 1, rest)
      break
    elseif not is_option then
      rest[#rest + 1] = word
    else
      local name, value = word:match("^(%-%-[^=]+)=(.*)$")
      name = name or word
      local option, is_meant = find(spec, name)
      if not option.value then
        if value then
          M.fail("option '%s' takes no value, got '%s'", name, value)
        end
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
    local help = (option.of and table.concat(option.of, ", ") .. ": " or "") .. option.help
    lines[#lines + 1] = ("  %-26s %s"):format(left, help)
  end
  return table.concat(lines, "\n")
end


return M
