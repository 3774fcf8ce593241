-- Ports for programs that cannot choose one themselves.
local serve = require "perilune.sys.serve"
local token = require "perilune.sys.token"

local M = {}

-- Below the ports that Linux gives to outgoing connections: what is free now is not taken by the next one of these.
local FIRST, COUNT, TRIES = 20000, 12000, 100


---A port of this machine that is free now.
---@return integer
function M.free()
  for _ = 1, TRIES do
    local port = FIRST + string.unpack("<I4", token.random(4)) % COUNT
    local listener = serve.listen { port = port }
    if listener then
      listener:close()
      return port
    end
  end
  error("no port is free", 0)
end


return M
