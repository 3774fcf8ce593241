-- CRC-32, as in zlib, PNG and Ethernet (ISO 3309): a byte at a time.

local of_byte = {}
for byte = 0, 255 do
  local crc = byte
  for _ = 1, 8 do
    crc = crc & 1 == 1 and crc >> 1 ~ 0xEDB88320 or crc >> 1
  end
  of_byte[byte] = crc
end


---The checksum of a text.
---@param bytes string
---@return integer
return function(bytes)
  local crc = 0xFFFFFFFF
  for position = 1, #bytes do
    crc = crc >> 8 ~ of_byte[(crc ~ bytes:byte(position)) & 0xFF]
  end
  return crc ~ 0xFFFFFFFF
end
