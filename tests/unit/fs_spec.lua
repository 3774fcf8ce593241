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
    assert.has_error(function() fs.read("a", { beneath = "" }) end)
    assert.has_error(function() fs.append("a", "x", { new = true }) end)
    assert.has_error(function() fs.remove("a", { beneath = dir }) end)
  end)

  describe("beneath a folder", function()
    local root, inside

    before_each(function()
      root = dir .. "/root"
      inside = { beneath = root }
      assert(fs.mkdir(root .. "/a/b"))
      assert(fs.mkdir(dir .. "/outside"))
      assert(fs.write(dir .. "/outside/secret", "secret"))
      assert(fs.write(root .. "/a/b/file", "text"))
    end)

    it("does what it does elsewhere", function()
      assert.equal("text", fs.read("a/b/file", inside))
      assert.equal("text", fs.read("./a//./b/file", inside))
      assert.same({ "file" }, fs.list("a/b/", inside))
      assert.same({ "a" }, fs.list(".", inside))
      assert.same({ "a" }, fs.list("./", inside))
      assert.equal("directory", fs.stat("a", inside).type)
      assert.is_true(fs.mkdir("new/x/y", inside))
      assert.is_true(fs.mkdir("new/x/y", inside))
      assert.is_true(fs.mkdir(".", inside))
      assert.is_true(fs.write("new/x/y/z", "one", inside))
      assert.is_true(fs.write("new/x/y/z", "two", { beneath = root, mode = 384 }))
      assert.is_true(fs.append("new/x/y/z", "+", inside))
      assert.equal("two+", fs.read(root .. "/new/x/y/z"))
      assert.same({ "z" }, fs.list(root .. "/new/x/y"))
      assert.equal(384, fs.stat("new/x/y/z", inside).mode)
      assert.equal("limit", failure(fs.read("a/b/file", { beneath = root, bytes = 3 })).code)
      assert.equal("not_found", failure(fs.read("none/file", inside)).kind)
      assert.equal("not_found", failure(fs.write("none/file", "x", inside)).kind)
      assert.equal("not_found", failure(fs.mkdir("a/b/file/x", inside)).kind)
      assert.equal("not_found", failure(fs.read("x", { beneath = dir .. "/none" })).kind)
    end)

    local calls = {
      read = function(path) return fs.read(path, inside) end,
      write = function(path) return fs.write(path, "x", inside) end,
      append = function(path) return fs.append(path, "x", inside) end,
      list = function(path) return fs.list(path, inside) end,
      mkdir = function(path) return fs.mkdir(path, inside) end,
    }

    it("never leaves it by its name", function()
      local paths = { "..", "../outside", "../outside/secret", "a/../../outside/secret", "a/..", "./..", "a/b/../b/file", "/",
        dir .. "/outside/secret", root .. "/a/b/file", "//etc/passwd" }
      for name, call in pairs(calls) do
        for _, path in ipairs(paths) do
          assert.equal("permission", failure(call(path)).kind, name .. " " .. path)
        end
      end
    end)

    it("never follows a symbolic link, on the way or at the end", function()
      run("ln", "-s", "../outside", root .. "/out")
      run("ln", "-s", dir .. "/outside/secret", root .. "/secret")
      run("ln", "-s", "a", root .. "/in")
      run("ln", "-s", dir .. "/outside/new", root .. "/dangling")
      for name, call in pairs(calls) do
        for _, path in ipairs { "out/secret", "out/new", "in/b", "out", "secret", "dangling", "secret/" } do
          assert.equal("permission", failure(call(path)).kind, name .. " " .. path)
        end
      end
      assert.equal("permission", failure(fs.stat("out/secret", inside)).kind)
      assert.equal("link", fs.stat("out", inside).type)
      assert.same({ "secret" }, fs.list(dir .. "/outside"))
      assert.equal("secret", fs.read(dir .. "/outside/secret"))
    end)

    it("holds while somebody exchanges a folder for a link", function()
      run("ln", "-s", dir .. "/outside", root .. "/link")
      assert(fs.mkdir(root .. "/swapped"))
      assert(fs.write(root .. "/swapped/secret", "mine"))
      local swapper <close> = assert(proc.start { cwd = root, argv = { "sh", "-c",
        "while :; do mv -T swapped kept; mv -T link swapped; mv -T swapped link; mv -T kept swapped; done" } })
      local seen = { mine = 0, permission = 0, not_found = 0 }
      for i = 1, 3000 do
        local text, err = fs.read("swapped/secret", inside)
        local what = text or err.kind
        seen[what] = (seen[what] or 0) + 1
        if i % 10 == 0 then
          fs.write("swapped/secret", "mine", inside)
        end
      end
      swapper:close()
      assert.is_nil(seen.secret)
      assert.is_true(seen.mine > 0)
      assert.equal("secret", fs.read(dir .. "/outside/secret"))
    end)

    it("touches nothing but files and folders", function()
      run("mkfifo", root .. "/pipe")
      assert.equal("invalid", failure(fs.read("pipe", inside)).code)
      assert.equal("invalid", failure(fs.write("pipe", "x", inside)).code)
      assert.equal("io", failure(fs.append("pipe", "x", inside)).code)
      assert.equal("other", fs.stat("pipe", inside).type)
    end)
  end)

  it("writes a new file only where there is none", function()
    assert.is_true(fs.write(dir .. "/a", "one", { new = true }))
    local err = failure(fs.write(dir .. "/a", "two", { new = true }))
    assert.equal("invalid", err.code)
    assert.truthy(err.message:find("exists already", 1, true))
    assert.equal("invalid", failure(fs.write("a", "two", { new = true, beneath = dir })).code)
    assert.is_true(fs.write("b", "three", { new = true, beneath = dir }))
    assert.equal("one", fs.read(dir .. "/a"))
    assert.same({ "a", "b" }, fs.list(dir))
    local group <close> = task.group()
    local winners = 0
    for i = 1, 20 do
      group:spawn(function()
        local ok = fs.write(dir .. "/c", tostring(i), { new = true })
        winners = winners + (ok and 1 or 0)
      end)
    end
    group:wait()
    assert.equal(1, winners)
    assert.same({ "a", "b", "c" }, fs.list(dir))
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
