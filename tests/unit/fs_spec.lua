local fs = require("perilune.sys.fs")
local proc = require("perilune.sys.proc")
local task = require("perilune.sys.task")

describe("perilune.sys.fs", function()
  local dir

  before_each(function()
    dir = assert(fs.temp_dir("fs-spec-"))
  end)

  after_each(function()
    assert(fs.remove(dir, { recursive = true }))
  end)

  local function run(...)
    local result = assert(proc.run { argv = { ... } })
    assert.equal(0, result.status, result.stderr)
    return (result.stdout:gsub("\n$", ""))
  end

  local function failure(...)
    local value, err = ...
    assert.is_nil(value)
    assert.equal("table", type(err))
    return err
  end

  it("writes and reads back any bytes", function()
    for _, text in ipairs { "", "hello", "\0\255\n", ("x"):rep(300000) } do
      assert.is_true(fs.write(dir .. "/a", text))
      assert.equal(text, fs.read(dir .. "/a"))
    end
    assert.same({ "a" }, fs.list(dir))
  end)

  it("reads files that have no size", function()
    assert.truthy(fs.read("/proc/self/status"):find("VmRSS"))
  end)

  it("replaces a file as a whole and keeps its mode and its links", function()
    assert(fs.write(dir .. "/a", "one", { mode = 384 }))
    assert.equal(384, fs.stat(dir .. "/a").mode)
    run("ln", "-s", "a", dir .. "/link")
    run("ln", dir .. "/a", dir .. "/before")
    assert(fs.write(dir .. "/link", "two"))
    assert.equal("two", fs.read(dir .. "/a"))
    assert.equal("one", fs.read(dir .. "/before"))
    assert.equal(384, fs.stat(dir .. "/a").mode)
    assert.equal("a", run("readlink", dir .. "/link"))
    assert.same({ "a", "before", "link" }, fs.list(dir))
  end)

  it("appends", function()
    assert(fs.append(dir .. "/log", "one\n", { mode = 384 }))
    assert(fs.append(dir .. "/log", "two\n"))
    assert.equal("one\ntwo\n", fs.read(dir .. "/log"))
    assert.equal(384, fs.stat(dir .. "/log").mode)
  end)

  it("refuses to read more than was asked for", function()
    assert(fs.write(dir .. "/a", "12345"))
    assert.equal("12345", fs.read(dir .. "/a", { bytes = 5 }))
    local err = failure(fs.read(dir .. "/a", { bytes = 4 }))
    assert.equal("limit", err.code)
    assert.truthy(err.message:find(dir .. "/a", 1, true))
    assert.equal("limit", failure(fs.read("/proc/self/status", { bytes = 100 })).code)
  end)

  it("names the path and says what is wrong", function()
    local err = failure(fs.read(dir .. "/none"))
    assert.equal("not_found", err.kind)
    assert.truthy(err.message:find(dir .. "/none: No such file", 1, true))
    assert.equal("not_found", failure(fs.write(dir .. "/no/file", "x")).kind)
    assert.equal("not_found", failure(fs.append(dir .. "/no/file", "x")).kind)
    assert.equal("not_found", failure(fs.list(dir .. "/none")).kind)
    assert.equal("not_found", failure(fs.stat(dir .. "/none")).kind)
    assert.equal("not_found", failure(fs.remove(dir .. "/none")).kind)
    assert.equal("not_found", failure(fs.remove(dir .. "/none", { recursive = true })).kind)
    assert.equal("invalid", failure(fs.read(dir)).code)
    assert.equal("invalid", failure(fs.write(dir, "x")).code)
    assert.equal("invalid", failure(fs.write("/dev/null", "x")).code)
  end)

  it("does not hang on a pipe", function()
    run("mkfifo", dir .. "/pipe")
    assert.equal("invalid", failure(fs.read(dir .. "/pipe")).code)
    assert.equal("invalid", failure(fs.write(dir .. "/pipe", "x")).code)
    assert.equal("io", failure(fs.append(dir .. "/pipe", "x")).code)
    assert.equal("other", fs.stat(dir .. "/pipe").type)
  end)

  it("makes folders with their parents", function()
    assert.is_true(fs.mkdir(dir .. "/a/b/c"))
    assert.is_true(fs.mkdir(dir .. "/a/b/c"))
    assert.is_true(fs.mkdir(dir .. "/a/b/c/"))
    assert.equal("directory", fs.stat(dir .. "/a/b/c").type)
    assert(fs.write(dir .. "/file", ""))
    assert.equal("io", failure(fs.mkdir(dir .. "/file/x")).code)
    assert.equal("io", failure(fs.mkdir(dir .. "/file")).code)
  end)

  it("lists names in byte order", function()
    for _, name in ipairs { "b", "a", "B", ".hidden", "\xc3\xa9" } do
      assert(fs.write(dir .. "/" .. name, ""))
    end
    assert.same({ ".hidden", "B", "a", "b", "\xc3\xa9" }, fs.list(dir))
    assert(fs.mkdir(dir .. "/empty"))
    assert.same({}, fs.list(dir .. "/empty"))
  end)

  it("tells what a file is", function()
    assert(fs.write(dir .. "/a", "12345", { mode = 416 }))
    local stat = fs.stat(dir .. "/a")
    assert.equal("file", stat.type)
    assert.equal(5, stat.size)
    assert.equal(416, stat.mode)
    assert.equal(tonumber(run("stat", "-c", "%Y", dir .. "/a")), math.floor(stat.modified))
  end)

  it("removes trees, but never through a symbolic link", function()
    assert(fs.mkdir(dir .. "/tree/a/b"))
    assert(fs.write(dir .. "/tree/a/b/x", ""))
    assert(fs.write(dir .. "/kept", "kept"))
    assert(fs.mkdir(dir .. "/other"))
    assert(fs.write(dir .. "/other/kept", "kept"))
    run("ln", "-s", dir .. "/other", dir .. "/tree/a/link")
    run("ln", "-s", dir .. "/other", dir .. "/link")
    assert.equal("io", failure(fs.remove(dir .. "/tree")).code)
    assert.is_true(fs.remove(dir .. "/tree", { recursive = true }))
    assert.is_true(fs.remove(dir .. "/link", { recursive = true }))
    assert.is_true(fs.remove(dir .. "/kept"))
    assert.equal("kept", fs.read(dir .. "/other/kept"))
    assert.same({ "other" }, fs.list(dir))
    assert.is_true(fs.remove(dir .. "/other/kept", { recursive = true }))
    assert.is_true(fs.remove(dir .. "/other"))
  end)

  it("makes temporary folders that are private and distinct", function()
    local other <close> = setmetatable({ path = assert(fs.temp_dir("fs-spec-")) }, {
      __close = function(folder) assert(fs.remove(folder.path)) end,
    })
    assert.not_equal(dir, other.path)
    assert.equal(448, fs.stat(other.path).mode)
    assert.equal("io", failure(fs.temp_dir(("x"):rep(300))).code)
  end)

  it("raises on misuse", function()
    assert.has_error(function() fs.read("") end)
    assert.has_error(function() fs.read("a\0b") end)
    assert.has_error(function() fs.read("a", { size = 1 }) end)
    assert.has_error(function() fs.read("a", { bytes = 0 }) end)
    assert.has_error(function() fs.write("a") end)
    assert.has_error(function() fs.write("a", "x", { mode = 4096 * 8 }) end)
    assert.has_error(function() fs.temp_dir("a/b") end)
  end)

  it("knows the working folder", function()
    assert.equal("directory", fs.stat(fs.cwd()).type)
  end)

  it("runs many operations side by side", function()
    local group <close> = task.group()
    for i = 1, 100 do
      group:spawn(function()
        local path = dir .. "/" .. i
        assert(fs.write(path, ("x"):rep(i)))
        assert(#fs.read(path) == i)
      end)
    end
    group:wait()
    assert.equal(100, #fs.list(dir))
  end)

  it("survives tasks that are cancelled while a thread works for them", function()
    local text = ("x"):rep(1000000)
    local handles = {}
    for i = 1, 50 do
      handles[i] = task.spawn(function() fs.write(dir .. "/" .. i, text) end)
    end
    task.yield()
    for _, handle in ipairs(handles) do
      handle:cancel()
    end
    for _, handle in ipairs(handles) do
      assert.has_error(function() handle:wait() end)
    end
    -- The pool works in order: once this is done, whatever the cancelled tasks had begun is done too, nearly always.
    for _ = 1, 8 do
      assert(fs.stat(dir))
    end
    task.sleep(0.05)
    for _, name in ipairs(fs.list(dir)) do
      assert.truthy(name:match("^%d+$") or name:match("%.tmp$"))
    end
  end)
end)
