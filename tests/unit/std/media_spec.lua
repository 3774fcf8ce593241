-- What bytes are, whether they may be sent, and parts out of them; then paths, addresses and shorthand as attachments.
local attachments = require "perilune.model.attachments"
local fs = require "perilune.sys.fs"
local media = require "perilune.std.media"
local png = require "perilune.model.provider.offline_png"
local token = require "perilune.sys.token"

local PICTURE = png.draw(1)

-- How a file of each type begins, and what it is then.
local heads = {
  { "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png", "image" },
  { "\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg", "image" },
  { "GIF89a\1\0\1\0", "image/gif", "image" },
  { "RIFF\x24\0\0\0WEBPVP8 ", "image/webp", "image" },
  { "RIFF\x24\0\0\0WAVEfmt ", "audio/wav", "audio" },
  { "RIFF\x24\0\0\0AVI LIST", "video/x-msvideo", "video" },
  { "\0\0\0\x20ftypisom\0\0\2\0", "video/mp4", "video" },
  { "\0\0\0\x14ftypmp42\0\0\0\0", "video/mp4", "video" },
  { "\0\0\0\x14ftypqt  \0\0\0\0", "video/quicktime", "video" },
  { "\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm", "video/webm", "video" },
  { "OggS\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x2a\x80theora", "video/ogg", "video" },
  { "OggS\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x13OpusHead", "audio/ogg", "audio" },
  { "ID3\4\0\0\0\0\0\0", "audio/mpeg", "audio" },
  { "\xff\xfb\x90\x64\0\0", "audio/mpeg", "audio" },
  { "%PDF-1.7\n", "application/pdf", "file" },
}

local folder


