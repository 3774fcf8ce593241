-- Arithmetic in writing: "2 * (3 + 4)^2". A language of its own, no Lua is loaded. Operators bind as in Lua: + - below * / // %
-- below the sign below ^ (also written **), which groups to the right. Integers stay integers as long as 64 bits hold them.
local text = require "perilune.std.text"

local M = {}

M.BYTES_MAX = 2000 -- of an expression
M.DEPTH_MAX = 100 -- brackets, signs and powers inside each other

-- What people and models write instead.
local spellings = { ["×"] = "*", ["·"] = "*", ["÷"] = "/", ["−"] = "-", ["π"] = "pi" }

local OVERFLOW = "needs more than 64 bits"


-- Operators: the result, or nil and why there is none. A second result with a number says that integers did not hold it.

local function is_integers(a, b)
  return math.type(a) == "integer" and math.type(b) == "integer"
end


local function add(a, b)
  local sum = a + b
  if is_integers(a, b) and (a ~ sum) & (b ~ sum) < 0 then
    return a + 0.0 + b, OVERFLOW
  end
  return sum
end


local function negate(a)
  if a == math.mininteger and math.type(a) == "integer" then
    return -(a + 0.0), OVERFLOW
  end
  return -a
end


local function subtract(a, b)
  local difference = a - b
  if is_integers(a, b) and (a ~ b) & (a ~ difference) < 0 then
    return a + 0.0 - b, OVERFLOW
  end
  return difference
end


