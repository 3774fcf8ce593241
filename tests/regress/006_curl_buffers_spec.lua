-- libcurl 7.88 keeps the receive buffer of a handle whose host was not found. With a buffer size of our own, that handle, reset and used
-- again, read more than the buffer holds: the heap was overwritten.
local fetch = require "perilune.sys.fetch"
local serve = require "perilune.sys.serve"
local task = require "perilune.sys.task"

local BODY_BYTES, ROUNDS = 100000, 20


local function read(options)
  local handle <close> = assert(fetch.open(options))
  local bytes = 0
  if handle:head() then
    for piece in handle.next, handle do
      bytes = bytes + #piece
    end
  end
  return bytes
end


describe("a handle of curl that is used again", function()
  it("reads no more than its buffer holds, after a name that does not exist", function()
    local group <close> = task.group()
    local server <close> = assert(serve.listen {})
    local body, sum = ("k"):rep(BODY_BYTES), 0
    group:spawn(function()
      for request in server.accept, server do
        local owned <close> = request
        owned:reply { body = body }
      end
    end)
    for _ = 1, ROUNDS do
      assert.are.equal(0, read { url = "http://no-such-host.invalid/" })
      sum = sum + read { url = "http://127.0.0.1:" .. server:port(), frame = "bytes" }
    end
    assert.are.equal(ROUNDS * BODY_BYTES, sum)
    server:close()
  end)
end)
