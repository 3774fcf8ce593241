local cassette = require "perilune.model.cassette"
local clock = require "perilune.sys.clock"
local deck = require "perilune.model.deck"
local errors = require "perilune.std.errors"
local fetch = require "perilune.net.fetch"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local log = require "perilune.sys.log"
local player = require "perilune.model.player"
local recorder = require "perilune.model.recorder"
local replay = require "tests.support.replay"
local stream = require "perilune.model.stream"
local task = require "perilune.sys.task"
local token = require "perilune.sys.token"

local TARGET = { name = "acme", model = "large" }
local SECRET = "cassette-spec-secret/1"


local function ask(text, more)
  local request = { messages = { { role = "user", content = text } } }
  for name, value in pairs(more or {}) do
    request[name] = value
  end
  return request
end


local function says(text)
  return { { type = "start", id = "a" }, { type = "text", text = text }, { type = "stop", reason = "stop", raw = "stop" } }
end


local function read(answer)
  local events = {}
  for event in answer do
    events[#events + 1] = event
  end
  return events
end


describe("a cassette", function()
  local folder, path, settings

  before_each(function()
    log.secret(SECRET)
    folder = assert(fs.temp_dir("cassette-spec"))
    path = folder .. "/exchanges.jsonl"
    settings = { env = function() end }
  end)

  after_each(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  -- A model that answers with these lists of events, one after the other; without any it must not be asked.
  local function over(...)
    local answers, count, made = { ... }, 0, { closed = 0 }
    made.model = cassette.new({ stream = function()
      count = count + 1
      local position, events = 0, assert(answers[count], "the network was asked")
      return stream.new(function()
        position = position + 1
        return events[position]
      end, function()
        made.closed = made.closed + 1
      end)
    end }, TARGET, settings)
    return made.model, made
  end

  -- Records what `f` asks a model that has these answers.
  local function record(f, ...)
    local model, made = over(...)
    do
      local _ <close> = deck.insert(settings, { record = path })
      f(model)
    end
    return made
  end

  local function lines()
    local list = {}
    for line in assert(fs.read(path)):gmatch("[^\n]+") do
      list[#list + 1] = assert(json.decode(line))
    end
    return list
  end

  -- Asks the file alone; returns the events of each answer.
  local function play(...)
    local model, answers = over(), {}
    local file = assert(player.new(path))
    settings.cassette = { mode = "replay", tape = file }
    for position, request in ipairs { ... } do
      answers[position] = read(model:stream(request))
    end
    settings.cassette = nil
    return answers, file
  end

  it("is not there when there is none: the stream is the model's own", function()
    local inner = stream.from_list {}
    local model = cassette.new({ stream = function() return inner end }, TARGET, settings)
    assert.equal(inner, model:stream(ask "x"))
  end)

  it("gives back every event as it was, and asks nobody", function()
    local events = {
      { type = "start", id = "a1", model = "large", provider = "acme" },
      { type = "thinking", text = "hm\n" }, { type = "text", text = "é 🌒 \"quoted\"" },
      { type = "tool_call", index = 0, id = "c", name = "f", arguments = '{"n":1.50}' },
      { type = "item", provider = "acme", item = { signature = "abc", list = json.array(), none = json.null, x = 1.0, n = 1 } },
      { type = "usage", usage = { prompt_tokens = 3, raw = { cost = 0.1 } } },
      { type = "stop", reason = "stop", raw = "end" },
    }
    record(function(model)
      assert.same(events, read(model:stream(ask "hello")))
    end, events)
    local answers, file = play(ask "hello")
    assert.equal(json.encode(events), json.encode(answers[1]))
    assert.same({}, file:unused())
  end)

  it("has a head, and one line for each exchange", function()
    record(function(model)
      read(model:stream(ask("hello", { temperature = 0.5, stream = true })))
    end, says "hi")
    local head, line = table.unpack(lines())
    assert.same({ 1, "offline/demo" }, { head.perilune_cassette, head.usual_model })
    assert.same({ "answer", 1, "acme/large" }, { line.kind, line.number, line.target })
    assert.same(ask("hello", { temperature = 0.5 }), line.request)
    assert.equal("hi", line.steps[2][2].text)
    assert.equal("integer", math.type(line.steps[2][1]))
  end)

  it("gives the n-th of equal requests the n-th answer, in the order they were asked", function()
    record(function(model)
      local first, second = model:stream(ask "again"), model:stream(ask "again")
      read(second) -- ends first
      read(first)
      read(model:stream(ask "other"))
    end, says "one", says "two", says "three")
    local answers = play(ask "again", ask "other", ask "again")
    assert.same({ "one", "three", "two" }, { answers[1][2].text, answers[2][2].text, answers[3][2].text })
  end)

  it("knows a request again whatever the order of its keys, its tools' functions, and how it is brought", function()
    local schema = { type = "object", properties = { b = { type = "string" }, a = { type = "integer" } } }
    local raw = assert(json.raw('{"properties":{"a":{"type":"integer"},"b":{"type":"string"}},"type":"object"}'))
    local function with_tool(parameters, run)
      return { { name = "f", description = "d", parameters = parameters, run = run, validator = { run }, result_bytes = 5 } }
    end
    record(function(model)
      read(model:stream(ask("x", { tools = with_tool(schema, print), stream = true })))
    end, says "ok")
    local answers = play(ask("x", { tools = with_tool(raw, error), stream = false, timeout = 3 }))
    assert.equal("ok", answers[1][2].text)
  end)

  it("says of an unknown request what is nearest, and where they differ", function()
    record(function(model)
      read(model:stream(ask("What is a crater?", { temperature = 1 })))
      read(model:stream(ask("What is the tide on the moon?", { temperature = 1 })))
    end, says "a hole", says "none")
    local answers = play(ask("What is the tide on the sun?", { temperature = 1 }))
    local err = answers[1][1].error
    assert.same({ "configuration", "cassette_miss" }, { err.kind, err.code })
    assert.is_truthy(err.message:find('the nearest is number 2, which differs at messages[1].content: recorded "…'
      .. ' is the tide on the moon?", asked "… is the tide on the sun?". Nothing was sent', 1, true), err.message)
  end)

  it("says when a request is asked more often than it was recorded, and to whom else it was made", function()
    record(function(model)
      read(model:stream(ask "x"))
    end, says "ok")
    local answers = play(ask "x", ask "x")
    local again = "has no further recording of this request to acme/large: it was recorded once (the last is number 1), and asked once more"
    assert.is_truthy(answers[2][1].error.message:find(again, 1, true))
    local file = assert(player.new(path))
    local _, err = file:take("answer", "acme/small", ask "x")
    assert.is_truthy(err.message:find("to acme/small: number 1 is the same one to acme/large", 1, true), err.message)
    assert.equal("cassette_elsewhere", err.code)
    _, err = file:take("answer", "acme/small", ask "y")
    assert.is_truthy(err.message:find("it has acme/large (1)", 1, true), err.message)
    assert(file:take("answer", TARGET.name .. "/" .. TARGET.model, ask "x"))
    _, err = file:take("answer", "acme/small", ask "x")
    assert.is_truthy(err.message:find("number 1 is the same one to acme/large, and was used already", 1, true), err.message)
    assert.equal("cassette_miss", err.code)
    file = assert(player.new(path))
    assert.same({ true, false }, { file:has("acme"), file:has("acm") })
    assert.same({ { provider = "acme", model = "large" } }, file:upcoming())
  end)

  it("keeps an answer that ends in an error, and gives back the same error object", function()
    local cause = errors.new { kind = "connection", message = "gone" }
    local failure = errors.new {
      kind = "rate_limit", message = "slow down", status = 429, retryable = true, retry_after = 2.5, cause = cause,
      details = { body = { error = { code = json.null } } },
    }
    record(function(model)
      read(model:stream(ask "x"))
    end, { { type = "start" }, { type = "error", error = failure, rate_limits = { requests = { remaining = 0 } } } })
    local event = play(ask "x")[1][2]
    assert.is_true(errors.is(event.error, "rate_limit"))
    local got = event.error
    assert.same({ "slow down", 429, true, 2.5 }, { got.message, got.status, got.retryable, got.retry_after })
    assert.equal(json.null, event.error.details.body.error.code)
    assert.equal(0, event.rate_limits.requests.remaining)
  end)

  it("marks an answer as cut that was closed early, or was never read to its end", function()
    local made = record(function(model)
      local closed = model:stream(ask "closed")
      assert.equal("start", closed:next().type)
      closed:close()
      closed:close()
      model:stream(ask "left"):next()
    end, says "one", says "two")
    assert.equal(1, made.closed)
    local _, first, second, third = table.unpack(lines())
    assert.same({ true, true }, { first.cut, second.cut })
    assert.is_nil(third)
    local answers = play(ask "closed")
    assert.same({ "start", "error" }, { answers[1][1].type, answers[1][2].type })
    assert.equal("cassette_cut", answers[1][2].error.code)
  end)

  it("holds no secret: not in a request, an answer, its pieces, an error or a name", function()
    local pieces = { { type = "start" } }
    for _, kind in ipairs { "text", "thinking" } do
      for piece in ("the key is " .. SECRET .. ", I think"):gmatch("..?.?.?.?") do
        pieces[#pieces + 1] = { type = kind, text = piece }
      end
    end
    pieces[#pieces + 1] = { type = "tool_call_delta", index = 0, arguments = '{"key":"cassette-spec-' }
    pieces[#pieces + 1] = { type = "tool_call_delta", index = 0, arguments = 'secret\\/1"}' }
    pieces[#pieces + 1] = { type = "tool_call", index = 0, id = "c", name = "f", arguments = '{"key":"' .. SECRET .. '"}' }
    pieces[#pieces + 1] = { type = "logprobs", content = { { token = "cassette-spec-" }, { token = "secret/1" } } }
    local failure = errors.new { kind = "authentication", message = "wrong key " .. SECRET, details = { [SECRET] = { SECRET } } }
    pieces[#pieces + 1] = { type = "error", error = failure }
    local request = ask("my key is " .. SECRET, { user = SECRET, metadata = { [SECRET] = "x" } })
    record(function(model)
      assert.equal(#pieces, #read(model:stream(request)))
      local left = model:stream(ask "left open")
      for _ = 1, 8 do
        left:next()
      end
    end, pieces, pieces)
    local text = assert(fs.read(path))
    for _, part in ipairs { SECRET, "cassette%-spec", "secret/1", "ret\\", "tte%-" } do
      assert.is_nil(text:find(part), part)
    end
    local said = {}
    for _, event in ipairs(play(request)[1]) do
      said[event.type] = (said[event.type] or "") .. (event.text or event.arguments or event.error and event.error.message or "")
    end
    assert.same({
      start = "", text = "the key is [redacted], I think", thinking = "the key is [redacted], I think",
      tool_call_delta = '{"key":"[redacted]"}', tool_call = '{"key":"[redacted]"}', error = "wrong key [redacted]",
    }, said)
  end)

  it("keeps large media by their hash, small ones as they are, and tells them apart", function()
    local large, other = token.base64(("x"):rep(6000)), token.base64(("y"):rep(6000))
    local function picture(data, url)
      return { messages = { { role = "user", content = { { type = "text", text = "?" }, { type = "image", data = data, url = url } } } } }
    end
    record(function(model)
      read(model:stream(picture(large)))
      read(model:stream(picture("aGVsbG8=")))
      read(model:stream(picture(nil, "data:image/png;base64," .. large)))
    end, says "large", says "small", says "address")
    assert.is_true(fs.stat(path).size < 3000)
    local answers = play(picture(nil, "data:image/png;base64," .. large), picture(large), picture("aGVsbG8="), picture(other))
    assert.same({ "address", "large", "small" }, { answers[1][2].text, answers[2][2].text, answers[3][2].text })
    assert.is_truthy(answers[4][1].error.message:find("differs at messages[1].content[2].data", 1, true))
  end)

  it("replays at once, or as slowly as it was recorded", function()
    record(function(model)
      read(model:stream(ask "x"))
    end, says "slow")
    local text = assert(fs.read(path)):gsub("%[%d+,{\"text", "[60,{\"text"):gsub("%[%d+,{\"raw", "[90,{\"raw")
    assert(fs.write(path, text))
    local model = over()
    settings.cassette = { mode = "replay", tape = assert(player.new(path)), timing = true }
    local started = clock.mono()
    local answer = model:stream(ask "x")
    assert.equal("start", answer:next().type)
    assert.equal("slow", answer:next().text)
    assert.is_true(clock.mono() - started >= 0.06)
    assert.equal("stop", answer:next().type)
    assert.is_true(clock.mono() - started >= 0.09)
    assert(fs.write(path, (text:gsub("%[60,{\"text", "[60000,{\"text"))))
    started = clock.mono()
    play(ask "x")
    assert.is_true(clock.mono() - started < 10)
  end)

  it("ends a slow replay for who waits in it, when another task closes the stream", function()
    record(function(model)
      read(model:stream(ask "x"))
    end, says "late")
    assert(fs.write(path, (assert(fs.read(path)):gsub("%[%d+,{\"text", "[3600000,{\"text"))))
    settings.cassette = { mode = "replay", tape = assert(player.new(path)), timing = true }
    local answer = over():stream(ask "x")
    answer:next()
    local group <close> = task.group()
    local waiting = group:spawn(answer.next, answer)
    task.yield()
    answer:close()
    assert.is_nil(waiting:wait())
  end)

  describe("as a file", function()
    local function recorded()
      record(function(model)
        read(model:stream(ask "x"))
        read(model:stream(ask "y"))
      end, says "one", says "two")
      return assert(fs.read(path))
    end

    local function problem(text)
      assert(fs.write(path, text))
      local file, err = player.new(path)
      assert.is_nil(file)
      assert.same({ "configuration", "no_cassette" }, { err.kind, err.code })
      return err.message:sub(#path + 2)
    end

    it("is read up to where a crash cut it", function()
      local text = recorded()
      local second = text:find("\n[^\n]+\n$") + 1
      for _, length in ipairs { second, second + 1, second + 40, #text - 2 } do
        assert(fs.write(path, text:sub(1, length)))
        log.set_level("off") -- it warns of the broken line
        local file = player.new(path)
        log.set_level("warn")
        assert.equal(1, #assert(file).recordings)
      end
      assert(fs.write(path, text:sub(1, -2)))
      assert.equal(2, #assert(player.new(path)).recordings)
    end)

    it("is refused with the line that is wrong", function()
      local text = recorded()
      local first, second, third = text:match("([^\n]+)\n([^\n]+)\n([^\n]+)")
      local function with(line)
        return table.concat({ first, line, third, "" }, "\n")
      end
      assert.is_truthy(problem(with "{"):find("^2: bad_response: "))
      assert.equal("2: a recording has a number and a target", problem(with "{}"))
      assert.equal("2: step 1 is not [milliseconds, event]", problem(with((second:gsub("%[%[%d+,", '[["x",')))))
      assert.equal("2: a recording is an answer or an exchange", problem(with((second:gsub('"answer"', '"?"')))))
      assert.is_truthy(problem("hello\n"):find("is no cassette: its first line is not", 1, true))
      assert.is_truthy(problem(""):find("is no cassette", 1, true))
      assert.is_truthy(problem('{"perilune_cassette":2}\n'):find("a cassette of version 2, this program reads version 1", 1, true))
      assert.equal("there is no cassette " .. path .. "?", select(2, player.new(path .. "?")).message)
    end)

    it("is replaced by a new recording, but nothing else is", function()
      recorded()
      record(function(model)
        read(model:stream(ask "z"))
      end, says "three")
      assert.equal(2, #lines())
      assert(fs.write(path, "print 'my script'\n"))
      local file, err = recorder.new(path, "offline/demo")
      assert.is_nil(file)
      assert.equal(path .. " is no cassette: it is not overwritten", err.message)
      assert.equal("print 'my script'\n", fs.read(path))
    end)

    it("tells at the end when it could not be written", function()
      local file = assert(recorder.new(path, "offline/demo"))
      assert(fs.remove(path))
      assert(fs.mkdir(path))
      file:finish(file:begin("exchange", "GET x"))
      local count, err = file:close()
      assert.is_nil(count)
      assert.is_truthy(tostring(err):find(path, 1, true))
    end)
  end)

  describe("for whole exchanges", function()
    it("answers instead of the network, with the same status, headers, bytes and errors", function()
      local bytes = "\0\xFF\x89PNG"
      local url, closed = nil, replay.closed_port()
      local function ask_all()
        local picture = assert(fetch.request(url .. "/picture?size=2&api_key=unknown-to-us"))
        local answer = assert(fetch.request(url .. "/json", { json = { q = 1, p = "x" } }))
        local none, err = fetch.request(closed)
        return { picture.status, picture.body, picture.headers["x-note"], answer:json(), none or err.kind, err.retryable }
      end
      local expected = { 404, bytes, "n", { a = json.array { 1, 2.5 } }, "connection", true }
      do
        local server <close> = replay.serve {
          replay.reply(404, bytes, { ["x-note"] = "n", ["set-cookie"] = "session=unknown-to-us" }), replay.reply(200, '{"a":[1,2.5]}'),
        }
        url = server.url
        local _ <close> = deck.insert(settings, { record = path })
        assert.same(expected, ask_all())
      end
      local text = assert(fs.read(path))
      assert.is_nil(text:find("unknown-to-us", 1, true))
      assert.is_truthy(text:find('"p":"x"', 1, true))
      do
        local _ <close> = deck.insert(settings, { replay = path })
        assert.same(expected, ask_all())
        local none, err = fetch.request(url .. "/json", { json = { q = 2, p = "x" } })
        assert.is_nil(none)
        assert.is_truthy(err.message:find("which differs at q: recorded 1, asked 2", 1, true), err.message)
      end
      local _, err = fetch.request(closed)
      assert.equal("connection", err.kind) -- the network is back
    end)
  end)

  describe("in its place", function()
    it("is alone, brings the model that was usual, and is taken out again", function()
      settings.model = "acme/usual"
      do
        local inserted <close> = deck.insert(settings, { record = path })
        assert.equal("record", settings.cassette.mode)
        local other, err = pcall(deck.insert, settings, { record = path })
        assert.is_false(other)
        assert.equal("conflict", err.kind)
        inserted:close()
        assert.is_nil(settings.cassette)
      end
      settings.model = "acme/now"
      do
        local _ <close> = deck.insert(settings, { replay = path })
        assert.equal("acme/usual", settings.model)
      end
      assert.same({ model = "acme/now", env = settings.env }, settings)
    end)

    it("completes the file when the task that recorded is cancelled", function()
      local model = over(says "one")
      local asked = task.signal()
      local recording = task.spawn(function()
        local _ <close> = deck.insert(settings, { record = path })
        read(model:stream(ask "x"))
        asked:wake()
        task.sleep(3600)
      end)
      asked:wait()
      recording:cancel()
      assert.is_false((pcall(recording.wait, recording)))
      assert.equal("answer", lines()[2].kind)
    end)
  end)
end)
