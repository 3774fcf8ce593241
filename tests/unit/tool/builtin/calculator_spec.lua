local arithmetic = require "perilune.tool.builtin.arithmetic"
local calculator = require "perilune.tool.builtin.calculator"
local tool = require "perilune.tool"


local function result_of(expression)
  local value, result = arithmetic.evaluate(expression)
  assert.is_truthy(value, expression .. ": " .. tostring(result))
  return result
end


local function problem_of(expression)
  local value, problem = arithmetic.evaluate(expression)
  assert.is_nil(value, expression)
  return problem
end


-- A generator of random numbers of its own, so that a failure can be repeated.
local function new_random(seed)
  return function(most)
    seed = (seed * 6364136223846793005 + 1442695040888963407)
    return (seed >> 33) % most + 1
  end
end


local operators = { "+", "-", "*", "/", "//", "%", "^" }


-- A random expression that is also Lua's; `point` is put behind its numbers.
local function random_expression(random, depth, point)
  local kind = depth == 0 and 1 or random(6)
  if kind <= 1 then
    return (random(12) - 1) .. point
  elseif kind == 2 then
    return "-" .. random_expression(random, depth - 1, point)
  elseif kind == 3 then
    return "(" .. random_expression(random, depth - 1, point) .. ")"
  end
  local operator = operators[random(#operators)]
  local left, right = random_expression(random, depth - 1, point), random_expression(random, depth - 1, point)
  return left .. " " .. operator .. " " .. right
end


-- "--" begins a comment in Lua.
local function in_lua(expression)
  return (expression:gsub("%-%-", "- -"):gsub("%-%-", "- -"))
end


-- Lua's own answer, or nil where it has none.
local function lua_value(expression)
  local ok, value = pcall(assert(load("return " .. in_lua(expression))))
  return ok and value == value and math.abs(value) ~= math.huge and value or nil
end


describe("arithmetic", function()
  it("follows the rules of precedence", function()
    for expression, expected in pairs {
      ["1 + 2 * 3"] = "7", ["(1 + 2) * 3"] = "9", ["2 ^ 3 ^ 2"] = "512", ["-2 ^ 2"] = "-4", ["(-2) ^ 2"] = "4", ["2 ^ -1"] = "0.5",
      ["10 - 2 - 3"] = "5", ["7 // 2"] = "3", ["-7 // 2"] = "-4", ["-7 % 3"] = "2", ["2 ** 10"] = "1024", ["--3"] = "3",
      ["+3 - -3"] = "6", ["8 / 2 / 2"] = "2", ["2*-3"] = "-6", [" \t\n1+1 "] = "2", ["2 * 3 % 4"] = "2",
    } do
      assert.equal(expected, result_of(expression), expression)
    end
  end)

  it("keeps integers exact, and says when 64 bits do not hold them", function()
    for expression, expected in pairs {
      ["9007199254740993 + 0"] = "9007199254740993", ["3037000499 * 3037000499"] = "9223372030926249001",
      ["9223372036854775806 + 1"] = "9223372036854775807", ["2 ^ 62"] = "4611686018427387904", ["6 / 3"] = "2",
      ["9007199254740993 / 3"] = "3002399751580331", ["1000000007 ^ 2"] = "1000000014000000049",
      ["9223372036854775807 + 1"] = "about 9.22337203685478e+18", ["2 ^ 64"] = "about 1.84467440737096e+19",
      ["-9223372036854775807 - 2"] = "about -9.22337203685478e+18", ["9223372036854775808"] = "about 9.22337203685478e+18",
      ["(0 - 9223372036854775807 - 1) // -1"] = "about 9.22337203685478e+18",
      ["-(0 - 9223372036854775807 - 1)"] = "about 9.22337203685478e+18",
      ["abs(0 - 9223372036854775807 - 1)"] = "about 9.22337203685478e+18",
      ["(0 - 9223372036854775807 - 1) * -1"] = "about 9.22337203685478e+18",
      ["1 ^ 9223372036854775807"] = "1", ["(-1) ^ 9223372036854775807"] = "-1", ["0 ^ 0"] = "1",
    } do
      assert.equal(expected, result_of(expression), expression)
    end
  end)

  it("writes fractions as a calculator does", function()
    for expression, expected in pairs {
      ["0.1 + 0.2"] = "0.3", ["1 / 3"] = "0.333333333333333", ["1.50 * 2"] = "3", [".5 + 5."] = "5.5", ["1e3"] = "1000",
      ["2.5E-3"] = "0.0025", ["1e300 * 10"] = "1e+301", ["7.0 // 2"] = "3", ["-0.0"] = "0",
    } do
      assert.equal(expected, result_of(expression), expression)
    end
  end)

  it("knows functions and constants, whatever their case", function()
    for expression, expected in pairs {
      ["sqrt(16)"] = "4", ["sqrt(2)"] = "1.4142135623731", ["abs(-3)"] = "3", ["min(3, 1, 2)"] = "1", ["MAX(3, 1, 2)"] = "3",
      ["round(2.5)"] = "3", ["round(-2.5)"] = "-3", ["round(0.49999999999999994)"] = "0", ["round(3.14159, 2)"] = "3.14",
      ["round(1234, -2)"] = "1200", ["round(7, 3)"] = "7", ["floor(-1.5)"] = "-2", ["ceil(1.2)"] = "2", ["log(8, 2)"] = "3",
      ["log10(1000)"] = "3", ["log2(1024)"] = "10", ["ln(e)"] = "1", ["exp(0)"] = "1", ["sin(0)"] = "0", ["cos(Pi)"] = "-1",
      ["tan(0)"] = "0", ["asin(1) * 2 - pi"] = "0", ["acos(1)"] = "0", ["atan(1, 1) * 4 - pi"] = "0", ["2 * sqrt (9) ^ 2"] = "18",
    } do
      assert.equal(expected == "1.4142135623731" and ("%.15g"):format(2 ^ 0.5) or expected, result_of(expression), expression)
    end
  end)

  it("reads what people write", function()
    assert.equal("12", result_of "3 × 4")
    assert.equal("2", result_of "8 ÷ 4")
    assert.equal("-1", result_of "2 − 3")
    assert.equal("6", result_of "2·3")
    assert.equal("0", result_of "π - pi")
  end)

  it("says what is wrong and where", function()
    for expression, expected in pairs {
      [""] = "a number is missing at position 1", ["   "] = "a number is missing at position 4",
      ["1 +"] = "a number is missing at position 4", ["1 2"] = "unexpected '2' at position 3",
      ["(1 + 2"] = "the bracket of position 1 is not closed at position 7", ["1)"] = "unexpected ')' at position 2",
      ["1 / 0"] = "division by zero at position 3", ["1 // 0"] = "division by zero at position 3",
      ["5 % (2 - 2)"] = "division by zero at position 3", ["0 ^ -1"] = "division by zero at position 3",
      ["1.0 / 0.0"] = "division by zero at position 5", ["sqrt(-1)"] = "no real number is the result at position 1",
      ["(-8) ^ 0.5"] = "no real number is the result at position 6", ["10.0 ^ 400"] = "the result is too large at position 6",
      ["1e999"] = "the result is too large at position 1", ["sqr(2)"] = "unknown name 'sqr', did you mean 'sqrt'? at position 1",
      ["1 + x"] = "unknown name 'x' at position 5", ["sqrt 2"] = "sqrt needs arguments in brackets at position 6",
      ["sqrt()"] = "sqrt needs an argument at position 1", ["sqrt(1, 2)"] = "sqrt takes no more than 1 at position 8",
      ["max(1, 2"] = "the ')' of max is missing at position 9",
      ["1,000"] = "unexpected ',' (numbers are written without separators) at position 2",
      ["2pi"] = "this is no number at position 1", ["1.2.3"] = "this is no number at position 1",
      ["0x10"] = "this is no number at position 1",
      ["3 × × 4"] = "a number is missing at position 5", ["1 = 1"] = "unexpected '=' at position 3",
      ["€ 5"] = "a number is missing at position 1",
      ["5 €"] = "unexpected '€' at position 3", ["round(1.5, 99)"] = "digits are a whole number from -15 to 15 at position 1",
      ["os.exit()"] = "unknown name 'os', did you mean 'cos'? at position 1", ["1 \0 2"] = "unexpected '\0' at position 3",
    } do
      assert.equal(expected, problem_of(expression))
    end
  end)

  it("has an end, however long or deep the expression is", function()
    assert.equal("the expression is longer than 2000 bytes", problem_of(("1+"):rep(1000) .. "1"))
    assert.equal("1000", result_of(("1+"):rep(999) .. "1"))
    for _, one in ipairs { ("("):rep(900), ("-"):rep(900) .. "1", ("2^"):rep(900) .. "2", ("abs("):rep(400) } do
      assert.is_truthy(problem_of(one):find("nested too deeply", 1, true))
    end
    assert.equal("1", result_of(("("):rep(99) .. "1" .. (")"):rep(99)))
  end)

  it("agrees with Lua on 20,000 random expressions", function()
    local compared, refused = 0, 0
    for seed = 1, 20000 do
      local expression = random_expression(new_random(seed), 4, "")
      local as_floats = lua_value(random_expression(new_random(seed), 4, ".0"))
      local value, problem = arithmetic.evaluate(expression)
      if not as_floats then
        refused = refused + (value and 0 or 1)
        assert.is_nil(value, expression)
      elseif math.abs(as_floats) < 2 ^ 53 and value then
        -- Lua's integers wrap, so its floats are the measure; where a part of it is large, both are rounded.
        local difference = math.abs(value - as_floats)
        if math.abs(lua_value(expression) or 0) < 2 ^ 53 and lua_value(expression) == as_floats then
          assert.is_true(difference <= 1e-9 * math.max(1, math.abs(as_floats)), ("%s: %s, not %s"):format(expression, value, as_floats))
          compared = compared + 1
        end
      elseif not value then
        assert.is_truthy(problem:find("too large", 1, true) or problem:find("division by zero", 1, true)
          or problem:find("no real number", 1, true), expression .. ": " .. problem)
      end
    end
    assert.is_true(compared > 10000, compared .. " compared")
    assert.is_true(refused > 1000, refused .. " refused")
  end)

  it("survives any text", function()
    local random = new_random(7)
    local alphabet = "0123456789.eE+-*/%^(),  sqrtmaxpi\0\255×"
    for _ = 1, 20000 do
      local bytes = {}
      for i = 1, random(20) do
        local at = random(#alphabet)
        bytes[i] = alphabet:sub(at, at)
      end
      local value, result = arithmetic.evaluate(table.concat(bytes))
      assert.is_true((value == nil or math.type(value) ~= nil) and type(result) == "string")
    end
  end)
end)


describe("perilune.tools.calculator", function()
  it("answers and refuses as a tool", function()
    local tested = calculator.new()
    assert.equal("42", tool.call(tested, '{"expression":"6 * 7"}', {}).content)
    local result = tool.call(tested, '{"expression":"6 *"}', {})
    assert.is_true(result.is_error)
    assert.equal("Error: tool 'calculator': a number is missing at position 4", result.content)
    assert.is_true(tested.idempotent)
  end)

  it("reports wrong options where the tool is made", function()
    local function misuse(options)
      local ok, err = pcall(function() return (calculator.new(options)) end)
      assert.is_false(ok)
      assert.is_truthy(err.where and err.where:find("calculator_spec.lua", 1, true), tostring(err.where))
      return err.message
    end
    assert.equal("perilune.tools.calculator: unknown option 'naem', did you mean 'name'?", misuse { naem = "x" })
    assert.equal("perilune.tools.calculator: option 'timeout' must be more than 0, got 0", misuse { timeout = 0 })
    assert.is_truthy(misuse({ approval = "allways" }):find("did you mean 'always'?", 1, true))
    assert.is_truthy(misuse({ name = "a b" }):find("a name has 1 to 64", 1, true))
  end)
end)
