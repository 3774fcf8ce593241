-- perilune chat: a conversation in the terminal, kept in a thread.
local clock = require "perilune.sys.clock"
local errors = require "perilune.std.errors"
local options = require "perilune.cli.options"
local output = require "perilune.cli.output"
local perilune = require "perilune"
local people = require "perilune.cli.person"
local proc = require "perilune.sys.proc"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"

local M = {
  usage = "chat [OPTION...] [NAME]",
  summary = "Talks to an assistant of the database, or to a model. "
    .. "The conversation is a thread in the database. Ctrl-C stops an answer, Ctrl-D ends the chat.",
  options = {
    { names = { "--thread", "-t" }, key = "thread", value = "KEY", help = "keep the conversation under this name" },
    { names = { "--continue", "-c" }, key = "continue", help = "go on with the latest conversation" },
    { names = { "--system", "-s" }, key = "system", value = "TEXT", help = "instructions" },
  },
  examples = { "", "anthropic/claude-sonnet-4-5 --thread trip-to-paris", "--continue" },
}


local function key_of(values, app)
  if values.thread and values["continue"] then
    options.fail("chat: either --thread or --continue, not both")
  elseif values.thread == "" then
    options.fail("chat: --thread needs a name")
  elseif values.thread then
    return values.thread
  elseif values["continue"] then
    local latest, err = threads.latest(app:database())
    if latest then
      return latest.key or latest.id
    elseif err.kind == "not_found" then
      options.fail("chat: there is no conversation to continue; start one with perilune chat")
    end
    error(err, 0)
  end
  return "chat " .. clock.iso()
end


local function print_answer(thread, assistant, line)
  local stream <close> = thread:stream(assistant, line)
  for event in stream do
    if event.type == "text" or event.type == "refusal" then
      output.write(event.text)
    elseif event.type == "error" then
      output.note("perilune: " .. tostring(event.error))
      return
    end
  end
  output.write("\n")
end


-- One answer in a task of its own, so that Ctrl-C ends it and not the chat. Its output may end it too (nobody reads it any
-- more): that ends the chat.
local function answer(thread, assistant, line)
  local ended, is_over, failure = task.signal(), false, nil
  local turn = task.spawn(function()
    local guard <close> = setmetatable({}, { __close = function(_, err) -- luacheck: ignore 211
      is_over, failure = true, err
      ended:wake()
    end })
    print_answer(thread, assistant, line)
  end)
  task.foreground(turn)
  while not is_over do
    ended:wait()
  end
  task.foreground(nil)
  if errors.is(failure, "cancelled") and failure.code ~= "exit" then
    output.note("\n(stopped; what had arrived is kept, marked as partial)")
  elseif failure then
    turn:wait() -- raises it
  end
end


-- The assistant of that name in the database; else a plain one that talks to the model of that name.
local function assistant_of(name, values, app)
  local found, err = perilune.try(app.assistant, app, name or "")
  if name and found and not values.system then
    return found
  elseif err and err.kind ~= "not_found" then
    error(err, 0)
  end
  return perilune.assistant { name = "chat", model = name, instructions = values.system }
end


function M.run(values, words, app)
  options.at_most("chat", words, 1)
  local assistant = assistant_of(words[1], values, app)
  app:model_of(assistant) -- a wrong name, a missing key: now, and not after the first question
  app.person = people.here()
  local key = key_of(values, app)
  local thread = perilune.thread(key)
  local is_tty = proc.is_tty(0) and proc.is_tty(1)
  if is_tty and not values.quiet then
    output.note(("thread: %s (Ctrl-D ends, Ctrl-C stops an answer)"):format(key))
  end
  while true do
    if is_tty then
      output.write("> ")
    end
    local line, err = proc.read_line()
    if err then
      error(err, 0)
    elseif not line then
      break
    elseif not utf8.len(line) then
      output.note("perilune: that line is no text in UTF-8 and was not sent")
    elseif line:find("%S") then
      answer(thread, assistant, line)
    end
  end
  if is_tty then
    output.write("\n")
  end
  return 0
end


return M
