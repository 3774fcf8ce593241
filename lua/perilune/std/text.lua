-- Text helpers: suggestions for misspelt names, similarity, UTF-8. Pure functions. Case is folded for ASCII only.
local M = {}

-- A name longer than this is not a typo of anything; it also bounds the cost of a suggestion.
M.NAME_BYTES_MAX = 64
-- Names are compared, not books: `ratio` is quadratic.
M.RATIO_CHARACTERS_MAX = 4096
-- A shorter word is the beginning of too many others.
M.PREFIX_BYTES_MIN = 3

local ELLIPSIS = "…"
local REPLACEMENT = "\u{FFFD}"


-- How many insertions, deletions, changes and swaps of neighbours turn `a` into `b`; nothing is edited twice.
local function distance(a, b)
  local before, above = nil, {}
  for j = 0, #b do
    above[j] = j
  end
  for i = 1, #a do
    local row = { [0] = i }
    local x = a:byte(i)
    for j = 1, #b do
      local y = b:byte(j)
      local cost = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x == y and 0 or 1))
      if before and j > 1 and x == b:byte(j - 1) and a:byte(i - 1) == y then
        cost = math.min(cost, before[j - 2] + 1)
      end
      row[j] = cost
    end
    before, above = above, row
  end
  return above[#b]
end


-- Lower is nearer. A typo ranks by its edits; a beginning ranks behind every typo, the shorter completion first.
local function rank(word, candidate)
  local edits_max = math.max(1, #word // 3)
  if math.abs(#word - #candidate) <= edits_max then
    local edits = distance(word, candidate)
    if edits <= edits_max and edits < #word then -- something of the word is left
      return edits
    end
  end
  local shorter, longer = word, candidate
  if #shorter > #longer then
    shorter, longer = longer, shorter
  end
  if #shorter >= M.PREFIX_BYTES_MIN and longer:sub(1, #shorter) == shorter then
    return M.NAME_BYTES_MAX + #longer
  end
end


---The candidate that was probably meant: the nearest one within a third of the word's length in edits (at least one
---edit), else one that begins with the word or is its beginning. Of equals, the first in byte order.
---@param word string
---@param candidates string[]
---@return string|nil
function M.suggest(word, candidates)
  if #word > M.NAME_BYTES_MAX then
    return nil
  end
  local lower = word:lower()
  local best, best_rank
  for _, candidate in ipairs(candidates) do
    local its_rank = #candidate <= M.NAME_BYTES_MAX and rank(lower, candidate:lower())
    if its_rank and (not best or its_rank < best_rank or its_rank == best_rank and candidate < best) then
      best, best_rank = candidate, its_rank
    end
  end
  return best
end


-- The characters of a text: code points, or bytes when it is not UTF-8.
local function characters(text)
  if utf8.len(text) then
    local list = {}
    for _, code in utf8.codes(text) do
      list[#list + 1] = code
    end
    return list
  end
  return { text:byte(1, -1) }
end


-- Where each character occurs in `list`. In 200 or more characters, those that make up over 1 % are left out: matches
-- may grow over them but not start at them (difflib's "autojunk").
local function index(list)
  local positions = {}
  for i, character in ipairs(list) do
    local at = positions[character]
    if at then
      at[#at + 1] = i
    else
      positions[character] = { i }
    end
  end
  if #list >= 200 then
    local popular = #list // 100 + 1
    for character, at in pairs(positions) do
      if #at > popular then
        positions[character] = nil
      end
    end
  end
  return positions
end


-- The longest common run of a[a1..a2] and b[b1..b2]: where it starts in both and its length. Of equals, the first in `a`,
-- then the first in `b`.
local function longest_run(a, b, positions, a1, a2, b1, b2)
  local start_a, start_b, size = a1, b1, 0
  local ending_at = {} -- b's position -> length of the run that ends there and at the previous character of a
  for i = a1, a2 do
    local ending_here = {}
    for _, j in ipairs(positions[a[i]] or {}) do
      if j > b2 then
        break
      end
      if j >= b1 then
        local length = (ending_at[j - 1] or 0) + 1
        ending_here[j] = length
        if length > size then
          start_a, start_b, size = i - length + 1, j - length + 1, length
        end
      end
    end
    ending_at = ending_here
  end
  while start_a > a1 and start_b > b1 and a[start_a - 1] == b[start_b - 1] do
    start_a, start_b, size = start_a - 1, start_b - 1, size + 1
  end
  while start_a + size <= a2 and start_b + size <= b2 and a[start_a + size] == b[start_b + size] do
    size = size + 1
  end
  return start_a, start_b, size
end


-- How many characters the two have in common, in runs: the longest one, then those left and right of it.
local function matching(a, b)
  local positions = index(b)
  local total = 0
  local pending = { { 1, #a, 1, #b } }
  while #pending > 0 do
    local a1, a2, b1, b2 = table.unpack(table.remove(pending))
    if a1 <= a2 and b1 <= b2 then
      local start_a, start_b, size = longest_run(a, b, positions, a1, a2, b1, b2)
      if size > 0 then
        total = total + size
        pending[#pending + 1] = { a1, start_a - 1, b1, start_b - 1 }
        pending[#pending + 1] = { start_a + size, a2, start_b + size, b2 }
      end
    end
  end
  return total
end


---How similar two texts are, 0 to 1: the figure of `difflib.SequenceMatcher(None, a, b).ratio()` of Python. Not symmetric.
---@param a string
---@param b string
---@return number
function M.ratio(a, b)
  local left, right = characters(a), characters(b)
  if #left > M.RATIO_CHARACTERS_MAX or #right > M.RATIO_CHARACTERS_MAX then
    error(("text.ratio: more than %d characters"):format(M.RATIO_CHARACTERS_MAX), 2)
  end
  if #left + #right == 0 then
    return 1.0
  end
  return 2.0 * matching(left, right) / (#left + #right)
end


---@param text string
---@return boolean
function M.is_utf8(text)
  return utf8.len(text) ~= nil
end


---The text with every byte that is not part of valid UTF-8 replaced by U+FFFD; valid text is returned as it is.
---@param text string
---@return string
function M.to_utf8(text)
  local length, bad = utf8.len(text)
  if length then
    return text
  end
  local pieces, from = {}, 1
  while bad do
    pieces[#pieces + 1] = text:sub(from, bad - 1)
    pieces[#pieces + 1] = REPLACEMENT
    from = bad + 1
    bad = select(2, utf8.len(text, from))
  end
  pieces[#pieces + 1] = text:sub(from)
  return table.concat(pieces)
end


---The beginning of a text in at most `bytes` bytes, never cut inside a code point. It ends in "…" when something was left
---out and there is room to say so.
---@param text string
---@param bytes integer
---@return string
function M.truncate(text, bytes)
  if #text <= bytes then
    return text
  end
  local mark = bytes >= #ELLIPSIS and ELLIPSIS or ""
  local keep = math.max(0, bytes - #mark)
  local cut = keep
  while cut > 0 and cut > keep - 3 and (text:byte(cut + 1) & 0xC0) == 0x80 do
    cut = cut - 1
  end
  return text:sub(1, cut) .. mark
end


---The words of a text in lower case, in order: runs of letters, digits and non-ASCII bytes ("get_weather" is two).
---@param text string
---@return string[]
function M.words(text)
  local list = {}
  for word in text:lower():gmatch("[%w\x80-\xFF]+") do
    list[#list + 1] = word
  end
  return list
end


return M
