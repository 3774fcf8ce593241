local assistants = require "perilune.store.assistants"
local errors = require "perilune.std.errors"
local store = require "perilune.store"


describe("perilune.store.assistants", function()
  local db

  before_each(function()
    db = assert(store.open(":memory:"))
  end)

  after_each(function()
    db:close()
  end)

  local function create(name, definition, metadata)
    return assistants.create(db, { name = name, definition = definition or {}, metadata = metadata })
  end

  it("keeps a definition and gives it back by name and by id", function()
    local made = assert(create("a", { model = "x/y", tools = { "t" }, temperature = 0.5 }, { team = "red" }))
    for _, ref in ipairs { "a", made.id } do
      local row = assert(assistants.get(db, ref))
      assert.same({ model = "x/y", tools = { "t" }, temperature = 0.5 }, row.definition)
      assert.same({ "a", { team = "red" } }, { row.name, row.metadata })
    end
    local _, err = assistants.get(db, "b")
    assert.is_true(errors.is(err, "not_found"))
  end)

  it("has each name once", function()
    local first, second = assert(create "a"), assert(create "b")
    local _, err = create "a"
    assert.same({ "conflict", "name", "there is an assistant 'a' already" }, { err.kind, err.code, err.message })
    second.name = "a"
    _, err = assistants.update(db, second)
    assert.same({ "conflict", "name" }, { err.kind, err.code })
    assert.equal(first.id, assistants.get(db, "a").id)
  end)

  it("lists the newest first, in pages", function()
    for _, name in ipairs { "a", "b", "c" } do
      assert(create(name))
    end
    local page = assert(assistants.list(db, { limit = 2 }))
    assert.same({ "c", "b" }, { page[1].name, page[2].name })
    local rest = assert(assistants.list(db, { after = page[2].id }))
    assert.same({ "a", 1 }, { rest[1].name, #rest })
  end)

  it("lets only one of two change the same row", function()
    assert(create("a", { model = "x" }))
    local mine, theirs = assistants.get(db, "a"), assistants.get(db, "a")
    mine.definition.model = "y"
    local changed = assert(assistants.update(db, mine))
    assert.equal("y", changed.definition.model)
    theirs.definition.model = "z"
    local _, err = assistants.update(db, theirs)
    assert.same({ "conflict", "changed" }, { err.kind, err.code })
    changed.definition.model = "z"
    assert.equal("z", assert(assistants.update(db, changed)).definition.model)
  end)

  it("deletes once", function()
    local row = assert(create "a")
    assert.is_true(assistants.delete(db, row.id))
    local _, err = assistants.delete(db, row.id)
    assert.is_true(errors.is(err, "not_found"))
  end)
end)
