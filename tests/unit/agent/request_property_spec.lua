-- Whatever a thread holds, whatever was lost, and wherever it is cut: the request is valid. The checks are written without looking at
-- the code that they check, and that they find something is shown by breaking that code, one place at a time.
local compaction = require "perilune.agent.compaction"
local context = require "perilune.agent.context"
local frames = require "tests.support.frames"
local histories = require "tests.support.histories"
local history = require "perilune.agent.history"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local mutation = require "perilune.testing.mutation"
local tokens = require "perilune.model.tokens"

local CASES = 20000
local MUTANT_CASES = 3000

local LOST = "Error: the outcome"

local known_roles = { system = true, developer = true, user = true, assistant = true, tool = true }


local function is_lost(message)
  return message.role == "tool" and message.content:sub(1, #LOST) == LOST
end


-- Each call has one result, right after its message; each result has its call; no id comes twice.
local function find_orphan(built)
  local position, seen = 1, {}
  while built[position] do
    local message = built[position]
    position = position + 1
    if message.role == "tool" then
      return "a result without its call"
    end
    for _, call in ipairs(message.tool_calls or {}) do
      local following = built[position]
      position = position + 1
      if seen[call.id] or call.id == "" then
        return "an id that is not unique"
      elseif not following or following.role ~= "tool" or following.tool_call_id ~= call.id then
        return "a call without its result"
      end
      seen[call.id] = true
    end
  end
end


local function find_misfit(built)
  local has_begun = false
  for _, message in ipairs(built) do
    local role = message.role
    if not known_roles[role] then
      return "a role that nobody knows"
    elseif role == "assistant" or role == "tool" then
      if not has_begun then
        return "a conversation that the user does not begin"
      end
    elseif role == "user" then
      has_begun = true
    end
    local says = type(message.content) == "string" and message.content:find("%S")
    if role == "assistant" and not says and #(message.tool_calls or {}) == 0 and not message.provider_items then
      return "an answer that says nothing"
    end
    if message.provider_items and message.provider_items.items[1].of ~= message.reasoning then
      return "what a provider wants back at another message"
    end
  end
end


-- The results that were stored right after an answer with calls: the first one of an id is that of its first call, and so on.
local function results_after(rows, seq)
  local lists = {}
  while rows[seq + 1] and rows[seq + 1].role == "tool" do
    seq = seq + 1
    local result = rows[seq].message
    lists[result.tool_call_id] = lists[result.tool_call_id] or {}
    table.insert(lists[result.tool_call_id], result.content)
  end
  return lists
end


-- What the rows hold about their calls: by mark, how often an id was given, and the first result of each content.
local function calls_of(case)
  local by_mark, uses, results = {}, {}, {}
  for seq, row in ipairs(case.rows) do
    local calls = row.message.tool_calls or {}
    local following = #calls > 0 and results_after(case.rows, seq)
    for _, call in ipairs(calls) do
      by_mark[call.arguments] = { id = call.id, row = row, result = following[call.id] and table.remove(following[call.id], 1) }
      uses[call.id] = (uses[call.id] or 0) + 1
    end
    if row.role == "tool" and not results[row.message.content] then
      results[row.message.content] = row
    end
  end
  return by_mark, uses, results
end


-- Results are those of their calls; calls of interrupted answers do not exist.
local function find_wrong_result(case, built)
  local by_mark, uses, results = calls_of(case)
  for position, message in ipairs(built) do
    for at, call in ipairs(message.tool_calls or {}) do
      local made, result = by_mark[call.arguments], built[position + at]
      if made then
        local stored = results["r" .. call.arguments]
        local mark = not is_lost(result) and result.content:sub(2)
        if made.row.status == "partial" then
          return "a call of an interrupted answer"
        elseif made.result and made.result ~= result.content then
          return "not the result that was stored right after its call"
        elseif mark and by_mark[mark].id ~= made.id then
          return "the result of a call of another id"
        elseif uses[made.id] == 1 and mark ~= (stored ~= nil and stored.seq > made.row.seq and call.arguments) then
          return "not the result that was stored"
        end
      end
    end
  end
end


-- Where a message comes from; nil: from no row.
local function seq_of(message)
  local text = message.role == "user" and message.content:match("^u(%d+)") or message.role == "assistant" and message.reasoning
  return text and tonumber((text:gsub("^m", "")))
end


local function find_wrong_place(case, built, loaded)
  local before, last_user = loaded.summary and loaded.summary.upto_seq or 0, nil
  for _, message in ipairs(built) do
    local seq = seq_of(message)
    if seq and seq <= before then
      return "messages out of order, or beside their summary"
    end
    before = seq or before
    last_user = message.role == "user" and message or last_user
  end
  if case.last_user and seq_of(last_user or {}) ~= case.last_user then
    return "no last message of the user"
  end
end


-- More than the limit is sent only when nothing but the last turn is left. What stands for a lost result is not counted, and what was
-- stored after the user's last message does not count as a message, wherever it stands now.
local function find_excess(case, built)
  local rules, sum, count, users = case.assistant.history, 0, 0, 0
  local _, _, results = calls_of(case)
  for position, message in ipairs(built) do
    if position > 1 and not is_lost(message) then
      local is_summary = message.role == "user" and message.content:find("^%(Summary")
      local row = message.role == "tool" and results[message.content]
      local seq = row and row.seq or seq_of(message) or 0
      sum = sum + tokens.of_message(message)
      count = count + (not is_summary and seq <= (case.last_user or 0) and 1 or 0)
      users = users + (message.role == "user" and not is_summary and 1 or 0)
    end
  end
  if users > 1 and (sum > (rules.tokens or math.huge) or count > (rules.messages or math.huge)) then
    return ("too much: %d tokens, %d messages up to the user's last"):format(sum, count)
  end
end


local function request(case, modules)
  local loaded = assert(modules.history.load(case, "t", case.assistant))
  local begins_at = loaded.summary and loaded.summary.upto_seq + 1 or 1
  local is_cut_wrong = loaded.first_seq and loaded.first_seq > begins_at and loaded.messages[1].role ~= "user"
  local made
  loaded, made = modules.compaction.if_needed {
    db = case, thread = "t", assistant = case.assistant, loaded = loaded, model = case.model,
  }
  local built = modules.context.build(loaded.messages, "Be brief.", loaded.summary)
  if is_cut_wrong or made and made.upto_seq and case.rows[made.upto_seq + 1].role ~= "user" then
    return built, loaded, "a cut that is not right before the user speaks"
  end
  return built, loaded
end


-- What is wrong with the request for this case; nil: nothing.
local function check(case, modules)
  local built, loaded, problem = request(case, modules)
  problem = problem or find_orphan(built) or find_misfit(built) or find_wrong_result(case, built)
    or find_wrong_place(case, built, loaded) or find_excess(case, built)
  if not problem and json.encode(built) ~= json.encode((request(case, modules))) then
    problem = "another request from the same rows"
  end
  return problem, built
end


local function describe_case(case, built)
  local rules = case.assistant.history
  local parts = { ("messages %s, tokens %s, compaction %s, keep %s"):format(rules.messages, rules.tokens, rules.compaction, rules.keep) }
  for _, row in ipairs(case.rows) do
    parts[#parts + 1] = row.status:sub(1, 1) .. " " .. assert(json.encode(row.message))
  end
  parts[#parts + 1] = "built:"
  for _, message in ipairs(built) do
    parts[#parts + 1] = "  " .. assert(json.encode(message))
  end
  return table.concat(parts, "\n")
end


local here = { context = context, history = history, compaction = compaction }

-- The same modules, with one of them changed in one place.
local function broken(name, from, to)
  local modules = {}
  local function load_module(which)
    local path = ("lua/perilune/agent/%s.lua"):format(which)
    local text = assert(frames.read(path))
    if which == name then
      local first, last = text:find(from, 1, true)
      assert(first, ("%s does not hold %q"):format(path, from))
      text = text:sub(1, first - 1) .. to .. text:sub(last + 1)
    end
    local environment = setmetatable({ require = function(module)
      return modules[module:match("^perilune%.agent%.(.*)$")] or require(module)
    end }, { __index = _G })
    return assert(load(text, "@" .. path, "t", environment))()
  end
  for _, which in ipairs { "context", "history", "compaction" } do
    modules[which] = load_module(which)
  end
  return modules
end


-- Module, what stands there, what stands there instead.
local mutants = {
  { "context", "while self.used[issued] do", "while false do" },
  { "context", "id == call.id and call or with(call, { id = id })", "call" },
  { "context", "id == message.tool_call_id and message or with(message, { tool_call_id = id })", "message" },
  { "context", "places[call.id], self.places[call.id] = its_places, its_places",
    "places[call.id] = its_places; self.places[call.id] = self.places[call.id] or its_places" },
  { "context", "places.taken = places.taken + 1", "places.taken = #places" },
  { "context", "not self.has_begun or says_nothing(message)", "says_nothing(message)" },
  { "context", "not self.has_begun or says_nothing(message)", "not self.has_begun" },
  { "context", "take[message.role]", "(take[message.role] or builder.push)" },
  { "context", "take.tool = builder.place_result", "take.tool = builder.push" },
  { "context", 'stored.status == "partial"', "false" },
  { "context", "self:push { role = \"tool\"", "local _ = { role = \"tool\"" },
  { "history", "sum > limit.tokens or last and", "last and" },
  { "history", "last - position + 1 > limit.messages", "last - position > limit.messages" },
  { "history", 'elseif list[position].role == "user" then', "else" },
  { "history", "stored.seq <= after_seq or", "" },
  { "history", "self.last_user ~= nil and (", "(" },
  { "history", "if read.is_whole and not M.is_over(loaded, bound) then", "do" },
  { "compaction", "loaded.seqs[position] - 1", "loaded.seqs[position]" },
  { "compaction", "return history.window(history.from(loaded, position, { upto_seq = made.upto_seq, text = made.body })), made",
    "return history.from(loaded, position, { upto_seq = made.upto_seq, text = made.body }), made" },
  { "compaction", "local rest = history.window(loaded)", "local rest = loaded" },
}


describe("every request", function()
  local write = log.write

  setup(function() log.write = function() end end)

  teardown(function() log.write = write end)

  it(("is valid, whatever the thread holds (%d threads)"):format(CASES), function()
    local random = mutation.random(5)
    for number = 1, CASES do
      local case = histories.new(random)
      local problem, built = check(case, here)
      if problem then
        error(("case %d: %s\n%s"):format(number, problem, describe_case(case, built)))
      end
    end
  end)

  it("is the same from a run that goes on as from one that is resumed", function()
    local random = mutation.random(6)
    for number = 1, CASES // 4 do
      local case = histories.new(random)
      case.assistant.history.compaction = "window"
      local rows = case.rows
      case.rows = table.move(rows, 1, case.last_user or 0, 1, {})
      local loaded = assert(history.load(case, "t", case.assistant))
      for seq = #case.rows + 1, #rows do
        case.rows[seq] = rows[seq]
        table.insert(loaded.messages, context.message_of(rows[seq]))
        loaded = compaction.if_needed { db = case, thread = "t", assistant = case.assistant, loaded = loaded }
        local resumed = assert(history.load(case, "t", case.assistant))
        local built, again = context.build(loaded.messages), context.build(resumed.messages)
        if json.encode(again) ~= json.encode(built) then
          error(("case %d, row %d:\n%s"):format(number, seq, describe_case(case, built)))
        end
      end
    end
  end)

  for position, mutant in ipairs(mutants) do
    it(("would not be without this (%d): %s"):format(position, mutant[2]), function()
      local modules, random = broken(table.unpack(mutant)), mutation.random(7)
      for _ = 1, MUTANT_CASES do
        local ok, problem = pcall(check, histories.new(random), modules)
        if not ok or problem then
          return
        end
      end
      error("nobody noticed")
    end)
  end
end)
