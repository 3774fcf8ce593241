local fetch = require "perilune.sys.fetch"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"


local function listen(options)
  return assert(serve.listen(options or {}))
end


local function open(server, options)
  options.url = ("http://127.0.0.1:%d%s"):format(server:port(), options.path or "/")
  options.path = nil
  return assert(fetch.open(options))
end


--- The whole answer: status, body, headers; or nil, err with what was read of the body.
local function get(server, options)
  local handle <close> = open(server, options or {})
  local head, err = handle:head()
  if not head then
    return nil, err, ""
  end
  local body = {}
  while true do
    local bytes, failure = handle:next()
    if failure then
      return nil, failure, table.concat(body)
    end
    if not bytes then
      return head.status, table.concat(body), head.headers
    end
    body[#body + 1] = bytes
  end
end


--- Runs `handler(request)` for every request, one after the other, until the server is closed.
local function handle_with(group, server, handler)
  return group:spawn(function()
    for request in server.accept, server do
      local owned <close> = request
      handler(owned)
    end
  end)
end


--- Opens a server and a group around `body(server, group)`; `handler` may be nil.
local function with_server(options, handler, body)
  local group <close> = task.group()
  local server <close> = listen(options)
  if handler then
    handle_with(group, server, handler)
  end
  body(server, group)
end


describe("perilune.sys.serve", function()
  it("hands over what the client sent", function()
    local seen = {}
    with_server({}, function(request)
      seen = {
        request:method(), request:target(), request:path(), request:query(), request:body(), request:header("X-one"),
        request:header("absent") == nil, request:remote():match("^127%.0%.0%.1:%d+$") ~= nil, tostring(request),
      }
      seen.headers = request:headers()
      request:reply { body = "ok" }
    end, function(server)
      local headers = { ["X-One"] = "1" }
      assert.equal(200, (get(server, { method = "POST", path = "/a%20b?x=1&y=?", body = "hello", headers = headers })))
    end)
    assert.same({
      "POST", "/a%20b?x=1&y=?", "/a%20b", "x=1&y=?", "hello", "1", true, true,
      "perilune.serve.request (POST /a%20b?x=1&y=?)",
    }, { table.unpack(seen, 1, 9) })
    local names = {}
    for _, pair in ipairs(seen.headers) do
      names[pair[1]:lower()] = pair[2]
    end
    assert.equal("5", names["content-length"])
    assert.equal("1", names["x-one"])
  end)

  it("answers with a status, headers in both forms and a body", function()
    with_server({}, function(request)
      if request:path() == "/map" then
        request:reply { status = 404, headers = { ["x-a"] = "1", ["Content-Type"] = "text/plain" }, body = "none" }
      else
        request:reply { status = 201, headers = { { "x-a", "1" }, { "x-a", "2" } } }
      end
    end, function(server)
      local status, body, headers = get(server, { path = "/map" })
      assert.same({ 404, "none", "1", "text/plain", "4" },
        { status, body, headers["x-a"], headers["content-type"], headers["content-length"] })
      status, body, headers = get(server)
      assert.same({ 201, "", "1, 2", "0" }, { status, body, headers["x-a"], headers["content-length"] })
      assert.truthy(headers.date:find("^%a+, %d%d %a+ %d+ %d%d:%d%d:%d%d GMT$"))
    end)
  end)

  it("streams: what is written arrives before the answer is finished", function()
    with_server({}, nil, function(server, group)
      local go = task.signal()
      group:spawn(function()
        local request <close> = server:accept()
        request:start { headers = { ["content-type"] = "text/event-stream" } }
        request:write("data: one\n\n")
        go:wait()
        request:write("data: two\n\n")
        request:write("")
        assert.is_true(request:finish())
      end)
      local handle <close> = open(server, { frame = "sse" })
      assert.equal("chunked", handle:head().headers["transfer-encoding"])
      assert.equal("one", handle:next())
      go:wake()
      assert.equal("two", handle:next())
      assert.is_nil(handle:next())
    end)
  end)

  it("makes the writer wait for a slow reader and loses nothing", function()
    local piece, pieces, written = ("x"):rep(100000), 300, 0
    with_server({}, function(request)
      request:start {}
      for _ = 1, pieces do
        assert(request:write(piece))
        written = written + 1
      end
      request:finish()
    end, function(server)
      local handle <close> = open(server, {})
      handle:head()
      task.sleep(0.2)
      assert.truthy(written < pieces)
      local bytes = 0
      for data in handle.next, handle do
        bytes = bytes + #data
      end
      assert.equal(#piece * pieces, bytes)
    end)
  end)

  it("keeps the connection between requests", function()
    with_server({}, function(request)
      request:reply { body = request:remote() }
    end, function(server)
      local _, first = get(server)
      local _, second = get(server)
      assert.equal(first, second)
      assert.equal(1, server:connections())
    end)
  end)

  it("tells a handler that its client has gone", function()
    local reason, failure
    with_server({}, nil, function(server, group)
      local answering = group:spawn(function()
        local request <close> = server:accept()
        request:start {}
        request:write("first")
        reason = request:gone()
        repeat
          local ok, err = request:write("more")
          failure = err
          task.sleep(0.001)
        until not ok
        assert.is_true(request:is_gone())
        assert.equal("gone", request:gone())
      end)
      local handle <close> = open(server, {})
      assert.equal("first", handle:next())
      handle:close()
      answering:wait()
    end)
    assert.truthy(reason == "half_closed" or reason == "gone")
    assert.equal("connection", failure.kind)
    assert.equal("reset", failure.code)
  end)

  it("wakes the watcher of a request that was answered", function()
    local reason
    with_server({}, nil, function(server, group)
      group:spawn(function()
        local request <close> = server:accept()
        local watcher = group:spawn(function()
          reason = request:gone()
        end)
        task.yield()
        request:reply { body = "done" }
        watcher:wait()
      end)
      assert.equal(200, (get(server)))
    end)
    assert.equal("done", reason)
  end)

  it("closes the connection of a handler that gives no answer, or half of one", function()
    with_server({}, function(request)
      if request:path() == "/half" then
        request:start { headers = { ["content-length"] = "10" } }
        request:write("12345")
      end
    end, function(server)
      local status, err = get(server, { path = "/none" })
      assert.is_nil(status)
      assert.truthy(err.kind)
      local body
      status, err, body = get(server, { path = "/half" })
      assert.is_nil(status)
      assert.truthy(err.kind)
      assert.equal("12345", body)
    end)
  end)

  it("replays bytes as they are", function()
    local recording = "HTTP/1.1 418 Short\r\nX-Odd:  a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with_server({}, function(request)
      for at = 1, #recording, 7 do
        request:raw(recording:sub(at, at + 6))
        task.yield()
      end
      request:finish()
    end, function(server)
      for _ = 1, 2 do
        local status, body, headers = get(server)
        assert.same({ 418, "abc", "a" }, { status, body, headers["x-odd"] })
      end
      assert.equal(1, server:connections())
    end)
  end)

  it("can reset a connection in the middle of an answer", function()
    with_server({}, function(request)
      request:start {}
      request:write("begun")
      task.sleep(0.02)
      request:reset()
    end, function(server)
      local status, err, body = get(server)
      assert.is_nil(status)
      assert.same({ "connection", "reset", "begun" }, { err.kind, err.code, body })
    end)
  end)

  it("refuses what is above its limits before anybody hears of it", function()
    local requests = 0
    with_server({ body_bytes = 10, head_bytes = 500 }, function(request)
      requests = requests + 1
      request:reply {}
    end, function(server)
      assert.equal(413, (get(server, { method = "POST", body = ("x"):rep(11) })))
      assert.equal(431, (get(server, { headers = { ["X-Long"] = ("x"):rep(500) } })))
      assert.equal(414, (get(server, { path = "/" .. ("x"):rep(500) })))
      assert.equal(200, (get(server, { method = "POST", body = ("x"):rep(10) })))
    end)
    assert.equal(1, requests)
  end)

  it("drops connections that are idle for too long", function()
    with_server({ idle_seconds = 0.05 }, function(request)
      request:reply {}
    end, function(server)
      assert.equal(200, (get(server)))
      assert.equal(1, server:connections())
      task.sleep(0.2)
      assert.equal(0, server:connections())
    end)
  end)

  it("ends accept with nil when it is closed, and its requests become gone", function()
    local server = listen()
    local group <close> = task.group()
    local accepting = group:spawn(function()
      return server:accept()
    end)
    task.yield()
    server:close()
    server:close()
    assert.is_nil(accepting:wait())
    assert.is_nil(server:accept())
    assert.equal(0, server:connections())
    assert.equal("perilune.serve.server (closed)", tostring(server))
    assert.has_error(function() server:port() end)

    server = listen()
    local asking = group:spawn(get, server)
    local request <close> = server:accept()
    server:close()
    assert.is_true(request:is_gone())
    assert.equal("gone", request:gone())
    assert.is_nil((asking:wait()))
    local ok, err = request:reply {}
    assert.is_nil(ok)
    assert.equal("reset", err.code)
  end)

  it("lets a task that waits in accept be cancelled and another one accept", function()
    with_server({}, nil, function(server, group)
      local first = group:spawn(server.accept, server)
      task.yield()
      assert.has_error(function() server:accept() end, "another task already waits here")
      first:cancel()
      task.yield()
      task.yield()
      handle_with(group, server, function(request)
        request:reply { body = "second" }
      end)
      assert.equal("second", select(2, get(server)))
    end)
  end)

  it("raises on misuse and sends nothing of it", function()
    with_server({}, function(request)
      for _, reply in ipairs {
        { status = 99 }, { status = "200" }, { statuss = 200 }, { headers = { x = 1 } }, { headers = { "x" } },
        { headers = { x = "a\r\nset-cookie: b" } }, { headers = { ["transfer-encoding"] = "chunked" } },
        { body = "x", headers = { ["content-length"] = "2" } }, { status = 204, body = "x" },
      } do
        assert.has_error(function() request:reply(reply) end)
      end
      assert.has_error(function() request:write("x") end, "the answer was not started")
      assert.has_error(function() request:finish() end, "the answer was not started")
      request:reply { body = "once" }
      assert.has_error(function() request:reply { body = "twice" } end, "the request was already answered")
      request:close()
      request:close()
      assert.has_error(function() request:body() end, "the request is closed")
      assert.equal("done", request:gone())
    end, function(server)
      local status, body = get(server)
      assert.same({ 200, "once" }, { status, body })
    end)
  end)

  it("says why it cannot listen", function()
    local server <close> = listen()
    local second, err = serve.listen { port = server:port() }
    assert.is_nil(second)
    assert.truthy(err.message:find("cannot listen on 127.0.0.1 port " .. server:port(), 1, true))
    second, err = serve.listen { host = "nowhere.invalid" }
    assert.is_nil(second)
    assert.truthy(err.message:find("nowhere.invalid", 1, true))
    assert.has_error(function() serve.listen { prot = 80 } end, "unknown option 'prot', did you mean 'port'?")
  end)

  it("closes the sockets of a server that was collected", function()
    local port = listen():port()
    collectgarbage()
    collectgarbage()
    local server <close> = listen { port = port }
    assert.equal(port, server:port())
  end)
end)
