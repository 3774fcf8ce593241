-- What happens to a fetch between two calls: finalizers that run in the middle of one, an answer that is refused while it is
-- paused, options that nobody holds.
local fetch = require "perilune.sys.fetch"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"


-- A server whose handler gets every request; its address; a function that uses it.
local function with_server(handler, use)
  local group <close> = task.group()
  local server <close> = assert(serve.listen { host = "127.0.0.1", port = 0 })
  group:spawn(function()
    local handlers <close> = task.group()
    for request in server.accept, server do
      handlers:spawn(function()
        local own <close> = request
        handler(own)
      end)
    end
  end)
  use("http://127.0.0.1:" .. server:port())
  server:close()
end


describe("a fetch", function()
  it("may be closed by a finalizer that runs while its answer becomes strings", function()
    local name = ("name"):rep(20)
    with_server(function(request)
      request:reply { status = 200, body = ("event: %s\ndata: %s\n\n"):format(name, ("x"):rep(3000)):rep(20) }
    end, function(url)
      collectgarbage("incremental", 1, 1000, 1)
      for i = 1, 60 do
        local handle = fetch.open { url = url, frame = "sse" }
        local function bait()
          setmetatable({}, { __gc = i % 2 == 0 and handle.close or function() pcall(handle.next, handle) end })
        end
        local _, err = pcall(function()
          bait()
          handle:head()
          for _, event in handle.next, handle do
            assert.equal(name, event)
            for _ = 1, i % 7 do
              bait()
            end
          end
        end)
        assert.is_true(err == nil or err:find("closed") ~= nil, err)
        handle:close()
      end
      collectgarbage("incremental", 200, 50, 10)
    end)
  end)

  it("fails when what was held back while it was paused is refused", function()
    local written = task.signal()
    with_server(function(request)
      request:start { status = 200 }
      request:write(("x"):rep(600000)) -- more than a fetch holds for its reader
      written:wake()
      request:gone()
    end, function(url)
      local handle <close> = fetch.open { url = url, body_bytes = 290000, total = 5 }
      written:wait()
      task.sleep(0.3) -- the timers that curl has left over from connecting (0.2 s) would go on with the transfer
      local data, err
      repeat
        data, err = handle:next()
      until not data
      assert.same({ "bad_response", "the answer is larger than 290000 bytes" }, { err.kind, err.message })
    end)
  end)

  it("follows the redirect of a POST with a GET, as everyone does", function()
    local seen = {}
    with_server(function(request)
      seen[#seen + 1] = request:method() .. request:path()
      if request:path() == "/old" then
        request:reply { status = 303, headers = { location = "/new" } }
      else
        request:reply { status = 200 }
      end
    end, function(url)
      local handle <close> = fetch.open { url = url .. "/old", method = "POST", body = "x", redirects = 1 }
      assert.equal(200, handle:head().status)
    end)
    assert.same({ "POST/old", "GET/new" }, seen)
  end)

  it("takes 101 for the answer that it is", function()
    with_server(function(request)
      request:raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
      request:gone()
    end, function(url)
      local handle <close> = fetch.open { url = url, total = 5 }
      assert.equal(101, assert(handle:head()).status)
    end)
  end)

  it("refuses a method that is a piece of a request, and options that nobody holds", function()
    assert.error_matches(function()
      fetch.open { url = "http://127.0.0.1:1", method = "GET / HTTP/1.1\r\nx: y\r\nz:" }
    end, "option 'method'")
    local made_up = setmetatable({}, { __index = function(_, name) return name == "url" and "http://127.0.0.1:1" or nil end })
    assert.error_matches(function() fetch.open(made_up) end, "options are a plain table")
  end)
end)
