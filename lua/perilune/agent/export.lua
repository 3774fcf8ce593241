-- A thread as a file: JSON with all there is (messages, summaries, runs with their steps, attempts and whole tool results), or
-- Markdown to read. It is written in pieces, so that a long thread is no larger in memory than its largest part.
local errors = require "perilune.std.errors"
local json = require "perilune.json"
local markdown = require "perilune.agent.markdown"
local messages = require "perilune.store.messages"
local rows = require "perilune.store.rows"
local runs = require "perilune.store.runs"
local steps = require "perilune.store.steps"
local threads = require "perilune.store.threads"
local usage = require "perilune.store.usage"

local M = {}

local must = errors.must

local PAGE = 500

local writers = {}


local function encode(value)
  return must(json.encode(value))
end


-- Calls `f` with every message, in order.
local function each_message(db, thread, f)
  local after = 0
  repeat
    local page = must(messages.list(db, thread, { limit = PAGE, after = after }))
    for _, stored in ipairs(page) do
      f(stored)
      after = stored.seq
    end
  until #page < PAGE
end


-- The runs of the thread, the oldest first.
local function all_runs(db, thread)
  local newest_first, after = {}, nil
  repeat
    local page = must(runs.list(db, { thread = thread, limit = PAGE, after = after }))
    table.move(page, 1, #page, #newest_first + 1, newest_first)
    after = #page > 0 and page[#page].id or nil
  until #page < PAGE
  local list, count = {}, #newest_first
  for position, run in ipairs(newest_first) do
    list[count + 1 - position] = run
  end
  return list
end


local function decode_time(row)
  return rows.decode(row, {}, { "created_at" })
end


local function read(db, name, params)
  local list, err = db:read(name, params)
  return json.array(must(rows.each(list, err, decode_time)))
end


-- One field of the document, a list with a line for each value.
local function list_writer(write, name)
  write((',\n"%s": ['):format(name))
  local is_first = true
  return function(value)
    write((is_first and "\n" or ",\n") .. encode(value))
    is_first = false
  end, function()
    write(is_first and "]" or "\n]")
  end
end


function writers.json(db, thread, write)
  write('{"format": "perilune.thread", "version": 1,\n"thread": ' .. encode(thread))
  local add, close = list_writer(write, "messages")
  each_message(db, thread, add)
  close()
  write(',\n"summaries": ' .. encode(read(db, "thread_summaries", { thread_id = thread.id })))
  add, close = list_writer(write, "runs")
  for _, run in ipairs(all_runs(db, thread)) do
    run.steps = json.array(must(steps.list(db, run)))
    run.attempts = json.array(must(usage.attempts(db, run)))
    run.results = read(db, "thread_results", { run_id = run.id })
    add(run)
  end
  close()
  write("\n}\n")
end


function writers.markdown(db, thread, write)
  local by_id = {}
  for _, run in ipairs(all_runs(db, thread)) do
    by_id[run.id] = run
  end
  write(markdown.thread(thread))
  local current -- the run whose messages are being written
  local function end_run()
    if current then
      write(markdown.run(current))
    end
  end
  each_message(db, thread, function(stored)
    local run = by_id[stored.run_id]
    if run ~= current then
      end_run()
      current = run
    end
    write(markdown.message(stored))
  end)
  end_run()
end


---Writes a thread, piece by piece. Raises.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param format "json"|"markdown"
---@param write fun(piece: string)
function M.write(db, thread, format, write)
  local writer = writers[format]
  if not writer then
    error(errors.new {
      kind = "configuration", code = "misuse", message = ("a thread is exported as json or markdown, not as '%s'"):format(tostring(format)),
    }, 0)
  end
  writer(db, must(threads.get(db, rows.id(thread))), write)
end


---A thread as text. Raises.
---@param db perilune.Database
---@param thread string|{ id: string }
---@param format "json"|"markdown"
---@return string
function M.text(db, thread, format)
  local pieces = {}
  M.write(db, thread, format, function(piece)
    pieces[#pieces + 1] = piece
  end)
  return table.concat(pieces)
end


return M
