-- Makes undefined globals an error: a misspelt name fails where it stands instead of being nil somewhere else. What is in
-- the table when it is installed stays usable (`arg`, `_PROMPT`); `rawset(_G, name, value)` declares a global on purpose.
local M = {}

local metatable = { __name = "perilune.strict" }


function metatable.__index(_, name)
  error(("undefined variable '%s'"):format(tostring(name)), 2)
end


function metatable.__newindex(_, name)
  error(("assignment to undeclared global '%s' (declare it with local)"):format(tostring(name)), 2)
end


---Guards a table of globals; a second time changes nothing. Raises if something else already guards it.
---@param env table usually _G
function M.install(env)
  local old = getmetatable(env)
  if old ~= nil and old ~= metatable then
    error("strict.install: the table already has a metatable", 2)
  end
  setmetatable(env, metatable)
end


return M
