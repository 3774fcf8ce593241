local errors = require "perilune.std.errors"
local json = require "perilune.json"
local task = require "perilune.sys.task"
local tool = require "perilune.tool"


local function define(run, changes)
  local options = { name = "t", description = "d", parameters = { city = "string", days = "integer?" }, run = run }
  for key, value in pairs(changes or {}) do
    options[key] = value
  end
  local defined = tool.define(options)
  return defined
end


-- What a tool that does `run` answers.
local function answer(run, changes)
  return tool.call(define(run, changes), '{"city":"Paris"}', {})
end


describe("tool.parse_arguments", function()
  local free = tool.define { name = "free", description = "d", run = function() end }

  it("reads and checks", function()
    assert.same({ city = "Paris", days = 2 }, tool.parse_arguments(define(), '{"city":"Paris","days":2}'))
  end)

  it("takes no text and null as no arguments", function()
    for _, text in ipairs { "", " \n", "null", "{}" } do
      assert.same({}, tool.parse_arguments(free, text))
    end
    local arguments, err = tool.parse_arguments(define(), "")
    assert.is_nil(arguments)
    assert.matches("%$.city: is required but missing", err.message)
  end)

  it("says where broken JSON breaks", function()
    local arguments, err = tool.parse_arguments(free, '{"city": Paris}')
    assert.is_nil(arguments)
    assert.is_true(errors.is(err, "tool"))
    assert.equal("arguments", err.code)
    assert.matches("^tool 'free': the arguments are not valid JSON: ", err.message)
    assert.matches("column 10", err.message)
    assert.is_true(errors.is(err.cause, "bad_response"))
  end)

  it("lists everything that does not fit", function()
    local _, err = tool.parse_arguments(define(), '{"days":"two","cty":"Paris"}')
    assert.equal("tool 't': the arguments do not fit its schema:\n$.city: is required but missing\n"
      .. '$.days: must be an integer; got "two"\n$.cty: is not allowed here, did you mean "city"?', err.message)
    assert.equal("$.city", err.details.misses[1].path)
    assert.equal(3, #err.details.misses)
  end)

  it("takes nothing but an object, whatever the schema says", function()
    local loose = tool.define { name = "loose", description = "d", parameters = { properties = {} }, run = function() end }
    for _, text in ipairs { "[]", "1", '"x"', "false" } do
      local arguments, err = tool.parse_arguments(loose, text)
      assert.is_nil(arguments)
      assert.matches("must be an object", err.message)
    end
  end)
end)


describe("tool.call", function()
  it("hands over the arguments and the context", function()
    local context = { call_id = "call_1" }
    local seen
    local result = tool.call(define(function(...) seen = { ... } end), '{"city":"Paris"}', context)
    assert.same({ city = "Paris" }, seen[1])
    assert.equal(context, seen[2])
    assert.same({ content = "done", is_error = false }, result)
  end)

  it("answers texts as they are and values as JSON", function()
    assert.equal("18 °C", answer(function() return "18 °C" end).content)
    assert.equal('{"high":18,"rain":[]}', answer(function() return { high = 18, rain = json.array() } end).content)
    assert.equal("false", answer(function() return false end).content)
    assert.equal("null", answer(function() return json.null end).content)
    assert.equal("18", answer(function() return 18 end).content)
    assert.equal("", answer(function() return "" end).content)
  end)

  it("does not run with arguments that do not fit", function()
    local ran = false
    local result = tool.call(define(function() ran = true end), "{}", {})
    assert.is_false(ran)
    assert.is_true(result.is_error)
    assert.equal("Error: tool 't': the arguments do not fit its schema:\n$.city: is required but missing", result.content)
    assert.equal("arguments", result.error.code)
  end)

  it("turns what the tool raises into a result", function()
    local result = answer(function() error("no such city") end)
    assert.is_true(result.is_error)
    assert.matches("^Error: tool 't': .*call_spec.lua:%d+: no such city$", result.content)
    assert.is_true(errors.is(result.error, "tool"))
    assert.equal("raised", result.error.code)
    assert.matches("call_spec.lua", result.error.details.traceback)
  end)

  it("keeps a raised error object as the cause", function()
    local refused = errors.new { kind = "connection", message = "connection refused" }
    local result = answer(function() error(refused) end)
    assert.equal("Error: tool 't': connection refused", result.content)
    assert.equal(refused, result.error.cause)
  end)

  it("survives any raised value", function()
    local angry = setmetatable({}, { __tostring = function() error("angry") end, __index = function() error("angry") end })
    assert.equal("Error: tool 't': failed with a table", answer(function() error(angry) end).content)
    assert.equal("Error: tool 't': failed with a nil", answer(function() error() end).content)
    assert.matches("stack overflow", answer(function() local function deep() return 1 + deep() end return deep() end).content)
  end)

  it("turns nil and an error into a result", function()
    assert.equal("Error: tool 't': no such city", answer(function() return nil, "no such city" end).content)
    local missing = errors.new { kind = "not_found", message = "nowhere" }
    local result = answer(function() return nil, missing end)
    assert.equal("Error: tool 't': nowhere", result.content)
    assert.equal("returned", result.error.code)
    assert.equal(missing, result.error.cause)
  end)

  it("says when a result is not JSON", function()
    local result = answer(function() return { f = print } end)
    assert.matches("^Error: tool 't': its result is not JSON: .*%$%.f", result.content)
    assert.equal("result", result.error.code)
  end)

  it("cuts a long result, says so, and has it whole beside", function()
    local long = ("é"):rep(50)
    local result = answer(function() return long end, { result_bytes = 21 })
    assert.equal(("é"):rep(9) .. "…\n[cut: the result has 100 bytes, only its beginning is shown]", result.content)
    assert.equal(long, result.whole)
    assert.equal(18, result.shown_bytes)
    local short = answer(function() return ("a"):rep(64 * 1024) end)
    assert.equal(64 * 1024, #short.content)
    assert.is_nil(short.whole)
    assert.is_nil(short.shown_bytes)
    assert.equal(64 * 1024 - 3, answer(function() return ("a"):rep(64 * 1024 + 1) end).shown_bytes)
  end)

  it("shows exactly the bytes that it says are shown, wherever it cuts", function()
    local long = ("aé😀"):rep(5)
    for bytes = 1, #long - 1 do
      local result = answer(function() return long end, { result_bytes = bytes })
      local shown = result.content:gsub("\n%[cut: .*$", ""):gsub("…$", "")
      assert.equal(long:sub(1, result.shown_bytes), shown)
      assert.truthy(utf8.len(long, result.shown_bytes + 1), "reading on begins with a whole character")
    end
    local values = answer(function() return { list = { 1, 2, 3 } } end, { result_bytes = 10 })
    assert.equal('{"list":[1,2,3]}', values.whole)
    local broken = answer(function() return "\xFF" .. ("a"):rep(20) end, { result_bytes = 10 })
    assert.equal("\u{FFFD}" .. ("a"):rep(20), broken.whole)
  end)

  it("makes any result valid UTF-8", function()
    assert.equal("a\u{FFFD}b", answer(function() return "a\xFFb" end).content)
    assert.equal('{"a":"\u{FFFD}"}', answer(function() return { a = "\xFF" } end).content)
    assert.equal("Error: tool 't': \u{FFFD}", answer(function() return nil, "\xFF" end).content)
  end)

  it("lets a cancel through", function()
    local cancelled = errors.new { kind = "cancelled", message = "the task was cancelled" }
    local ok, err = pcall(answer, function() error(cancelled) end)
    assert.is_false(ok)
    assert.equal(cancelled, err)
  end)

  it("ends with its task when a tool raises because of that", function()
    local check = task.check
    finally(function() task.check = check end)
    task.check = function() error(errors.new { kind = "timeout", code = "deadline", message = "the run is over" }) end
    local ok, err = pcall(answer, function() error("the socket went away") end)
    assert.is_false(ok)
    assert.equal("the run is over", err.message)
  end)

  it("runs under its own time limit", function()
    local deadline, limit = task.deadline, nil
    finally(function() task.deadline = deadline end)
    task.deadline = function(seconds)
      limit = seconds
      error(errors.new { kind = "timeout", code = "deadline", message = "the deadline has passed" })
    end
    local result = answer(function() end, { timeout = 10 })
    assert.equal(10, limit)
    assert.equal("Error: tool 't': ran out of time (its limit is 10 s)", result.content)
    assert.equal("timeout", result.error.code)
  end)

  it("refuses a tool that is answered from outside", function()
    local outside = tool.define { name = "t", description = "d" }
    assert.has_error(function() tool.call(outside, "{}", {}) end)
  end)
end)
