-- How a typed name is like a known one. In this order: it is the same; it is the same but for upper and lower case; one is a part
-- of the other; the two have much in common. Pure.
local text = require "perilune.std.text"

local M = {}

---What two names that are merely alike have in common, at least: `text.ratio(typed, known)`, which is not symmetric.
M.RATIO_MIN = 0.5

-- A single letter is a part of everything.
local PART_BYTES_MIN = 2
-- A longer name is nobody's model, and would take long to compare.
local NAME_BYTES_MAX = 256

local SAME, SAME_LETTERS, PART, ALIKE = 1, 2, 3, 4


-- The rank of a likeness, lower is nearer, and among equals of that rank a figure, higher is nearer; nil when there is none.
local function compare(typed, folded, known)
  if typed == known then
    return SAME, 1
  end
  local other = known:lower()
  if folded == other then
    return SAME_LETTERS, 1
  elseif #folded > NAME_BYTES_MAX or #other > NAME_BYTES_MAX then
    return nil
  end
  local shorter = math.min(#folded, #other)
  if shorter >= PART_BYTES_MIN and (folded:find(other, 1, true) or other:find(folded, 1, true)) then
    return PART, text.ratio(folded, other)
  end
  local ratio = text.ratio(folded, other)
  if ratio >= M.RATIO_MIN then
    return ALIKE, ratio
  end
end


---@class perilune.Likeness
---@field name string the known name
---@field rank integer 1: the very same; lower is nearer
---@field ratio number 0 to 1, for those of one rank

---Is `a` nearer than `b`?
---@param a perilune.Likeness
---@param b perilune.Likeness?
---@return boolean
function M.is_nearer(a, b)
  return not b or a.rank < b.rank or a.rank == b.rank and a.ratio > b.ratio
end


---The known name that is most like the typed one; of equals the first; nil when none is like it.
---@param typed string
---@param known string[]
---@return perilune.Likeness?
function M.nearest(typed, known)
  local folded, best = typed:lower(), nil
  for _, name in ipairs(known) do
    local rank, ratio = compare(typed, folded, name)
    if rank and (not best or rank < best.rank or rank == best.rank and ratio > best.ratio) then
      best = { name = name, rank = rank, ratio = ratio }
      if rank == SAME then
        break
      end
    end
  end
  return best
end


---Is it in the list as it is?
---@param name string
---@param list string[]
---@return boolean
function M.is_listed(name, list)
  for _, known in ipairs(list) do
    if known == name then
      return true
    end
  end
  return false
end


return M
