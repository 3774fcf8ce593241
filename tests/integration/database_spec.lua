-- Databases that cannot be used as they are, and processes that share one or are killed while they write.
local errors = require "perilune.std.errors"
local fs = require "perilune.sys.fs"
local messages = require "perilune.store.messages"
local proc = require "perilune.sys.proc"
local store = require "perilune.store"
local task = require "perilune.sys.task"
local threads = require "perilune.store.threads"

-- What the other processes run: appends numbered messages to the thread "shared" and says each number once it is stored.
local WRITER = [[
local messages = require "perilune.store.messages"
local proc = require "perilune.sys.proc"
local store = require "perilune.store"
local threads = require "perilune.store.threads"
local db <close> = assert(store.open(arg[1]))
local thread = assert(threads.open(db, "shared"))
for i = 1, tonumber(arg[3]) do
  assert(messages.append(db, thread, { role = "user", content = arg[2] .. " " .. i }))
  proc.write(1, i .. "\n")
end
]]

describe("a database", function()
  local folder, path

  before_each(function()
    folder = assert(fs.temp_dir("database"))
    path = folder .. "/a.db"
  end)

  after_each(function()
    fs.remove(folder, { recursive = true })
  end)

  -- A good one: a thread with `count` messages.
  local function make(count)
    local db <close> = assert(store.open(path))
    local thread = assert(threads.open(db, "shared"))
    for i = 1, count do
      assert(messages.append(db, thread, { role = "user", content = "message " .. i .. (" "):rep(2000) }))
    end
  end

  local function refused(code, pattern, options)
    local db, err = store.open(path, options)
    assert.is_nil(db)
    assert.is_true(errors.is(err, "database"), tostring(err))
    assert.equal(code, err.code)
    assert.matches(pattern, err.message, 1, true)
    assert.matches("a.db", err.message, 1, true)
  end

  -- Replaces bytes of the file; the offset counts from 0.
  local function patch(offset, bytes)
    local text = assert(fs.read(path))
    assert(fs.write(path, text:sub(1, offset) .. bytes .. text:sub(offset + #bytes + 1)))
  end

  it("is made with its folder, for its owner only", function()
    path = folder .. "/new/deep/a.db"
    make(1)
    assert.equal(tonumber("600", 8), fs.stat(path).mode & tonumber("777", 8))
    assert.equal(tonumber("700", 8), fs.stat(folder .. "/new/deep").mode & tonumber("777", 8))
    assert.is_nil(fs.stat(path .. "-wal")) -- the last one to close cleans up
  end)

  it("keeps what it was given", function()
    make(3)
    local db <close> = assert(store.open(path))
    assert.equal(3, #messages.list(db, assert(threads.open(db, "shared"))))
    assert.equal("wal", db:info().journal_mode)
    assert.same({}, db:check())
  end)

  it("that is no database is left alone", function()
    local text = ("this is a letter to a friend\n"):rep(500)
    assert(fs.write(path, text))
    refused("corrupt", "is not a database")
    assert.equal(text, fs.read(path))
  end)

  it("that was cut off is left alone", function()
    make(50)
    local text = assert(fs.read(path))
    for _, size in ipairs { 100, 8192, #text // 2, #text - 8192 } do
      assert(fs.write(path, text:sub(1, size)))
      local db, err = store.open(path)
      assert.is_nil(db, size)
      assert.equal("corrupt", err.code)
      assert.equal(size, fs.stat(path).size)
    end
    assert(fs.write(path, ""))
    assert(fs.write(path .. "-wal", ("x"):rep(10000)))
    refused("corrupt", "its log (-wal) is not")
    assert.equal(10000, fs.stat(path .. "-wal").size)
  end)

  it("with damage inside says so when it is checked", function()
    make(200)
    patch(8192 * 30 + 100, ("\xa5"):rep(8192 * 4))
    local db <close> = assert(store.open(path))
    local problems = assert(db:check())
    assert.is_true(#problems > 0)
  end)

  it("of a newer Perilune, or of another program, is left alone", function()
    make(1)
    local known = (">I4"):unpack(assert(fs.read(path)), 61) -- user_version, big-endian, in SQLite's header
    patch(60, (">I4"):pack(known + 1))
    local said = ("schema version %d, this one knows %d"):format(known + 1, known)
    refused("newer", said)
    refused("newer", said, { read_only = true })
    patch(60, "\0\0\0\1")
    patch(68, "\0\0\0\9") -- application_id
    refused("open", "a database of another program (application id 9)")
  end)

  it("can be opened read-only, then refuses to be written", function()
    refused("open", "No such file", { read_only = true })
    make(1)
    local db <close> = assert(store.open(path, { read_only = true }))
    local thread = assert(threads.open(db, "shared"))
    assert.equal(1, #messages.list(db, thread))
    local _, err = messages.append(db, thread, { role = "user", content = "x" })
    assert.is_true(errors.is(err, "database"))
    assert.equal("read_only", err.code)
  end)

  it("in a place that is no folder cannot be opened", function()
    assert(fs.write(folder .. "/file", "x"))
    local db, err = store.open(folder .. "/file/a.db")
    assert.is_nil(db)
    assert.equal("open", err.code)
    db, err = store.open(folder)
    assert.is_nil(db)
    assert.is_true(errors.is(err, "database"))
  end)

  it("is copied whole while it is written, and a copy overwrites nothing", function()
    make(20)
    local db <close> = assert(store.open(path))
    local thread = assert(threads.open(db, "shared"))
    local copy = folder .. "/copy.db"
    local writer <close> = task.group()
    local is_over = false
    writer:spawn(function()
      repeat
        assert(messages.append(db, thread, { role = "user", content = "more" }))
      until is_over
    end)
    assert(db:backup(copy))
    is_over = true
    writer:wait()
    local _, err = db:backup(copy)
    assert.matches("a backup never overwrites", err.message, 1, true)
    local other <close> = assert(store.open(copy))
    assert.same({}, other:check())
    assert.is_true(#messages.list(other, thread) >= 20)
  end)

  -- Other processes. /proc/self/exe is this program, also when it is about to become the child.

  local function start(name, count)
    local script = folder .. "/writer.lua"
    assert(fs.write(script, WRITER))
    return assert(proc.start { argv = { "/proc/self/exe", "run", script, path, name, tostring(count) } })
  end

  -- The last number it said.
  local function read_last(child)
    local pieces = {}
    for piece in function() return child:read() end do
      pieces[#pieces + 1] = piece
    end
    local last
    for number in table.concat(pieces):gmatch("(%d+)\n") do
      last = tonumber(number)
    end
    return last
  end

  it("is shared by several processes that all create it and write", function()
    local children = {}
    for i = 1, 4 do
      children[i] = start("p" .. i, 40)
    end
    for _, child in ipairs(children) do
      assert.equal(40, read_last(child))
      assert.equal(0, child:wait().status)
      child:close()
    end
    local db <close> = assert(store.open(path))
    assert.equal(1, #threads.list(db))
    assert.equal(160, #messages.list(db, assert(threads.open(db, "shared")), { limit = 1000 }))
    assert.same({}, db:check())
  end)

  it("has every message that was acknowledged before the process was killed", function()
    local total = 0
    for round = 1, 6 do
      local name = "round" .. round
      local child <close> = start(name, 1000000)
      local first = assert(child:read())
      task.sleep(0.01 * round)
      child:kill("KILL")
      local last = read_last(child) or tonumber(first:match("(%d+)\n$"))
      assert.equal("KILL", child:wait().signal)
      local db <close> = assert(store.open(path))
      local list = assert(messages.list(db, assert(threads.open(db, "shared")), { limit = 10000, after = total }))
      assert.is_true(#list == last or #list == last + 1, ("%d stored, %d acknowledged"):format(#list, last))
      for i, row in ipairs(list) do
        assert.equal(name .. " " .. i, row.message.content)
      end
      total = total + #list
      assert.same({}, db:check())
    end
  end)
end)
