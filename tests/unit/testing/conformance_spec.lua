-- The conformance kit: it lets what is right pass, and finds every fault that is planted, in the case that is about it.
local conformance = require "perilune.testing.conformance"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local openai_chat = require "perilune.model.provider.openai_chat"
local providers = require "perilune.model.provider"
local toy = require "tests.support.toy"

local folder


local function run(spec, options)
  local results = {}
  for _, row in ipairs(conformance.run(assert(providers.new(spec)), options)) do
    assert.is_nil(results[row.case], "two cases have one name")
    results[row.case] = row
  end
  return results
end


local function not_passed(results)
  local found = {}
  for name, row in pairs(results) do
    found[name] = row.result ~= "passed" and row.result .. ": " .. (row.why or "without a reason") or nil
  end
  return found
end


-- The same decoder with another way to feed, or to finish.
local function decoder_with(changes)
  local make = toy.spec().decoder
  return function(options)
    local inner = make(options)
    local outer = {
      feed = function(self, data)
        return (changes.feed or function(one, text)
          return one:feed(text)
        end)(inner, data, self)
      end,
      finish = function(self)
        return (changes.finish or inner.finish)(inner, self)
      end,
    }
    return outer
  end
end


local function encode_with(change)
  local encode = toy.spec().encode
  return function(request, target)
    local http, err = encode(request, target)
    if http then
      http = change(http, request, target) or http
    end
    return http, err
  end
end


local count = 0

