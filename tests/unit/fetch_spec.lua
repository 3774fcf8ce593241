local fetch = require "perilune.sys.fetch"
local net = require "perilune.net.fetch"
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

  it("keeps four time limits apart", function()
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
    assert.same({ "connection", "connect", false }, { err.kind, err.code, err.maybe_billed })
    _, err = frames { url = "http://no-such-host.invalid" }
    assert.same({ "connection", "dns" }, { err.kind, err.code })
    _, err = frames { url = "ftp://127.0.0.1/" }
    assert.equal("configuration", err.kind)
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
