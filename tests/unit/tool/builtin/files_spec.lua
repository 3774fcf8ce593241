local fs = require "perilune.sys.fs"
local json = require "perilune.json"
local list_files = require "perilune.tool.builtin.list_files"
local proc = require "perilune.sys.proc"
local read_file = require "perilune.tool.builtin.read_file"
local tool = require "perilune.tool"
local write_file = require "perilune.tool.builtin.write_file"


describe("the file tools", function()
  local dir, root, reader, writer, lister

  before_each(function()
    dir = assert(fs.temp_dir("files-spec-"))
    root = dir .. "/root"
    assert(fs.mkdir(root))
    assert(fs.write(dir .. "/secret", "secret"))
    reader, writer, lister = read_file.new { roots = { root } }, write_file.new { roots = { root } }, list_files.new { roots = { root } }
  end)

  after_each(function()
    assert(fs.remove(dir, { recursive = true }))
  end)

  local function call(tested, arguments)
    return tool.call(tested, assert(json.encode(arguments)), {})
  end

  local function good(tested, arguments)
    local result = call(tested, arguments)
    assert.is_false(result.is_error, result.content)
    return result.content
  end

  local function bad(tested, arguments)
    local result = call(tested, arguments)
    assert.is_true(result.is_error, result.content)
    return result.content
  end

  local function run(...)
    assert.equal(0, assert(proc.run { argv = { ... } }).status)
  end

  describe("read_file", function()
    it("reads a text", function()
      assert(fs.write(root .. "/a", "one\ntwo\n"))
      assert(fs.write(root .. "/b", "no line end"))
      assert(fs.write(root .. "/empty", ""))
      assert.equal("one\ntwo\n", good(reader, { path = "a" }))
      assert.equal("one\ntwo\n", good(reader, { path = "./a" }))
      assert.equal("one\ntwo\n", good(reader, { path = root .. "/a" }))
      assert.equal("no line end", good(reader, { path = "b" }))
      assert.equal("[the file is empty]", good(reader, { path = "empty" }))
    end)

    it("reads some lines and says how to go on", function()
      assert(fs.write(root .. "/a", "1\n2\n3\n4\n5\n"))
      assert.equal("1\n2\n[lines 1 to 2; there is more, go on with offset 3]", good(reader, { path = "a", limit = 2 }))
      assert.equal("3\n4\n[lines 3 to 4; there is more, go on with offset 5]", good(reader, { path = "a", offset = 3, limit = 2 }))
      assert.equal("5\n", good(reader, { path = "a", offset = 5, limit = 2 }))
      assert.equal("4\n5\n", good(reader, { path = "a", offset = 4 }))
      assert.equal("Error: tool 'read_file': a has only 5 lines", bad(reader, { path = "a", offset = 6 }))
      assert.is_truthy(bad(reader, { path = "a", offset = 0 }):find("schema", 1, true))
      assert(fs.write(root .. "/b", "1\n2"))
      assert.equal("2", good(reader, { path = "b", offset = 2 }))
      assert.equal("Error: tool 'read_file': b has only 2 lines", bad(reader, { path = "b", offset = 3 }))
    end)

    it("gives a large text piece by piece, without a gap", function()
      local lines = {}
      for i = 1, 5000 do
        lines[i] = ("line %d %s\n"):format(i, ("x"):rep(i % 60))
      end
      assert(fs.write(root .. "/large", table.concat(lines)))
      local pieces, offset = {}, 1
      repeat
        local shown = good(reader, { path = "large", offset = offset })
        assert.is_true(#shown < 64 * 1024)
        local piece, following = shown:match("^(.*)%[lines %d+ to %d+; there is more, go on with offset (%d+)%]$")
        pieces[#pieces + 1], offset = piece or shown, math.tointeger(tonumber(following))
      until not offset
      assert.is_true(#pieces > 2)
      assert.equal(table.concat(lines), table.concat(pieces))
    end)

    it("cuts a line that is longer than an answer", function()
      assert(fs.write(root .. "/long", ("é"):rep(100000) .. "\nend\n"))
      local shown = good(reader, { path = "long" })
      assert.is_true(#shown < 64 * 1024 and utf8.len(shown) ~= nil)
      assert.is_truthy(shown:find("[line 1 is cut: it has 200000 bytes]\n[lines 1 to 1; there is more, go on with offset 2]", 1, true))
      assert.equal("end\n", good(reader, { path = "long", offset = 2 }))
      assert(fs.write(root .. "/last", ("y"):rep(100000)))
      assert.is_truthy(good(reader, { path = "last" }):find("%[line 1 is cut: it has 100000 bytes%]\n$"))
    end)

    it("says that a file is binary, too large or missing", function()
      assert(fs.write(root .. "/binary", "a\0b"))
      assert(fs.write(root .. "/latin", "caf\xe9"))
      assert.equal("Error: tool 'read_file': binary is not text in UTF-8 (3 bytes)", bad(reader, { path = "binary" }))
      assert.equal("Error: tool 'read_file': latin is not text in UTF-8 (4 bytes)", bad(reader, { path = "latin" }))
      local small = read_file.new { roots = { root }, bytes = 3 }
      assert.is_truthy(bad(small, { path = "latin" }):find("4 bytes, more than 3", 1, true))
      assert.is_truthy(bad(reader, { path = "none" }):find("No such file", 1, true))
      assert.is_truthy(bad(reader, { path = "." }):find("not a regular file", 1, true))
    end)
  end)

  describe("write_file", function()
    it("creates, replaces and appends", function()
      assert.equal("wrote 3 bytes to notes/2026/a", good(writer, { path = "notes/2026/a", content = "one" }))
      assert.is_truthy(bad(writer, { path = "notes/2026/a", content = "two" }):find("exists already", 1, true))
      assert.equal("one", fs.read(root .. "/notes/2026/a"))
      good(writer, { path = "notes/2026/a", content = "two", mode = "overwrite" })
      assert.equal("appended 1 bytes to notes/2026/a", good(writer, { path = "notes/2026/a", content = "!", mode = "append" }))
      assert.equal("two!", fs.read(root .. "/notes/2026/a"))
      good(writer, { path = root .. "/b", content = "new", mode = "append" })
      assert.equal("new", fs.read(root .. "/b"))
      assert.same({ "b", "notes" }, fs.list(root))
    end)

    it("refuses folders and too much", function()
      for _, path in ipairs { "", ".", "a/", "a/.", root } do
        assert.is_truthy(bad(writer, { path = path, content = "x" }):find("folder", 1, true), path)
      end
      local small = write_file.new { roots = { root }, bytes = 3 }
      assert.equal("Error: tool 'write_file': the content has 4 bytes, more than 3", bad(small, { path = "a", content = "1234" }))
      assert.same({}, fs.list(root))
    end)

    it("may not be run again after a crash", function()
      assert.is_false(writer.idempotent)
      assert.is_true(reader.idempotent and lister.idempotent)
    end)
  end)

  describe("list_files", function()
    it("lists a folder, and deeper when asked", function()
      for _, path in ipairs { "b.txt", "a/x.txt", "a/deep/y", ".git/config" } do
        good(writer, { path = path, content = "12345" })
      end
      run("ln", "-s", dir, root .. "/link")
      run("mkfifo", root .. "/pipe")
      assert.equal(".git/\na/\nb.txt (5 bytes)\nlink (a link)\npipe (no file)", good(lister, {}))
      assert.equal("deep/\nx.txt (5 bytes)", good(lister, { path = "a" }))
      assert.equal(".git/\na/\na/deep/\na/deep/y (5 bytes)\na/x.txt (5 bytes)\nb.txt (5 bytes)\nlink (a link)\npipe (no file)",
        good(lister, { depth = 3 }))
      assert.equal("config (5 bytes)", good(lister, { path = ".git" }))
      assert.is_truthy(bad(lister, { path = "none" }):find("No such file", 1, true))
      assert.is_truthy(bad(lister, { path = "b.txt" }):find("Not a directory", 1, true))
    end)

    it("has a most of entries, and takes the surface first", function()
      for i = 1, 9 do
        good(writer, { path = ("dir%d/file"):format(i), content = "" })
      end
      local few = list_files.new { roots = { root }, entries = 10 }
      local lines = good(few, { depth = 2 })
      assert.is_truthy(lines:find("dir9/\n", 1, true))
      assert.is_truthy(lines:find("dir1/file (0 bytes)", 1, true))
      assert.is_nil(lines:find("dir2/file", 1, true))
      assert.is_truthy(lines:find("\n[cut at 10 entries: list a folder inside]", 1, true))
      assert.is_nil(good(list_files.new { roots = { root }, entries = 9 }, {}):find("cut", 1, true))
    end)

    it("says that a folder is empty", function()
      assert.equal("[the folder is empty]", good(lister, {}))
    end)
  end)

  describe("stay inside of their roots", function()
    it("whatever the path says", function()
      assert(fs.mkdir(dir .. "/root2"))
      assert(fs.write(dir .. "/root2/secret", "secret"))
      run("ln", "-s", dir, root .. "/out")
      run("ln", "-s", dir .. "/secret", root .. "/file")
      local paths = {
        "../secret", "..", "a/../../secret", root .. "/../secret", dir .. "/secret", dir .. "/root2/secret", "/etc/passwd", "/",
        "//etc/passwd", "out/secret", "file", root .. "/out/secret", root .. "2/secret", "./../secret", "\0/../secret",
        "/proc/self/root/etc",
      }
      for _, path in ipairs(paths) do
        for _, tested in ipairs { reader, lister } do
          assert.is_nil(bad(tested, { path = path }):find("is not text", 1, true))
        end
        for _, mode in ipairs { "create", "overwrite", "append" } do
          bad(writer, { path = path, content = "broken", mode = mode })
        end
      end
      assert.equal("secret", fs.read(dir .. "/secret"))
      assert.equal("secret", fs.read(dir .. "/root2/secret"))
      assert.same({ "root", "root2", "secret" }, fs.list(dir))
      assert.same({ "file", "out" }, fs.list(root))
    end)

    it("of which there may be several", function()
      assert(fs.mkdir(dir .. "/other"))
      assert(fs.write(dir .. "/other/x", "other"))
      assert(fs.write(root .. "/x", "first"))
      local both = read_file.new { roots = { root, dir .. "/./other/" } }
      assert.equal("first", good(both, { path = "x" }))
      assert.equal("other", good(both, { path = dir .. "/other/x" }))
      assert.equal("other", good(both, { path = dir .. "/other///x" }))
      assert.is_truthy(both.description:find(root .. ", " .. dir .. "/other.", 1, true))
      bad(both, { path = dir .. "/secret" })
      assert.is_nil(reader.description:find(dir, 1, true))
    end)

    it("also when a root is the whole disk or a relative path", function()
      local all = read_file.new { roots = { "/" } }
      assert(fs.write(root .. "/x", "found"))
      assert.equal("found", good(all, { path = root .. "/x" }))
      assert.equal("found", good(all, { path = root:sub(2) .. "/x" }))
      assert.is_truthy(good(read_file.new { roots = { "docs" } }, { path = "model.md" }):find("Messages", 1, true))
      assert.is_truthy(good(list_files.new { roots = { "." } }, { path = "docs" }):find("model.md", 1, true))
    end)
  end)

  it("report wrong options where they are made", function()
    local function misuse(make, options)
      local ok, err = pcall(function() return (make(options)) end)
      assert.is_false(ok)
      assert.is_truthy(err.where and err.where:find("files_spec.lua", 1, true), tostring(err.where))
      return err.message
    end
    assert.equal("perilune.tools.read_file: 'roots' is missing: nothing is allowed unless it is listed", misuse(read_file.new))
    assert.equal("perilune.tools.write_file: 'roots' is empty, so that nothing would be allowed", misuse(write_file.new, { roots = {} }))
    assert.equal("perilune.tools.list_files: unknown option 'root', did you mean 'roots'?", misuse(list_files.new, { root = "." }))
    assert.is_truthy(misuse(read_file.new, { roots = { 5 } }):find("roots[1] must be a string", 1, true))
    assert.is_truthy(misuse(read_file.new, { roots = { "" } }):find("a path is not empty", 1, true))
    assert.is_truthy(misuse(read_file.new, { roots = { "." }, bytes = -1 }):find("must be more than 0", 1, true))
  end)
end)