-- A fault, the case that must find it, and what it must say.
local faults = {
  { "a model that is no name", "fields", "models[2]", { models = { "bear", 5 } } },
  { "a key instead of its name", "fields", "name of an environment variable", { key = "sk-123" } },
  { "an address without a scheme", "fields", "base_url must begin with", { base_url = "api.toy.example" } },
  { "one decoder for all answers", "a decoder for every answer", "a new object", function()
    local only = toy.spec().decoder {}
    return { decoder = function()
      return only
    end }
  end },
  { "a decoder without finish", "a decoder for every answer", "no method 'finish'", { decoder = function()
    return { feed = function() end }
  end } },
  { "an address of its own", "encode: address and headers", "base_url", { encode = encode_with(function(http)
    http.url = "https://api.toy.example/ask"
  end) } },
  { "a header that is a number", "encode: address and headers", "x-count", { encode = encode_with(function(http)
    http.headers["x-count"] = 1
  end) } },
  { "an error that is a text", "encode: address and headers", "an error object", { encode = function()
    return nil, "I cannot"
  end } },
  { "a counter in the body", "encode: same request, same bytes", "other bytes", { encode = encode_with(function(http)
    count = count + 1
    http.body = http.body:gsub("}$", ',"count":' .. count .. "}")
  end) } },
  { "a request that is changed", "encode: same request, same bytes", "changes the request", { encode = encode_with(function(_, request)
    request.tools = nil
  end) } },
  { "a key in the body", "encode: the key stays in the headers", "in the body", { encode = encode_with(function(http, _, target)
    http.body = http.body .. (target.api_key or "")
  end) } },
  { "a key in the address", "encode: the key stays in the headers", "in the address", { encode = encode_with(function(http, _, target)
    http.url, http.headers = http.url .. "?key=" .. (target.api_key or ""), {}
  end) } },
  { "a key that is not sent", "encode: the key stays in the headers", "no header", { encode = encode_with(function(http)
    http.headers = {}
  end) } },
  { "messages that are lost", "encode: messages and options", "kit-instructions", { encode = encode_with(function(http)
    http.body = http.body:gsub("kit%-instructions", "")
  end) } },
  { "tool results that are lost", "encode: tools and their results", "kit-sunny", { encode = encode_with(function(http)
    http.body = http.body:gsub("kit%-sunny", "")
  end) } },
  { "media that are lost", "encode: media are sent or refused", "neither sent nor refused", { encode = function(request, target)
    local kept = {}
    for position, message in ipairs(request.messages) do
      kept[position] = type(message.content) == "table" and { role = message.role, content = "" } or message
    end
    return toy.spec().encode(setmetatable({ messages = kept }, { __index = request }), target)
  end } },
  { "a text that is changed", "text", 'expected "Grüße 🌙"', { decoder = decoder_with { feed = function(inner, data)
    return inner:feed((data:gsub("Grüße", "Hallo")))
  end } } },
  { "calls without arguments", "tool", "arguments", { decoder = decoder_with { feed = function(inner, data)
    local events = inner:feed(data)
    for _, event in ipairs(events) do
      event.arguments = event.type == "tool_call" and "" or nil
    end
    return events
  end } } },
  { "a status that is not looked at", "errors by their status", "error.kind: expected authentication", { decoder = function()
    return toy.spec().decoder { status = 200 }
  end } },
  { "an answer that is read in pieces", "every split", "but at once", { frame = "bytes" } },
  { "an end that is made up", "cut", "passes for a whole one", { decoder = decoder_with { feed = function(inner, data)
    return json.decode(data) and inner:feed(data) or {}
  end, finish = function(inner)
    local events = inner:finish()
    if #events == 0 or inner.status >= 400 then
      return events
    end
    return { not inner.is_started and { type = "start" } or nil, { type = "stop", reason = "stop" } }
  end } } },
  { "events after the end", "nothing after the end", "no more events", { decoder = decoder_with { finish = function(inner, self)
    self.is_finished, inner.is_over = self.is_finished or not inner.is_over, self.is_finished
    return inner:finish()
  end } } },
  { "a decoder that throws", "strange answers", "it raised", { decoder = decoder_with { feed = function(inner, data)
    return inner:feed(json.encode(assert(json.decode(data))))
  end } } },
  { "a decoder that throws at odd values", "damaged frames", "it raised", { decoder = decoder_with { feed = function(inner, data)
    local line = json.decode(data)
    return inner:feed(type(line) == "table" and line.say and data .. (" "):rep(#line.say % 2) or data)
  end } } },
  { "an error that is a text", "strange answers", "it raised", { decoder = decoder_with {
    finish = function(inner)
      return inner:finish()[1] and { { type = "error", error = "cut" } } or {}
    end,
  } } },
}


describe("the conformance kit", function()
  before_each(function()
    folder = assert(fs.temp_dir "perilune-kit")
    toy.record(folder)
  end)

  after_each(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("lets a wire format of one's own pass", function()
    local results = run(toy.spec(), { fixtures = folder })
    assert.are.same({}, not_passed(results))
    for _, case in ipairs { "text", "tool", "errors/tired", "every split", "cut", "stall", "damaged frames" } do
      assert.is_truthy(results[case], case)
    end
  end)

  it("says which cases need recordings", function()
    local missed = not_passed(run(toy.spec()))
    local names = {}
    for name, why in pairs(missed) do
      names[#names + 1] = name
      assert.is_truthy(why:find("give --fixtures DIR", 1, true), why)
    end
    table.sort(names)
    assert.are.same({ "cut", "damaged frames", "every split", "nothing after the end", "stall" }, names)
  end)

  for _, fault in ipairs(faults) do
    it("finds " .. fault[1], function()
      local changes = type(fault[4]) == "function" and fault[4]() or fault[4]
      local row = run(toy.spec(changes), { fixtures = folder, only = fault[2] })[fault[2]]
      assert.are.equal("failed", row.result)
      assert.is_truthy(row.why:find(fault[3], 1, true), row.why)
    end)
  end

  it("runs one case alone, and says when there is none of that name", function()
    assert.are.same({ cut = { case = "cut", result = "passed" } }, run(toy.spec(), { fixtures = folder, only = "cut" }))
    local ok, err = pcall(run, toy.spec(), { only = "cot" })
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("there is no case 'cot', did you mean 'cut'?", 1, true), tostring(err))
  end)

  it("skips what a format refuses to send, and says so", function()
    local encode = toy.spec().encode
    local results = run(toy.spec { encode = function(request, target)
      if request.tools then
        return nil, errors.new { kind = "configuration", message = "the toy has no tools" }
      end
      return encode(request, target)
    end })
    local row = results["encode: tools and their results"]
    assert.are.same({ "skipped", "encode refuses: the toy has no tools" }, { row.result, row.why })
  end)

  it("raises what is wrong with the recordings themselves", function()
    assert(fs.write(folder .. "/text/expect.json", "{"))
    local ok, err = pcall(run, toy.spec(), { fixtures = folder })
    assert.is_false(ok)
    assert.is_truthy(tostring(err):find("text/expect.json", 1, true), tostring(err))
    ok, err = pcall(run, toy.spec(), { fixtures = folder .. "/nowhere" })
    assert.is_false(ok)
    assert.is_true(errors.is(err, "not_found"))
  end)
end)


describe("the conformance kit for chat.completions", function()
  local function chat(changes)
    local spec = { name = "acme", base_url = "http://127.0.0.1:9/v1", key = "ACME_API_KEY", models = { "acme-large" } }
    local made = assert(providers.compatible(spec))
    for field, value in pairs(changes or {}) do
      made[field] = value
    end
    return made
  end

  -- The family's decoder, whose events are changed on the way.
  local function with_events(change)
    return { decoder = function(options)
      local inner = openai_chat.decoder(options)
      return {
        feed = function(_, data, name)
          return change(inner:feed(data, name))
        end,
        finish = function()
          return change(inner:finish())
        end,
      }
    end }
  end

  it("needs no recordings: every case passes for a vendor that is data", function()
    local results = run(chat())
    assert.are.same({}, not_passed(results))
    for _, case in ipairs {
      "text", "stream", "tool", "tool, streamed", "parallel tools", "no-argument tool", "error 401", "error 404", "error 429",
      "error 500", "error in a 200", "error in a stream", "cut", "stall", "every split",
    } do
      assert.is_truthy(results[case], case)
    end
  end)

  it("asks vendors of other built-in dialects the same", function()
    for _, name in ipairs { "openai", "mistral", "zai", "azure" } do
      assert.are.same({}, not_passed(run(providers.extend(name, { name = "like-" .. name, key = "LIKE_API_KEY" }))))
    end
  end)

  local changes = {
    { "usage that is lost", { "text", "stream", "tool" }, function(event)
      return event.type ~= "usage"
    end },
    { "arguments of a tool without any", { "no-argument tool" }, function(event)
      if event.type == "tool_call" and event.arguments == "{}" then
        event.arguments = ""
      end
      return true
    end },
    { "a kind of error", { "error 401", "error 404", "error 429", "error 500", "error in a 200", "error in a stream" }, function(event)
      if event.error then
        event.error.kind = "api"
      end
      return true
    end },
    { "a second call", { "parallel tools" }, function(event)
      return not (event.type:find("^tool_call") and event.index > 0)
    end },
  }
  for _, change in ipairs(changes) do
    it("finds " .. change[1] .. " that is wrong", function()
      local results = run(chat(with_events(function(events)
        local kept = {}
        for _, event in ipairs(events) do
          kept[#kept + 1] = change[3](event) and event or nil
        end
        return kept
      end)))
      for _, case in ipairs(change[2]) do
        assert.are.equal("failed", results[case].result, case)
      end
    end)
  end
end)
