local crc32 = require "perilune.std.crc32"

describe("crc32", function()
  it("is the checksum of zlib and PNG", function()
    assert.are.equal(0xCBF43926, crc32 "123456789") -- the check value of CRC-32/ISO-HDLC
    assert.are.equal(0, crc32 "")
    assert.are.equal(0xAE426082, crc32 "IEND") -- as it stands at the end of every PNG
  end)
end)
