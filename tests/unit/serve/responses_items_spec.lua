local items = require "perilune.serve.shape.responses.items"

local message = {
  role = "assistant", content = "a", reasoning = "hm",
  tool_calls = { { id = "c1", name = "f", arguments = "" }, { id = "c2", name = "g", arguments = "{}" } },
}


local function ids_of(stored)
  local found = {}
  for position, one in ipairs(items.of_message("thread_x", stored)) do
    found[position] = one.item.id
  end
  return table.concat(found, " ")
end


describe("a message as items", function()
  it("is one for what was thought, what was said, and each call", function()
    local list = items.of_message("thread_x", { seq = 4, status = "complete", message = message })
    assert.same({ type = "reasoning", id = "rs_x_4_1", summary = { { type = "summary_text", text = "hm" } } }, list[1].item)
    assert.same({
      type = "message", id = "msg_x_4_2", role = "assistant", status = "completed",
      content = { { type = "output_text", text = "a", annotations = {}, logprobs = {} } },
    }, list[2].item)
    assert.same({
      type = "function_call", id = "fc_x_4_3", call_id = "c1", name = "f", arguments = "{}", status = "completed",
    }, list[3].item)
    assert.same({ "reasoning", "content", "call:c1", "call:c2" }, { list[1].part, list[2].part, list[3].part, list[4].part })
  end)

  it("keeps the names of its items when others are deleted", function()
    assert.equal("rs_x_4_1 msg_x_4_2 fc_x_4_3 fc_x_4_4", ids_of { seq = 4, status = "complete", message = message })
    assert.equal("rs_x_4_1 fc_x_4_4", ids_of { seq = 4, status = "complete", message = message, deleted = { "content", "call:c1" } })
    assert.equal("", ids_of { seq = 4, status = "complete", message = message, deleted = { "message" } })
  end)

  it("is what the user said, with pictures and files", function()
    local content = items.of_message("thread_x", { seq = 1, status = "complete", message = { role = "user", content = {
      { type = "text", text = "what?" }, { type = "image", data = "aGk=", media_type = "image/gif" },
      { type = "file", url = "https://example.com/a.pdf", name = "a.pdf" },
    } } })[1].item.content
    assert.same({
      { type = "input_text", text = "what?" }, { type = "input_image", image_url = "data:image/gif;base64,aGk=", detail = "auto" },
      { type = "input_file", filename = "a.pdf", file_url = "https://example.com/a.pdf" },
    }, content)
  end)

  it("is what a tool said", function()
    local result = { role = "tool", tool_call_id = "c1", content = "1" }
    local list = items.of_message("thread_x", { seq = 2, status = "complete", message = result })
    assert.same({ { part = "message", item = {
      type = "function_call_output", id = "fco_x_2_2", call_id = "c1", output = "1", status = "completed",
    } } }, list)
  end)

  it("is a refusal, or the part of an answer that was cut", function()
    local refused = items.of_message("thread_x", { seq = 1, status = "complete", message = { role = "assistant", refusal = "no" } })
    assert.same({ { type = "refusal", refusal = "no" } }, refused[1].item.content)
    local cut = items.of_message("thread_x", { seq = 1, status = "partial", message = { role = "assistant", content = "a" } })
    assert.equal("incomplete", cut[1].item.status)
  end)
end)
