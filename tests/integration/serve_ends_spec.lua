-- perilune.sys.serve, when something ends: the client that was asking, or the server, which lets what is under way end first.
local fetch = require "perilune.sys.fetch"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"


local function open(server)
  return assert(fetch.open { url = ("http://127.0.0.1:%d/"):format(server:port()) })
end


-- The whole answer: status, connection header, body; nil, err.
local function get(server)
  local handle <close> = open(server)
  local head, err = handle:head()
  if not head then
    return nil, err
  end
  return head.status, head.headers.connection, handle:next()
end


local function wait_until(condition)
  task.deadline(10, function()
    while not condition() do
      task.sleep(0.001)
    end
  end)
end


-- A client that has asked, and the request that it is answered with: body(handle, request).
local function with_request(server, body)
  local handle <close> = open(server)
  local request <close> = server:accept()
  body(handle, request)
end


describe("a server that stops accepting", function()
  it("ends what is under way, closes what waits, and takes nobody new", function()
    local group <close> = task.group()
    local server <close> = assert(serve.listen {})
    local idle = group:spawn(get, server)
    do
      local request <close> = server:accept()
      assert(request:reply { body = "one" })
    end
    assert.equal(200, (idle:wait())) -- its connection is kept
    assert.equal(1, server:connections())
    local first = group:spawn(get, server)
    local begun <close> = server:accept()
    local second = group:spawn(get, server)
    local streamed <close> = server:accept()
    assert(streamed:start {})
    wait_until(function()
      return server:connections() == 2
    end)
    server:stop_accepting()
    server:stop_accepting()
    assert.is_nil((get(server))) -- not even on the connection that was kept
    assert(begun:reply { body = "two" })
    assert.same({ 200, "close", "two" }, { first:wait() })
    assert(streamed:write "three")
    assert(streamed:finish())
    assert.same({ 200, nil, "three" }, { second:wait() })
  end)
end)


describe("a client that goes away", function()
  it("ends the task that wanted to end with it", function()
    local group <close> = task.group()
    local server <close> = assert(serve.listen {})
    local reason
    local answering = group:spawn(function()
      local request <close> = server:accept()
      request:end_with_client()
      assert.has_error(function() request:end_with_client() end)
      assert(request:start {})
      local ok, err = pcall(function()
        while request:write "more" do
          task.sleep(0.001)
        end
        task.sleep(10)
      end)
      reason = not ok and err.reason
    end)
    local handle = open(server)
    assert.equal("more", handle:next())
    handle:close()
    pcall(answering.wait, answering)
    assert.equal("user_requested", reason)
  end)

  it("is seen to send no more first, and a probe finds out that it has gone", function()
    local group <close> = task.group()
    local server <close> = assert(serve.listen {})
    local noticed = group:spawn(server.half_closed, server)
    with_request(server, function(handle, request)
      assert.is_false(request:is_half_closed())
      handle:close()
      assert.is_true(noticed:wait())
      assert.is_true(request:is_half_closed() or request:is_gone())
      wait_until(function()
        request:probe()
        return request:is_gone()
      end)
      assert.is_false(request:is_half_closed())
    end)
  end)

  it("does not mind a probe when it is still there", function()
    local group <close> = task.group()
    local server <close> = assert(serve.listen {})
    local asking = group:spawn(get, server)
    local request <close> = server:accept()
    request:probe()
    request:probe()
    assert(request:reply { body = "answer" })
    assert.same({ 200, nil, "answer" }, { asking:wait() })
  end)

  it("is waited for until the server is closed", function()
    local group <close> = task.group()
    local server <close> = assert(serve.listen {})
    local noticed = group:spawn(server.half_closed, server)
    task.yield()
    server:close()
    assert.is_nil((noticed:wait()))
    assert.is_nil(server:half_closed())
  end)
end)


describe("a client that says nothing", function()
  it("is dropped soon", function()
    local server <close> = assert(serve.listen { first_seconds = 0.05 })
    local handle <close> = open(server)
    local request <close> = server:accept() -- this one has said something
    task.sleep(0.1)
    assert(request:reply { body = "in time" })
    assert.equal("in time", handle:next())
    assert.has_error(function() serve.listen { first_seconds = "soon" } end)
  end)
end)