describe("media by their bytes", function()
  for _, head in ipairs(heads) do
    it(("a %s is told by how it begins"):format(head[2]), function()
      local part = assert(media.part(head[1] .. ("x"):rep(100), { name = "dir/thing.bin" }))
      assert.are.same({ type = head[3], media_type = head[2], name = "thing.bin", data = token.base64(head[1] .. ("x"):rep(100)) }, part)
      assert.are.equal(head[2], media.sniff_base64(part.data))
    end)
  end

  it("the bytes win over the name", function()
    assert.are.equal("image/png", media.part(PICTURE, { name = "photo.jpg" }).media_type)
  end)

  it("the name decides only for types that do not all begin alike", function()
    assert.are.equal("video/mp4", media.part("\0\0\0\8wide....", { name = "clip.mp4" }).media_type)
    local part, err = media.part("<html>not found</html>", { name = "photo.png" })
    assert.is_nil(part)
    assert.is_truthy(err.message:find("photo.png does not begin like a png", 1, true))
  end)

  it("what is unknown or empty is refused by name, with what is known", function()
    local _, err = media.part("just words", { name = "notes.txt" })
    assert.are.equal("media", err.kind)
    assert.is_truthy(err.message:find("notes.txt is of an unknown type; known are png, jpeg", 1, true))
    _, err = media.part("", { name = "empty.png" })
    assert.are.equal("empty.png is empty", err.message)
    _, err = media.part("PK\3\4zip", { name = "disguised" })
    assert.is_truthy(err.message:find("disguised is of an unknown type", 1, true))
  end)

  it("an image may have 20 MB, one byte more is refused with file, limit and size", function()
    local limit = media.limits.image
    local bytes = PICTURE .. ("\0"):rep(limit - #PICTURE)
    assert.are.equal("image", media.part(bytes, { name = "big.png" }).type)
    local _, err = media.part(bytes .. "\0", { name = "big.png" })
    assert.are.same({ "media", { file = "big.png", limit = limit, size = limit + 1 } }, { err.kind, err.details })
    assert.is_truthy(err.message:find("big.png is too large: an image may have 20971520 bytes (20.0 MB), it has 20971521 bytes", 1, true))
  end)

  it("every limit leaves room for the JSON document around the base64 text", function()
    for kind, limit in pairs(media.limits) do
      assert.is_true(limit * 4 // 3 < 62 << 20, kind)
    end
  end)
end)


describe("media by their address", function()
  it("a link stays a link and says what its name promises", function()
    assert.are.same({ type = "image", url = "https://example.com/a/cat.JPG?size=2", media_type = "image/jpeg" },
      media.part_of_url("https://example.com/a/cat.JPG?size=2", "image"))
    assert.are.same({ type = "video", url = "https://example.com/watch" }, media.part_of_url("https://example.com/watch", "video"))
  end)

  it("a link to the wrong kind is refused", function()
    local _, err = media.part_of_url("https://example.com/song.mp3", "image")
    assert.are.equal("https://example.com/song.mp3 is an audio file, not an image", err.message)
    _, err = media.part_of_url("https://example.com/x")
    assert.is_truthy(err.message:find("does not say what it is", 1, true))
  end)

  it("a data URL becomes data, checked like any bytes", function()
    local part = assert(media.part_of_url("data:image/jpeg;base64," .. token.base64(PICTURE), "image"))
    assert.are.same({ type = "image", media_type = "image/png", data = token.base64(PICTURE) }, part)
    for _, url in ipairs { "data:image/png,abc", "data:image/png;base64,!!!!", "data:text/plain;base64," .. token.base64("words") } do
      local _, err = media.part_of_url(url, "image")
      assert.are.equal("media", err.kind, url)
    end
  end)
end)


describe("attachments", function()
  setup(function()
    folder = assert(fs.temp_dir("media"))
    assert(fs.write(folder .. "/crater.png", PICTURE))
    assert(fs.write(folder .. "/page.pdf", "%PDF-1.4\n..."))
    assert(fs.write(folder .. "/clip.mp4", "\0\0\0\x20ftypisom\0\0\2\0"))
    assert(fs.write(folder .. "/notes.txt", "words"))
  end)

  teardown(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  it("a path is read, and its part has its name", function()
    local part = assert(attachments.part(folder .. "/crater.png", "image"))
    assert.are.same({ type = "image", media_type = "image/png", data = token.base64(PICTURE), name = "crater.png" }, part)
  end)

  it("bytes are told from paths", function()
    assert.are.equal("image/png", attachments.part(PICTURE, "image").media_type)
    local _, err = attachments.part("\0\1\2", "image")
    assert.is_truthy(err.message:find("the data is of an unknown type", 1, true))
  end)

  it("a missing file, a folder and a text are media errors that name them", function()
    for name, problem in pairs { ["none.png"] = "No such file", [""] = "is no file", ["notes.txt"] = "unknown type" } do
      local path = folder .. "/" .. name
      local part, err = attachments.part(path, "image")
      assert.is_nil(part)
      assert.are.equal("media", err.kind)
      assert.is_truthy(err.message:find(problem, 1, true), err.message)
      assert.are.equal(path, err.details.file)
    end
  end)

  it("a file that is too large is refused before it is read", function()
    local path = folder .. "/huge.png"
    assert(fs.write(path, ("\0"):rep(media.limits.image + 1)))
    local _, err = attachments.part(path, "image")
    assert.are.same({ file = path, limit = media.limits.image, size = media.limits.image + 1 }, err.details)
    assert(fs.remove(path))
  end)

  it("a video is no image, and files may be anything", function()
    local _, err = attachments.part(folder .. "/clip.mp4", "image")
    assert.is_truthy(err.message:find("clip.mp4 is a video, not an image", 1, true))
    assert.are.equal("video", attachments.part(folder .. "/clip.mp4", "file").type)
    assert.are.equal("file", attachments.part(folder .. "/page.pdf", "file").type)
  end)

  it("the long form names the source and may rename it", function()
    local part = assert(attachments.part({ path = folder .. "/page.pdf", name = "report.pdf" }, "file"))
    assert.are.same({ "file", "report.pdf" }, { part.type, part.name })
    assert.are.same({ "image", "low" }, { attachments.part({ bytes = PICTURE, detail = "low" }, "image").type,
      attachments.part({ bytes = PICTURE, detail = "low" }, "image").detail })
    assert.are.equal("image/png", attachments.part({ data = token.base64(PICTURE) }, "image").media_type)
    local _, err = attachments.part({ file = "x" }, "image")
    assert.is_truthy(err.message:find("an attachment is a path", 1, true))
    _, err = attachments.part(7, "image")
    assert.are.equal("an attachment is a text or a table, not a number", err.message)
  end)

  it("shorthand goes behind the text of the question, in the order images, videos, files", function()
    local messages = assert(attachments.attach("What is this?", {
      files = folder .. "/page.pdf", images = { folder .. "/crater.png", "https://example.com/b.png" }, videos = folder .. "/clip.mp4",
    }))
    local types = {}
    for position, part in ipairs(messages[1].content) do
      types[position] = part.type
    end
    assert.are.same({ 1, "user", { "text", "image", "image", "video", "file" } }, { #messages, messages[1].role, types })
  end)

  it("messages with a path are read, and what was passed in is not changed", function()
    local given = {
      { role = "system", content = "Look." },
      { role = "user", content = { { type = "text", text = "this" }, { type = "image", path = folder .. "/crater.png" } } },
    }
    local messages = assert(attachments.attach(given, { images = PICTURE }))
    assert.are.same({ "text", "image", "image" },
      { messages[2].content[1].type, messages[2].content[2].type, messages[2].content[3].type })
    assert.are.equal(token.base64(PICTURE), messages[2].content[2].data)
    assert.are.same({ type = "image", path = folder .. "/crater.png" }, given[2].content[2])
    assert.are.equal(2, #given[2].content)
  end)

  it("after an answer the attachments are a message of their own", function()
    local given = { { role = "user", content = "hi" }, { role = "assistant", content = "hello" } }
    local messages = assert(attachments.attach(given, { images = PICTURE }))
    assert.are.same({ 3, "user", 1 }, { #messages, messages[3].role, #messages[3].content })
    assert.are.equal(2, #given)
  end)

  it("a text without attachments stays a text", function()
    assert.are.equal("hello", attachments.attach("hello", {}))
  end)
end)
