-- A small picture without a network: a symmetric pattern of 8 by 8 blocks in the two colours of its seed, as a PNG whose data
-- is stored, not compressed.
local crc32 = require "perilune.std.crc32"

local M = {}

---Pixels on each side.
M.SIDE = 64

local BLOCKS = 8
local ADLER = 65521


local function adler32(bytes)
  local a, b = 1, 0
  for position = 1, #bytes do
    a = (a + bytes:byte(position)) % ADLER
    b = (b + a) % ADLER
  end
  return b << 16 | a
end


local function chunk(name, data)
  return string.pack(">I4", #data) .. name .. data .. string.pack(">I4", crc32(name .. data))
end


-- A zlib stream of one stored block; the pixels are fewer than the 65,535 bytes that fit.
local function stored(bytes)
  return "\x78\x01\1" .. string.pack("<I2I2", #bytes, ~#bytes & 0xffff) .. bytes .. string.pack(">I4", adler32(bytes))
end


-- Half of the blocks come from the bits of the seed, the other half mirrors them.
local function rows_of(seed)
  local rows, scale = {}, M.SIDE // BLOCKS
  for block_row = 0, BLOCKS - 1 do
    local left, right = {}, {}
    for block = 0, BLOCKS // 2 - 1 do
      local pixel = string.char(seed >> (block_row * BLOCKS // 2 + block) & 1):rep(scale)
      left[#left + 1] = pixel
      table.insert(right, 1, pixel)
    end
    rows[#rows + 1] = ("\0" .. table.concat(left) .. table.concat(right)):rep(scale) -- each row begins with its filter: none
  end
  return table.concat(rows)
end


---A picture that depends on the seed alone.
---@param seed integer
---@return string png
function M.draw(seed)
  local head = string.pack(">I4I4BBBBB", M.SIDE, M.SIDE, 8, 3, 0, 0, 0) -- 8 bits, colours from a palette
  local dark, light = seed >> 32 & 0x7f7f7f, seed >> 40 & 0x7f7f7f | 0x808080
  local palette = string.pack(">I3I3", light, dark)
  return "\x89PNG\r\n\x1a\n" .. chunk("IHDR", head) .. chunk("PLTE", palette) .. chunk("IDAT", stored(rows_of(seed)))
    .. chunk("IEND", "")
end


return M
