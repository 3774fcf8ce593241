-- Damages texts: bytes changed, lost and doubled, and JSON values replaced by others, which reaches deeper. The same seed
-- damages in the same way everywhere.
local M = {}

local PIECE_BYTES_MAX = 40
local DOUBLED_BYTES_MAX = 200

-- JSON that fits where other JSON was.
local values = {
  "null", "true", "{}", "[]", '""', '"x"', "0", "-1", "1.5", "99999999999", '[{"type":"text","text":5}]', '{"a":[null]}',
}


---A generator of numbers: `random(limit)` is 1 to limit.
---@param seed integer
---@return fun(limit: integer): integer
function M.random(seed)
  local state = seed
  return function(limit)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % limit + 1
  end
end


local function replace(text, first, last, random)
  return first and text:sub(1, first + 1) .. values[random(#values)] .. text:sub(last + 1) or text
end


local mutations = {
  function(random, text) -- another byte
    local at = random(#text)
    return text:sub(1, at - 1) .. string.char(random(256) - 1) .. text:sub(at + 1)
  end,
  function(random, text) -- a piece is missing
    local at = random(#text)
    return text:sub(1, at - 1) .. text:sub(at + random(PIECE_BYTES_MAX))
  end,
  function(random, text) -- a piece comes twice
    local at, length = random(#text), random(DOUBLED_BYTES_MAX)
    return text:sub(1, at + length) .. text:sub(at)
  end,
  function(random, text) -- cut off
    return text:sub(1, random(#text))
  end,
  function(random, text) -- one value replaced by another, still JSON
    local first, last = text:find('":%s*[^,{}%[%]\n]+', random(#text))
    return replace(text, first, last, random)
  end,
  function(random, text) -- an object or a list replaced by a value
    local first, last = text:find(random(2) == 1 and '":%s*%b{}' or '":%s*%b[]', random(#text))
    return replace(text, first, last, random)
  end,
}


---One to three mutations of a text.
---@param random fun(limit: integer): integer
---@param text string
---@return string
function M.mutate(random, text)
  for _ = 1, random(3) do
    text = #text > 0 and mutations[random(#mutations)](random, text) or text
  end
  return text
end


return M
