-- perilune.tools.ask_user: a question for the person at the terminal, or for whoever the script names.
local definition = require "perilune.tool.definition"
local proc = require "perilune.sys.proc"
local settings = require "perilune.tool.builtin.settings"

local M = {}

M.CHOICES_MAX = 20

---@alias perilune.Ask fun(question: string, choices: string[]|nil, context: table): string|nil, perilune.Error|string|nil

---@class perilune.AskUserOptions : perilune.BuiltinOptions
---@field ask? perilune.Ask who answers; default `context.ask`, then the terminal


-- What a model writes must not move the cursor or change the title of a window.
local function printable(question)
  return (question:gsub("[\0-\9\11-\31\127]", " "):gsub("\xc2[\x80-\x9f]", " "))
end


local function ask_terminal(question, choices)
  if not proc.is_tty(0) then
    return settings.failure("no_terminal", "nobody can be asked: standard input is not a terminal")
  end
  local lines = { "", printable(question) }
  for i, choice in ipairs(choices or {}) do
    lines[#lines + 1] = ("  %d. %s"):format(i, printable(choice))
  end
  local ok, err = proc.write(2, table.concat(lines, "\n") .. "\n> ")
  if not ok then
    return nil, err
  end
  local line
  line, err = proc.read_line()
  if err then
    return nil, err
  elseif not line then
    return settings.failure("no_answer", "the user closed the input and did not answer")
  end
  return line
end


-- A number stands for the choice.
local function chosen(answer, choices)
  local number = choices and answer:match("^%s*(%d+)%.?%s*$")
  return number and choices[tonumber(number)] or answer
end


local function run(ask, arguments, context)
  ask = ask or context and context.ask or ask_terminal
  local answer, err = ask(arguments.question, arguments.choices, context)
  if not answer and err then
    return nil, err
  elseif not answer then
    return settings.failure("no_answer", "the user did not answer")
  end
  answer = chosen(answer, arguments.choices)
  return answer:find("%S") and answer or "[the user's answer is empty]"
end


---A tool that asks the user.
---@param options? perilune.AskUserOptions
---@return perilune.Tool
function M.new(options)
  options = settings.read("perilune.tools.ask_user", options, { ask = "function" })
  return definition.define {
    name = options.name or "ask_user",
    description = "Ask the user a question, and wait for the answer. Only for what the user alone can know or decide.",
    parameters = {
      question = "string: one clear question",
      choices = {
        type = "array", items = { type = "string" }, maxItems = M.CHOICES_MAX, optional = true,
        description = "answers to choose from; another answer stays possible",
      },
    },
    timeout = options.timeout,
    approval = options.approval,
    run = function(arguments, context)
      return run(options.ask, arguments, context)
    end,
  }
end


return M
