local clock = require "perilune.sys.clock"
local fetch = require "perilune.sys.fetch"
local net = require "perilune.net.fetch"
local program = require "tests.support.program"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"


-- A server whose handler gets every request; its port; a function that ends it.
local function with_server(handler, use)
  local group <close> = task.group()
  local server <close> = assert(serve.listen { host = "127.0.0.1", port = 0 }) -- closed first: that ends its tasks
  group:spawn(function()
    local handlers <close> = task.group()
    while true do
      local request = server:accept()
      if not request then
        break
      end
      handlers:spawn(function()
        local own <close> = request
        handler(own)
      end)
    end
  end)
  use("http://127.0.0.1:" .. server:port())
  server:close()
end


local function frames(options)
  local handle <close> = assert(fetch.open(options))
  local head, err = handle:head()
  if not head then
    return nil, err
  end
  local list = {}
  while true do
    local data, event = handle:next()
    if not data then
      return list, event, head
    end
    list[#list + 1] = event and event .. "=" .. data or data
  end
end


describe("perilune.sys.fetch", function()
  it("sends a request and reads the answer", function()
    local seen
    with_server(function(request)
      seen = {
        method = request:method(), path = request:path(), body = request:body(), header = request:header("x-test"),
        expect = request:header("expect"), encoding = request:header("accept-encoding"),
      }
      request:reply { status = 201, headers = { ["x-answer"] = "yes" }, body = "hello" }
    end, function(url)
      local list, err, head = frames {
        url = url .. "/a/b", method = "PUT", headers = { ["X-Test"] = "1" }, body = ("x"):rep(2000000), frame = "whole",
      }
      assert.is_nil(err)
      assert.same({ "hello" }, list)
      assert.equal(201, head.status)
      assert.equal("yes", head.headers["x-answer"])
    end)
    assert.same({ "PUT", "/a/b", 2000000, "1" }, { seen.method, seen.path, #seen.body, seen.header })
    assert.is_nil(seen.expect)
    assert.equal("gzip, deflate", seen.encoding)
  end)

  it("cuts the body as asked, and hands errors over whole", function()
    with_server(function(request)
      local status = request:path() == "/error" and 500 or 200
      request:reply { status = status, body = ": comment\n\nevent: ping\ndata: {}\n\ndata: one\n\ndata: two\n\n" }
    end, function(url)
      assert.same({ "ping={}", "one", "two" }, (frames { url = url, frame = "sse" }))
      assert.equal(1, #frames { url = url .. "/error", frame = "sse" })
      assert.equal("event: ping", frames({ url = url, frame = "lines" })[2])
    end)
  end)

  it("reads texts between what frames begin and end with, together where they have piled up", function()
    local sent = { '<"a">', '<"bc">', '<"é">', '<"">', '<"d\\n">', '<"e">', '["f"]', '<"g">', "<>", '<"h"i">', '<"\xFF">' }
    with_server(function(request)
      request:reply { body = "data: " .. table.concat(sent, "\n\ndata: ") .. '\n\nevent: x\ndata: <"j">\n\ndata: <"' .. ("k"):rep(9000)
        .. '">\n\ndata: <"l">\n\n' }
    end, function(url)
      local handle <close> = assert(fetch.open { url = url, frame = "sse" })
      assert(handle:head())
      local function read(...)
        return { handle:next_texts('<"', '">', ...) }
      end
      assert.same({ "abcé", nil, 3 }, read())
      assert.same({ '<"">' }, read())
      assert.same({ '<"d\\n">' }, read(true))
      assert.same({ "e", nil, 1, { "e" } }, read(true))
      assert.same({ '["f"]' }, { handle:next() })
      assert.same({ "g", nil, 1 }, read(false))
      for _, frame in ipairs { "<>", '<"h"i">', '<"\xFF">' } do
        assert.same({ frame }, read())
      end
      assert.same({ '<"j">', "x" }, read())
      assert.equal(9004, #read()[1])
      assert.same({ "l", nil, 1 }, read())
      assert.same({}, read())
      assert.has_error(function() handle:next_texts("a") end)
    end)
  end)

  it("waits for a text as for any frame, and is told of its end", function()
    with_server(function(request)
      request:start {}
      for position = 1, 300 do
        request:write(("data: <%d>\n\n"):format(position))
        task.yield()
      end
      request:reset()
    end, function(url)
      local handle <close> = assert(fetch.open { url = url, frame = "sse" })
      assert(handle:head())
      local texts, count = {}, 0
      while true do
        local text, err, n, pieces = handle:next_texts("<", ">", true)
        if not text then
          assert.equal("connection", err.kind)
          break
        end
        count = count + n
        table.move(pieces, 1, n, #texts + 1, texts)
      end
      assert.same({ 300, "1", "300" }, { count, texts[1], texts[300] })
    end)
  end)

  it("reuses connections, up to the pool", function()
    local ports = {}
    with_server(function(request)
      ports[select(2, request:remote()) or request:remote()] = true
      request:reply { body = "x" }
    end, function(url)
      for _ = 1, 20 do
        frames { url = url }
      end
    end)
    local count = 0
    for _ in pairs(ports) do
      count = count + 1
    end
    assert.equal(1, count)
  end)

  it("waits with the sender when the reader is slow, and loses nothing", function()
    local chunk, chunks = ("data: " .. ("x"):rep(10000) .. "\n\n"), 4000
    local written = 0
    with_server(function(request)
      request:start { status = 200 }
      for _ = 1, chunks do
        request:write(chunk)
        written = written + 1
      end
      request:finish()
    end, function(url)
      local handle <close> = fetch.open { url = url, frame = "sse" }
      handle:head()
      for _ = 1, 200 do
        task.yield()
      end
      task.sleep(0.1)
      assert.is_true(written < chunks, "the sender should have been held back")
      local count = 0
      while handle:next() do
        count = count + 1
      end
      assert.equal(chunks, count)
      assert.equal(chunks, written)
    end)
  end)

  it("closes the socket of a request that is closed", function()
    local gone = task.signal()
    local has_gone = false
    with_server(function(request)
      request:start { status = 200 }
      request:write("data: x\n\n")
      request:gone()
      has_gone = true
      gone:wake()
    end, function(url)
      local handle = fetch.open { url = url, frame = "sse" }
      assert.equal("x", handle:next())
      handle:close()
      task.deadline(5, function()
        while not has_gone do
          gone:wait()
        end
      end)
      assert.has_error(function() handle:next() end, "the fetch is closed")
      handle:close()
    end)
  end)

  it("keeps its time limits apart", function()
    with_server(function(request)
      local path = request:path()
      if path ~= "/head" then
        request:start { status = 200 }
        repeat
          task.sleep(0.01)
        until not request:write(path == "/pings" and "event: ping\ndata: {}\n\n: comment\n\n" or ": comment\n\n")
      else
        request:gone()
      end
    end, function(url)
      local cases = {
        { { url = url .. "/head", first_byte = 0.1 }, "first_byte" },
        { { url = url .. "/pings", idle = 0.1 }, "idle" },
        { { url = url .. "/comments", idle = 0.1 }, "idle" },
        { { url = url .. "/pings", total = 0.1 }, "total" },
      }
      for _, case in ipairs(cases) do
        case[1].frame = "sse"
        local list, err = frames(case[1])
        err = err or list
        assert.equal("timeout", err.kind)
        assert.equal(case[2], err.code)
        assert.is_true(err.maybe_billed)
      end
    end)
  end)

  it("says what went wrong before an answer came", function()
    local closed = assert(serve.listen { host = "127.0.0.1", port = 0 })
    local port = closed:port()
    closed:close()
    local _, err = frames { url = "http://127.0.0.1:" .. port }
    assert.same({ "connection", "refused", false }, { err.kind, err.code, err.maybe_billed })
    assert.matches("port " .. port .. ".*Connection refused", err.message)
    _, err = frames { url = "http://no-such-host.invalid" }
    assert.same({ "connection", "dns" }, { err.kind, err.code })
    assert.matches("no%-such%-host%.invalid: the name does not exist, or the resolver has no answer", err.message)
    _, err = frames { url = "http://255.255.255.255" }
    assert.same({ "connection", "unreachable" }, { err.kind, err.code })
    _, err = frames { url = "ftp://127.0.0.1/" }
    assert.equal("configuration", err.kind)
  end)

  it("tells a certificate from a handshake", function()
    with_server(function(request)
      request:gone()
    end, function(url)
      url = url:gsub("http:", "https:")
      local _, err = frames { url = url }
      assert.same({ "tls", "handshake", false }, { err.kind, err.code, err.maybe_billed })
      _, err = frames { url = url, ca_file = "/no/such/file.pem" }
      assert.same({ "tls", "certificate" }, { err.kind, err.code })
    end)
  end)

  it("names a full descriptor table, and goes on when there is room again", function()
    local seen = 0
    with_server(function(request)
      seen = seen + 1
      if request:path() == "/hold" then
        request:gone()
      else
        request:reply { body = "hello" }
      end
    end, function(url)
      local child <close> = program.new()
      local script = child:file("full.lua", [[
        local fetch = require "perilune.sys.fetch"
        local url, held, err = arg[1], {}, nil
        local function ask(address)
          local handle <close> = fetch.open { url = address }
          local head, why = handle:head()
          return head and head.status or why.kind .. " " .. why.code
        end
        print(ask(url))
        for i = 1, 24 do
          held[i] = fetch.open { url = url .. "/hold", total = 0.5 }
        end
        for i = 1, 24 do
          local _, why = held[i]:head()
          err = why.code == "no_descriptors" and why or err
        end
        print(err.kind, err.code, err.maybe_billed, err.message)
        for i = 1, 24 do
          held[i]:close()
        end
        print(ask(url))
      ]])
      local result = child:run_after("ulimit -n 20", { "run", script, url })
      local lines = {}
      for line in result.stdout:gmatch("[^\n]+") do
        lines[#lines + 1] = line
      end
      assert.same({ "200", "200" }, { lines[1], lines[3] }, result.stdout .. result.stderr)
      assert.matches("^connection\tno_descriptors\tfalse\tno descriptor is left .*may open 20: .*ulimit %-n", lines[2])
    end)
    assert.is_true(seen > 2)
  end)

  it("reports an answer that was cut off", function()
    with_server(function(request)
      request:raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ndata: one\n\ndata: tw")
      request:reset()
    end, function(url)
      local list, err = frames { url = url, frame = "sse" }
      assert.equal("connection", err.kind)
      assert.equal("reset", err.code)
      assert.is_true(#list <= 1)
    end)
  end)

  it("tells the end of a connection that comes too early from a reset", function()
    local answers = {
      ["/nothing"] = "", ["/head"] = "HTTP/1.1 200 OK\r\ncontent-", ["/body"] = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
      ["/chunk"] = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
    }
    with_server(function(request)
      request:raw(answers[request:path()])
    end, function(url)
      for path in pairs(answers) do
        local list, err = frames { url = url .. path, frame = "sse" }
        err = err or list
        assert.same({ "connection", "closed", true }, { err.kind, err.code, err.maybe_billed }, path)
      end
    end)
  end)

  it("takes what is no HTTP for a bad answer", function()
    with_server(function(request)
      request:raw("SSH-2.0-OpenSSH_9.2\r\n")
    end, function(url)
      local _, err = frames { url = url }
      assert.same({ "bad_response", "protocol" }, { err.kind, err.code })
    end)
  end)

  it("refuses answers that are too large: body, frame, head", function()
    with_server(function(request)
      local large = ("x"):rep(100000)
      if request:path() == "/head" then
        request:raw("HTTP/1.1 200 OK\r\nx-large: " .. large .. "\r\ncontent-length: 0\r\n\r\n")
      else
        request:reply { body = "data: " .. large .. "\n\n" }
      end
    end, function(url)
      for _, options in ipairs {
        { url = url, body_bytes = 5000 }, { url = url, frame_bytes = 5000, frame = "sse" }, { url = url .. "/head" },
      } do
        local list, err = frames(options)
        err = err or list
        assert.equal("bad_response", err.kind)
      end
    end)
  end)

  it("does not follow redirects unless asked", function()
    with_server(function(request)
      if request:path() == "/" then
        request:reply { status = 302, headers = { location = "/there" }, body = "go" }
      else
        request:reply { body = "arrived" }
      end
    end, function(url)
      local list, _, head = frames { url = url .. "/" }
      assert.same({ 302, "go" }, { head.status, list[1] })
      list, _, head = frames { url = url .. "/", redirects = 1 }
      assert.same({ 200, "arrived" }, { head.status, list[1] })
    end)
  end)

  it("wants content in time, whatever else arrives", function()
    with_server(function(request)
      request:start { status = 200 }
      while request:write "data: x\n\n" do
        task.sleep(0.005)
      end
    end, function(url)
      local function read(limits, count)
        limits.url, limits.frame, limits.total = url, "sse", limits.total or 5
        local handle <close> = fetch.open(limits)
        local understood, started = 0, clock.mono()
        while true do
          local data, err = handle:next()
          if not data then
            return err, clock.mono() - started
          elseif understood < count then
            understood = understood + 1
            handle:progress()
          end
        end
      end
      local err, seconds = read({ first_content = 0.1, progress = 60 }, 0)
      assert.same({ "timeout", "first_content", "no content within 0.1 s", true }, { err.kind, err.code, err.message, err.maybe_billed })
      assert.is_true(seconds >= 0.1 and seconds < 2, seconds)
      err, seconds = read({ first_content = 60, progress = 0.1 }, 10) -- 10 times 5 ms, then 100
      assert.same({ "timeout", "progress", "no content for 0.1 s" }, { err.kind, err.code, err.message })
      assert.is_true(seconds >= 0.14 and seconds < 2, seconds)
      err = read({ first_content = 0.2, progress = 0.2, total = 0.5 }, math.huge)
      assert.equal("total", err.code)
    end)
  end)

  it("wants first content also while it connects and before the head", function()
    with_server(function(request)
      request:gone()
    end, function(url)
      local _, err = frames { url = url, first_content = 0.05 }
      assert.equal("first_content", err.code)
    end)
  end)

  it("does not count the time for which frames wait for their reader", function()
    local go_on = task.signal()
    with_server(function(request)
      request:start { status = 200 }
      request:write "data: one\n\ndata: two\n\n"
      if request:path() == "/paused" then
        local left = 40
        while left > 0 and request:write("data: " .. ("x"):rep(50000) .. "\n\n") do
          left = left - 1
        end
      end
      go_on:wait()
      request:write "data: late\n\n"
      request:gone()
    end, function(url)
      for _, path in ipairs { "/waiting", "/paused" } do
        local handle <close> = fetch.open { url = url .. path, frame = "sse", first_content = 2, progress = 0.3 }
        assert.equal("one", handle:next())
        handle:progress()
        task.sleep(0.5) -- "two" waits
        assert.equal("two", handle:next())
        for _ = 1, path == "/paused" and 40 or 0 do
          assert.equal(50000, #handle:next())
        end
        local group <close> = task.group()
        group:spawn(function()
          task.sleep(0.05)
          go_on:wake()
        end)
        assert.equal("late", handle:next()) -- of the 0.3 s the server has taken 0.05
        local ended, err = handle:next()
        assert.same({ "timeout", "progress" }, { ended == nil and err.kind, err.code })
      end
    end)
  end)

  it("ends the wait of another task when it is closed", function()
    with_server(function(request)
      if request:path() == "/body" then
        request:start { status = 200 }
        request:write "data: one\n\n"
      end
      request:gone()
    end, function(url)
      for path, method in pairs { ["/head"] = "head", ["/body"] = "next" } do
        local handle = fetch.open { url = url .. path, frame = "sse" }
        if method == "next" then
          assert.equal("one", handle:next())
        else
          local sent = task.spawn(function() pcall(task.deadline, 0.1, handle.head, handle) end)
          sent:wait() -- the request has gone out
        end
        local results
        local group <close> = task.group()
        group:spawn(function() results = table.pack(handle[method](handle)) end)
        task.yield()
        handle:close()
        group:wait()
        assert.is_nil(results[1])
        local err = results[2]
        assert.same({ "cancelled", "the request was closed while it was read", true }, { err.kind, err.message, err.maybe_billed })
        assert.has_error(function() handle[method](handle) end, "the fetch is closed")
        assert.has_error(function() handle:progress() end, "the fetch is closed")
      end
    end)
  end)

  it("takes misuse for misuse", function()
    assert.has_error(function() fetch.open { url = "http://x", methd = "GET" } end, "unknown option 'methd', did you mean 'method'?")
    assert.has_error(function() fetch.open {} end, "option 'url': a URL is needed")
    assert.error_matches(function() fetch.open { url = "http://x", headers = { ["a"] = "x\r\nb: c" } } end, "not allowed")
    assert.error_matches(function() fetch.open { url = "http://x", idle = 0 } end, "duration in seconds")
    assert.error_matches(function() fetch.open { url = "http://x", frame = "yaml" } end, "none of sse")
  end)

  it("lets one task wait at a time", function()
    with_server(function(request)
      request:gone()
    end, function(url)
      local handle <close> = fetch.open { url = url }
      local first = task.spawn(handle.head, handle)
      task.yield()
      assert.has_error(function() handle:head() end, "another task waits on this fetch")
      first:cancel()
      pcall(first.wait, first)
      assert.equal("timeout", select(2, pcall(task.deadline, 0.01, handle.head, handle)).kind)
    end)
  end)

  it("serves hundreds of requests at the same time", function()
    with_server(function(request)
      request:start { status = 200 }
      for i = 1, 3 do
        request:write(("data: %d\n\n"):format(i))
        task.yield()
      end
      request:finish()
    end, function(url)
      local total = 0
      local group <close> = task.group()
      for _ = 1, 600 do
        group:spawn(function()
          local count = #frames { url = url, frame = "sse" }
          total = total + count
        end)
      end
      group:wait()
      assert.equal(1800, total)
    end)
  end)

  it("connects only to the addresses that it may have", function()
    local hits = 0
    with_server(function(request)
      hits = hits + 1
      if request:path() == "/away" then
        request:reply { status = 302, headers = { location = "http://127.0.0.2:1/" } }
      else
        request:reply { body = "x" }
      end
    end, function(url)
      for _, addresses in ipairs { "public", {}, { "127.0.0.2", "10.0.0.0/8" } } do
        local list, err = frames { url = url, addresses = addresses }
        assert.is_nil(list)
        assert.same({ "permission", "permission" }, { err.kind, err.code })
        assert.equal("connecting to 127.0.0.1 is not allowed: it is a loopback address", err.message)
        assert.is_false(err.maybe_billed)
      end
      assert.equal(0, hits)
      assert.same({ "x" }, (frames { url = url, addresses = { "127.0.0.1/32" } }))
      local list, err = frames { url = url, addresses = "public" } -- on the connection that is left now
      assert.is_nil(list)
      assert.equal("permission", err.kind)
      err = select(2, frames { url = url .. "/away", addresses = { "127.0.0.1" }, redirects = 5 })
      assert.equal("connecting to 127.0.0.2 is not allowed: it is a loopback address", err.message)
      assert.equal(2, hits)
    end)
    assert.is_true(fetch.is_range("10.0.0.0/8") and fetch.is_range("::1"))
    assert.is_false(fetch.is_range("localhost") or fetch.is_range("10.0.0.0/33") or fetch.is_range(""))
    assert.has_error(function() fetch.open { url = "http://127.0.0.1:1", addresses = "private" } end)
    assert.has_error(function() fetch.open { url = "http://127.0.0.1:1", addresses = { "localhost" } } end)
    assert.has_error(function() fetch.open { url = "http://127.0.0.1:1", addresses = { 5 } } end)
    assert.has_error(function() fetch.open { url = "http://127.0.0.1:1", addresses = "public", proxy = "http://127.0.0.1:2" } end)
  end)
end)


describe("perilune.fetch", function()
  it("sends and reads JSON", function()
    with_server(function(request)
      assert.equal("application/json", request:header("content-type"))
      request:reply { headers = { ["content-type"] = "application/json" }, body = request:body() }
    end, function(url)
      local response = assert(net.request(url, { json = { list = { 1, 2.5 }, text = "é" } }))
      assert.equal(200, response.status)
      assert.same({ list = { 1, 2.5 }, text = "é" }, response:json())
    end)
  end)

  it("returns nil and an error that names the address", function()
    local response, err = net.request("http://no-such-host.invalid/x")
    assert.is_nil(response)
    assert.equal("connection", err.kind)
    assert.matches("no%-such%-host%.invalid/x", err.message)
    assert.is_true(err.retryable)
  end)

  it("does not know options that do not exist", function()
    local _, err = pcall(net.request, "http://x", { timeoout = 1 })
    assert.matches("did you mean 'timeout'", err.message)
  end)
end)