local function multiply(a, b)
  local product = a * b
  if is_integers(a, b) and a ~= 0 and (product // a ~= b or product % a ~= 0 or (a == -1 and b == math.mininteger)) then
    return (a + 0.0) * b, OVERFLOW
  end
  return product
end


local function is_unholdable(a, b)
  return b == -1 and a == math.mininteger and is_integers(a, b)
end


local function divide(a, b)
  if b == 0 then
    return nil, "division by zero"
  elseif is_integers(a, b) and not is_unholdable(a, b) and a % b == 0 then
    return a // b
  end
  return a / b
end


local function divide_down(a, b)
  if b == 0 then
    return nil, "division by zero"
  elseif is_unholdable(a, b) then
    return -(a + 0.0), OVERFLOW
  end
  return a // b
end


local function remainder(a, b)
  if b == 0 then
    return nil, "division by zero"
  end
  return a % b
end


local function power(a, b)
  if a == 0 and b < 0 then
    return nil, "division by zero"
  elseif not is_integers(a, b) or b < 0 then
    return (a + 0.0) ^ b
  end
  local result, base, left = 1, a, b
  while left > 0 do
    local problem
    if left % 2 == 1 then
      result, problem = multiply(result, base)
    end
    left = left // 2
    if left > 0 and not problem then
      base, problem = multiply(base, base)
    end
    if problem then
      return (a + 0.0) ^ b, OVERFLOW
    end
  end
  return result
end


-- Functions

-- To the nearest, halves away from zero.
local function round_whole(x)
  local down = math.floor(math.abs(x))
  local whole = math.abs(x) - down >= 0.5 and down + 1 or down
  return x < 0 and -whole or whole
end


local function round(x, digits)
  if math.type(x) == "integer" and (not digits or digits >= 0) then
    return x
  elseif not digits or digits == 0 then
    return round_whole(x)
  elseif math.type(digits) ~= "integer" or math.abs(digits) > 15 then
    return nil, "digits are a whole number from -15 to 15"
  end
  local scale = 10.0 ^ math.abs(digits)
  return digits > 0 and round_whole(x * scale) / scale or round_whole(x / scale) * scale
end


local function absolute(x)
  if x < 0 then
    return negate(x)
  end
  return x
end


local constants = { pi = math.pi, e = math.exp(1) }

-- name -> { least arguments, most arguments, function }
local functions = {
  abs = { 1, 1, absolute }, sqrt = { 1, 1, math.sqrt }, exp = { 1, 1, math.exp }, ln = { 1, 1, math.log },
  log = { 1, 2, math.log }, log2 = { 1, 1, function(x) return math.log(x, 2) end },
  log10 = { 1, 1, function(x) return math.log(x, 10) end },
  floor = { 1, 1, math.floor }, ceil = { 1, 1, math.ceil }, round = { 1, 2, round },
  min = { 1, 100, math.min }, max = { 1, 100, math.max },
  sin = { 1, 1, math.sin }, cos = { 1, 1, math.cos }, tan = { 1, 1, math.tan },
  asin = { 1, 1, math.asin }, acos = { 1, 1, math.acos }, atan = { 1, 2, math.atan },
}

local names = {}
for _, known in ipairs { constants, functions } do
  for name in pairs(known) do
    names[#names + 1] = name
  end
end
table.sort(names)

M.names = names


-- Reading. Every method returns a number, or nothing once self.problem says what is wrong.

local reader = {}
local metatable = { __index = reader }


function reader:fail(message, position)
  self.problem = self.problem or ("%s at position %d"):format(message, position or self.position)
end


-- The next character that is not a space, or "" at the end.
function reader:peek()
  self.position = self.source:find("%S", self.position) or #self.source + 1
  return self.source:sub(self.position, self.position)
end


-- Takes the operator when it is next.
function reader:take(operator)
  self:peek()
  if self.source:sub(self.position, self.position + #operator - 1) == operator then
    self.position = self.position + #operator
    return true
  end
  return false
end


-- What an operator or a function made, checked.
function reader:made(position, value, note)
  if value == nil then
    return self:fail(note, position)
  elseif value ~= value then
    return self:fail("no real number is the result", position)
  elseif value == math.huge or value == -math.huge then
    return self:fail("the result is too large", position)
  end
  self.is_rounded = self.is_rounded or note ~= nil
  return value
end


function reader:number()
  local from = self.position
  local digits = self.source:match("^%d+%.?%d*", from) or self.source:match("^%.%d+", from)
  if not digits then
    return self:fail("a number is missing")
  end
  local exponent = self.source:match("^[eE][+-]?%d+", from + #digits) or ""
  self.position = from + #digits + #exponent
  if self.source:find("^[%w_.]", self.position) then
    return self:fail("this is no number", from)
  end
  local value = tonumber(digits .. exponent)
  local is_too_long = not (digits .. exponent):find("%D") and math.type(value) == "float"
  return self:made(from, value, is_too_long and OVERFLOW or nil)
end


function reader:arguments(name, most)
  local list = {}
  if self:take(")") then
    return list
  end
  repeat
    if #list == most then
      return self:fail(("%s takes no more than %d"):format(name, most))
    end
    list[#list + 1] = self:expression()
    if self.problem then
      return nil
    end
  until not self:take(",")
  if not self:take(")") then
    return self:fail(("the ')' of %s is missing"):format(name))
  end
  return list
end


function reader:name()
  local from = self.position
  local name = self.source:match("^[%a_][%w_]*", from)
  self.position = from + #name
  local known = functions[name:lower()]
  if constants[name:lower()] then
    return constants[name:lower()]
  elseif not known then
    local better = text.suggest(name:lower(), names)
    return self:fail(("unknown name '%s'%s"):format(name, better and (", did you mean '%s'?"):format(better) or ""), from)
  elseif not self:take("(") then
    return self:fail(("%s needs arguments in brackets"):format(name))
  end
  local list = self:arguments(name, known[2])
  if not list then
    return nil
  elseif #list < known[1] then
    return self:fail(name .. " needs an argument", from)
  end
  return self:made(from, known[3](table.unpack(list)))
end


function reader:atom()
  local next_character = self:peek()
  if self:take("(") then
    local opened = self.position - 1
    local value = self:expression()
    if value and not self:take(")") then
      return self:fail(("the bracket of position %d is not closed"):format(opened))
    end
    return value
  elseif next_character:find("[%a_]") then
    return self:name()
  end
  return self:number()
end


-- A sign, or a power: -2^2 is -4, 2^-1 is 0.5.
function reader:signed()
  self.depth = self.depth + 1
  if self.depth > M.DEPTH_MAX then
    return self:fail("nested too deeply")
  end
  local value
  self:peek()
  local from = self.position
  if self:take("-") then
    value = self:signed()
    value = value and self:made(from, negate(value))
  elseif self:take("+") then
    value = self:signed()
  else
    value = self:atom()
    self:peek()
    from = self.position
    if value and (self:take("^") or self:take("**")) then
      local exponent = self:signed()
      value = exponent and self:made(from, power(value, exponent))
    end
  end
  self.depth = self.depth - 1
  return value
end


-- Operators of one strength, from left to right; longer ones first.
function reader:chain(operand, operators)
  local value = operand(self)
  while value do
    self:peek()
    local from, operate = self.position, nil
    for _, operator in ipairs(operators) do
      if self:take(operator[1]) then
        operate = operator[2]
        break
      end
    end
    if not operate then
      return value
    end
    local right = operand(self)
    value = right and self:made(from, operate(value, right))
  end
end


local products = { { "//", divide_down }, { "*", multiply }, { "/", divide }, { "%", remainder } }
local sums = { { "+", add }, { "-", subtract } }


function reader:product()
  return self:chain(self.signed, products)
end


function reader:expression()
  return self:chain(self.product, sums)
end


local function format(value, is_rounded)
  if math.type(value) == "float" and value == math.floor(value) and math.abs(value) <= 2 ^ 53 then
    value = math.tointeger(value)
  end
  local digits = math.type(value) == "integer" and ("%d"):format(value) or ("%.15g"):format(value)
  return is_rounded and "about " .. digits or digits
end


---The value of an expression, and the same in writing: at most 15 digits after rounding, and "about" when integers did not
---hold it. Or nil and what is wrong, with its position in characters.
---@param expression string
---@return number?
---@return string text_or_problem
function M.evaluate(expression)
  if #expression > M.BYTES_MAX then
    return nil, ("the expression is longer than %d bytes"):format(M.BYTES_MAX)
  end
  local source = expression:gsub(utf8.charpattern, spellings)
  local self = setmetatable({ source = source, position = 1, depth = 0 }, metatable)
  local value = self:expression()
  if value and self:peek() ~= "" then
    local rest = self:peek()
    self:fail(rest == "," and "unexpected ',' (numbers are written without separators)" or ("unexpected '%s'"):format(
      self.source:match("^" .. utf8.charpattern, self.position) or rest))
  end
  if self.problem then
    return nil, self.problem
  end
  return value, format(value, self.is_rounded)
end


return M
