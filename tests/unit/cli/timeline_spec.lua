local has = require "tests.support.has"
local timeline = require "perilune.cli.timeline"

local T = 1700000000


-- A run of three steps: an answer after one failed attempt, a tool that fails, an answer.
local function sample()
  return {
    now = T + 60, thread = "trip",
    run = {
      id = "run_1", thread_id = "thread_1", status = "completed", assistant = "forecaster", model = "openai/gpt-4o-mini", crashes = 0,
      created_at = T, started_at = T, finished_at = T + 10, usage = { total_tokens = 42 }, cost_nano = 213000,
    },
    steps = {
      { seq = 1, kind = "model", status = "finished", name = "openai/gpt-4o-mini", started_at = T, finished_at = T + 5 },
      {
        seq = 2, kind = "tool", status = "finished", name = "get_weather", call_id = "call_1", input = "{}", started_at = T + 5,
        finished_at = T + 7.5, result = { is_error = true },
      },
      { seq = 3, kind = "model", status = "finished", name = "openai/gpt-4o-mini", started_at = T + 7.5, finished_at = T + 10 },
    },
    attempts = {
      {
        step_seq = 1, provider = "openai", model = "gpt-4o-mini", outcome = "rate_limit", status = 429, duration_ms = 312,
        error = { message = "slow\27[2J down" },
      },
      {
        step_seq = 1, provider = "groq", model = "llama", outcome = "ok", status = 200, duration_ms = 4100, prompt_tokens = 10,
        completion_tokens = 12, cost_nano = 113000,
      },
      {
        step_seq = 3, provider = "openai", model = "gpt-4o-mini", outcome = "ok", prompt_tokens = 15, completion_tokens = 5,
        cost_nano = 100000,
      },
    },
  }
end


local function draw(data, width, has_color)
  return table.concat(timeline.lines(data, { width = width or 100, has_color = has_color }), "\n")
end


local function lines_of(data, width)
  return timeline.lines(data, { width = width })
end


describe("the timeline of a run", function()
  it("has a line for each step, with its bar to scale, and the attempts that say more", function()
    assert.are.equal([[
run_1  completed
2023-11-14T22:13:20Z  thread trip  assistant forecaster  openai/gpt-4o-mini  10.00 s  42 tokens
cost $0.000213

# KIND  NAME               STATUS                                              TIME TOKENS      COST
1 model openai/gpt-4o-mini done   █████████████████████                      5.00 s     22 $0.000113
        ✗ openai/gpt-4o-mini 429 rate_limit, 312 ms: slow [2J down
        ✓ groq/llama 200 ok, 4.10 s
2 tool  get_weather        failed                      ███████████           2.50 s      -         -
3 model openai/gpt-4o-mini done                                  ███████████ 2.50 s     20 $0.000100
]], draw(sample()))
  end)

  it("fits every width, also a narrow one", function()
    for width = timeline.WIDTH_MIN, 200 do
      for _, line in ipairs(lines_of(sample(), width)) do
        assert.is_true(utf8.len(line) <= width, ("%d: %s"):format(width, line))
      end
    end
    local lines = lines_of(sample(), 60)
    assert.are.same({
      "# KIND  NAME                           TIME TOKENS      COST",
      "1 model openai/gpt-4o-… ✓ █████      5.00 s     22 $0.000113",
      "        ✗ openai/gpt-4o-mini 429 rate_limit, 312 ms: slow […",
    }, { table.unpack(lines, 5, 7) })
  end)

  it("has colours only when asked, and never control characters of others", function()
    assert.is_nil(draw(sample()):find("\27", 1, true))
    local colored = draw(sample(), 100, true)
    has(colored, "\27[32mcompleted\27[0m")
    has(colored, "\27[31m✗ openai/gpt-4o-mini")
    local data = sample()
    data.steps[2].name, data.thread, data.run.error = "a\27[2Jb\n", "\u{9b}2J", { kind = "tool", message = "x\rboom" }
    local drawn = draw(data)
    assert.is_nil(drawn:find("[\27\r]"))
    has(drawn, "error: tool: x boom")
  end)

  it("says what calls wait for, and how to decide", function()
    local data = sample()
    data.run.status, data.run.finished_at = "waiting_approval", nil
    data.steps[2] = {
      seq = 2, kind = "tool", status = "waiting", waits_for = "approval", name = "send_mail", call_id = "call_1", input = '{"to":"x"}',
      started_at = T + 5,
    }
    data.steps[3] = {
      seq = 3, kind = "tool", status = "waiting", waits_for = "output", name = "ask", call_id = "call_2", input = "{}", started_at = T + 5,
    }
    data.steps[4] = {
      seq = 4, kind = "tool", status = "waiting", waits_for = "outcome", name = "pay", call_id = "call_3", input = "{}", started_at = T + 5,
      decision = { kind = "reject", reason = "paid already" },
    }
    local drawn = draw(data)
    has(drawn, "2 tool  send_mail          waiting ")
    has(drawn, "        waits for approval\n        call_1 send_mail({\"to\":\"x\"})\n")
    has(drawn, "        waits for its output\n        call_2 ask({})\n")
    has(drawn, "4 tool  pay                decided ")
    has(drawn, "        rejected: paid already\n")
    has(drawn, "decide: perilune runs approve run_1 [CALL...]\n        perilune runs reject run_1 CALL [--reason TEXT]\n")
    has(drawn, "answer: perilune runs submit run_1 CALL OUTPUT")
    has(drawn, "55.00 s") -- still counting
  end)

  it("of a run that nobody drives says how to go on, and one that was asked to end says so", function()
    local data = sample()
    data.run.status, data.run.finished_at, data.steps[3].status, data.steps[3].finished_at = "running", nil, "started", nil
    data.is_left = true
    has(draw(data), "no process goes on with this: perilune runs resume run_1")
    has(draw(data), "3 model openai/gpt-4o-mini running")
    data.is_left, data.run.cancel_at = false, T + 1
    has(draw(data), "asked to end")
  end)

  it("ends with the error, and does not take an unknown price for 0", function()
    local data = sample()
    data.run.status, data.run.error, data.run.cost_nano = "failed", { kind = "rate_limit", code = "quota", message = "no more" }, nil
    data.steps[3].status, data.steps[3].finished_at = "unknown", nil
    data.attempts[3].outcome, data.attempts[3].cost_nano, data.attempts[2].cost_nano = "timeout", nil, nil
    local lines = lines_of(data, 100)
    assert.are.equal("error: quota: no more", lines[#lines])
    local drawn = draw(data)
    has(drawn, "cost unknown")
    assert.is_truthy(drawn:find("1 model [^\n]* 22 +unknown\n"), drawn)
    assert.is_truthy(drawn:find("3 model openai/gpt%-4o%-mini failed "), drawn)
  end)

  it("of a run without steps is its head", function()
    local data = sample()
    data.steps, data.attempts = {}, {}
    assert.are.equal(3, #lines_of(data, 100))
  end)

  it("writes durations in a few characters", function()
    for seconds, expected in pairs {
      [0] = "0 ms", [0.0004] = "0 ms", [0.999] = "999 ms", [0.9996] = "1.00 s", [59.99] = "59.99 s", [59.999] = "1m00s",
      [3599.4] = "59m59s", [3600] = "1h00m", [86399] = "23h59m", [200000] = "2d07h",
    } do
      assert.are.equal(expected, timeline.duration(seconds))
    end
  end)
end)
