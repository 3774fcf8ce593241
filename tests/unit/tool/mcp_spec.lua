local content = require "perilune.tool.mcp.content"
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local lines = require "perilune.tool.mcp.lines"
local log = require "perilune.sys.log"
local mcp = require "perilune.tool.mcp"
local pins = require "perilune.tool.mcp.pins"
local sse = require "perilune.tool.mcp.sse"
local tool = require "perilune.tool"
local tools = require "perilune.tool.mcp.tools"


describe("mcp.lines", function()
  it("cuts the same lines whatever the pieces", function()
    local text = "one\n\ntwo three\nrest"
    for size = 1, #text do
      local cutter, found = lines.new(100), {}
      for from = 1, #text, size do
        for _, line in ipairs(assert(cutter:feed(text:sub(from, from + size - 1)))) do
          found[#found + 1] = line
        end
      end
      assert.same({ "one", "", "two three" }, found)
    end
  end)

  it("refuses a line that is too long, before it ends", function()
    local cutter = lines.new(10)
    assert.same({ "0123456789" }, cutter:feed("0123456789\n01234"))
    local list, err = cutter:feed("56789x")
    assert.is_nil(list)
    assert.is_true(errors.is(err, "bad_response"))
    assert.equal("limit", err.code)
  end)
end)


describe("mcp.sse", function()
  local function all(text, size)
    local events, found = sse.new(1000), {}
    for from = 1, #text, size do
      for _, data in ipairs(assert(events:feed(text:sub(from, from + size - 1)))) do
        found[#found + 1] = data
      end
    end
    return found, events
  end

  it("gives the data of messages and keeps the last id, with every line ending and in all pieces", function()
    local text = "id: 1\ndata: {a}\n\n: comment\nevent: ping\ndata: no\nid: 2\n\nevent: message\ndata:b\ndata: c\nretry: 1500\nid: 3\n\n"
      .. "id: 4\ndata: not complete"
    for _, ending in ipairs { "\n", "\r\n", "\r" } do
      local variant = text:gsub("\n", ending)
      for size = 1, #variant do
        local found, events = all(variant, size)
        assert.same({ "{a}", "b\nc" }, found)
        assert.same({ "3", 1.5 }, { events.last_id, events.retry })
      end
    end
  end)

  it("takes an event without data as a place to go on from", function()
    local found, events = all("id: first\n\n", 100)
    assert.same({}, found)
    assert.equal("first", events.last_id)
  end)

  it("forgets what was not complete when another stream begins", function()
    local _, events = all("id: 1\ndata: a\n\nid: 2\ndata: half", 100)
    events:restart()
    assert.same({ "whole" }, events:feed("data: whole\n\n"))
    assert.equal("1", events.last_id)
  end)

  it("refuses an event that is too long, also one of empty lines", function()
    for _, line in ipairs { "data: " .. ("x"):rep(50) .. "\n", "data:\n" } do
      local events, err = sse.new(1000), nil
      for _ = 1, 2000 do
        local list
        list, err = events:feed(line)
        if not list then
          break
        end
      end
      assert.is_true(errors.is(err, "bad_response"))
    end
  end)
end)


describe("mcp.content", function()
  it("says something for every kind of block, and for none", function()
    local text = content.text { content = {
      { type = "text", text = "a" }, { type = "image", data = "QUJD", mimeType = "image/png" }, { type = "text" }, { type = "image" }, 7,
      { type = "resource" }, { type = "resource_link", uri = "u", name = "n" },
    } }
    assert.equal("a\n[image: image/png, 3 bytes, not shown]\n\n[image: unknown type, 0 bytes, not shown]\n[content of an unknown kind]\n"
      .. "[resource nil: unknown type, 0 bytes, not shown]\n[resource u (n)]", text)
    assert.is_nil(content.text {})
    assert.is_nil(content.text { content = "no list" })
    assert.equal('{"a":1}', content.text { content = json.array {}, structuredContent = { a = 1 } })
  end)

  it("prefers the text over the structure, which says the same", function()
    assert.equal("18 degrees", content.text { content = { { type = "text", text = "18 degrees" } }, structuredContent = { degrees = 18 } })
  end)

  it("makes messages and resources of what has their shape", function()
    assert.same({ { role = "user", content = "hi" } }, content.messages { { role = "user", content = { type = "text", text = "hi" } }, 5 })
    assert.same({}, content.messages("nothing"))
    assert.same({ { uri = "u", data = "AA==" } }, content.resources { { uri = "u", blob = "AA==" }, false })
  end)
end)


describe("mcp.tools", function()
  local function make(definitions, options)
    return tools.make("files", definitions, options or {}, function(name, arguments)
      return { content = { { type = "text", text = name .. json.encode(arguments) } } }
    end)
  end

  it("gives names that models take, all different", function()
    local long = ("n"):rep(200)
    local made = make {
      { name = "read_file" }, { name = "read file" }, { name = "read/file" }, { name = long .. "1" }, { name = long .. "2" },
    }
    local seen = {}
    for _, one in ipairs(made) do
      assert.matches("^[%w_-]+$", one.name)
      assert.is_true(#one.name <= 64)
      assert.is_nil(seen[one.name])
      seen[one.name] = true
    end
    assert.is_true(seen.files_read_file)
    assert.equal("read_file", make({ { name = "read_file" } }, { prefix = false })[1].name)
  end)

  it("checks arguments by a schema it can read, and leaves one that it cannot read to the server", function()
    local plain = { type = "object", properties = { n = { type = "integer" } }, required = { "n" } }
    local odd = { properties = { a = { ["$ref"] = "https://example.com/x" } }, required = json.array { "a" } }
    local made = make { { name = "plain", inputSchema = plain }, { name = "odd", inputSchema = odd }, { name = "bare", inputSchema = 5 } }
    assert.is_true(tool.call(made[1], '{"n":"x"}', {}).is_error)
    assert.equal('plain{"n":1}', tool.call(made[1], '{"n":1}', {}).content)
    assert.equal('odd{"a":true}', tool.call(made[2], '{"a":true}', {}).content)
    assert.equal("https://example.com/x", made[2].parameters.properties.a["$ref"])
    assert.equal("object", made[2].parameters.type)
    assert.equal("bare{}", tool.call(made[3], "", {}).content)
  end)

  it("takes only the script's word for what may be repeated", function()
    local made = make({ { name = "a", annotations = { idempotentHint = true } }, { name = "b" } }, {
      idempotent = { "b" }, approval = "always",
    })
    assert.same({ false, true }, { made[1].idempotent, made[2].idempotent })
    assert.equal("always", made[1].approval)
  end)
end)


describe("mcp.pins", function()
  local folder, path

  setup(function()
    log.set_level("off")
  end)

  teardown(function()
    log.set_level("warn")
  end)

  before_each(function()
    folder = assert(fs.temp_dir("perilune-pins"))
    path = folder .. "/pins.json"
  end)

  after_each(function()
    assert(fs.remove(folder, { recursive = true }))
  end)

  local first = { name = "a", description = "does a", inputSchema = { type = "object" } }

  it("approves what is first seen, and nothing that changes or comes later", function()
    local list = assert(pins.open("s"))
    assert(list:look { first })
    assert.equal(first, list:check("a"))
    for _, change in ipairs {
      { name = "a", description = "does a, and more", inputSchema = { type = "object" } },
      { name = "a", description = "does a", inputSchema = { type = "object", title = "x" } },
      { name = "a", inputSchema = { type = "object" } },
    } do
      assert(list:look { change, { name = "b" } })
      local definition, err = list:check("a")
      assert.is_nil(definition)
      assert.equal("not_approved", err.code)
      assert.matches("has changed its description or schema", err.message)
      assert.matches("is new", select(2, list:check("b")).message)
      assert.same({ "changed", "new" }, { list:waiting()[1].state, list:waiting()[2].state })
    end
    assert(list:look {})
    assert.equal("gone", select(2, list:check("a")).code)
    assert(list:look { first })
    assert.equal(first, list:check("a"))
  end)

  it("does not care about what a model never sees", function()
    local list = assert(pins.open("s"))
    assert(list:look { first })
    local same = { name = "a", description = "does a", inputSchema = { type = "object" }, title = "A", annotations = {} }
    assert(list:look { same })
    assert.equal(same, list:check("a"))
  end)

  it("keeps approvals in a file that only its owner reads, with those of other servers", function()
    local other = assert(pins.open("other", path))
    assert(other:look { first })
    local list = assert(pins.open("s", path))
    assert(list:look { first })
    assert.equal(tonumber("600", 8), fs.stat(path).mode & 511)
    local changed = { name = "a", description = "new words", inputSchema = { type = "object" } }
    list = assert(pins.open("s", path))
    assert(list:look { changed })
    assert.is_nil(list:check("a"))
    assert(list:approve("a"))
    assert.equal(changed, list:check("a"))
    list = assert(pins.open("s", path))
    assert(list:look { changed })
    assert.equal(changed, list:check("a"))
    other = assert(pins.open("other", path))
    assert(other:look { first })
    assert.equal(first, other:check("a"))
  end)

  it("never takes a file that it cannot read for an empty one", function()
    for _, text in ipairs { "", "{", "[]x", "5", '{"s": "text"}' } do
      assert(fs.write(path, text))
      local list, err = pins.open("s", path)
      assert.is_nil(list)
      assert.is_true(errors.is(err, "configuration"))
      assert.equal(text, fs.read(path))
    end
  end)

  it("names the tool that was probably meant", function()
    local list = assert(pins.open("s"))
    assert(list:look { { name = "read_file" } })
    local ok, err = list:approve("reed_file")
    assert.is_nil(ok)
    assert.matches("did you mean 'read_file'", err.message)
  end)
end)


describe("perilune.mcp", function()
  for name, case in pairs {
    ["nothing"] = { {}, "'name' must be" },
    ["a name that is no name"] = { { name = "a b", command = { "x" } }, "'name' must be" },
    ["neither program nor address"] = { { name = "a" }, "either a 'command' or a 'url'" },
    ["both"] = { { name = "a", command = { "x" }, url = "http://x" }, "either a 'command' or a 'url'" },
    ["a command line"] = { { name = "a", command = "npx x" }, "must be a table" },
    ["an empty command"] = { { name = "a", command = {} }, "is empty" },
    ["a command of numbers"] = { { name = "a", command = { 1 } }, "command%[1%] must be a string" },
    ["an address of another kind"] = { { name = "a", url = "ftp://x" }, "is not an http" },
    ["headers for a program"] = { { name = "a", command = { "x" }, headers = {} }, "option 'headers' is for a server with a 'url'" },
    ["an environment for an address"] = { { name = "a", url = "http://x", env = {} }, "option 'env' is for a server with a 'command'" },
    ["a typo"] = { { name = "a", comand = { "x" } }, "did you mean 'command'" },
    ["a root that is relative"] = { { name = "a", command = { "x" }, roots = { "src" } }, "neither an absolute path" },
    ["no time"] = { { name = "a", command = { "x" }, timeouts = { call = 0 } }, "must be more than 0" },
    ["a time limit that there is not"] = { { name = "a", command = { "x" }, timeouts = { cal = 1 } }, "did you mean 'call'" },
  } do
    it("refuses " .. name .. ", at the line that asks for it", function()
      local ok, err = pcall(function()
        local server = mcp.connect(case[1])
        return server
      end)
      assert.is_false(ok)
      assert.is_true(errors.is(err, "configuration"))
      assert.matches(case[2], err.message)
      assert.matches("mcp_spec.lua:%d+$", err.where)
    end)
  end
end)
