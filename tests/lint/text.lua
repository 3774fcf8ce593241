-- What a source file looks like: no tabs, no white space at the end of a line, a last line that ends, a first comment in
-- every C file; and SQL only where it belongs.
local source = require "source"

local sql_files = { ["src/store/sqlite.c"] = true }

local sql_patterns = {
  "%f[%w]SELECT%s.*%sFROM%s", "%f[%w]INSERT%s+INTO%s", "%f[%w]UPDATE%s+[%w_]+%s+SET%s", "%f[%w]DELETE%s+FROM%s",
  "%f[%w]CREATE%s+TABLE%s", "%f[%w]CREATE%s+[%w ]*INDEX%s", "%f[%w]DROP%s+TABLE%s", "%f[%w]ALTER%s+TABLE%s",
  "%f[%w]PRAGMA%s+%w", "%f[%w]BEGIN%s+IMMEDIATE", "%f[%w]ROLLBACK%s+TO%s", "%f[%w]SAVEPOINT%s+%w",
}


local function check_lines(file, text)
  local line = 0
  for content in text:gmatch("([^\n]*)\n?") do
    line = line + 1
    if content:find("\t", 1, true) then
      source.report(file, line, "tab")
    end
    if content:find("%s$") then
      source.report(file, line, "white space at the end of the line")
    end
  end
  if text ~= "" and text:sub(-1) ~= "\n" then
    source.report(file, line, "the last line does not end")
  end
  if file:find("^src/.*%.c$") and text:sub(1, 2) ~= "/*" then
    source.report(file, 1, "a C file begins with a comment that says what it is")
  end
end


local function check_sql(file, text, language)
  local _, _, strings = source.cut(text, language)
  local line_of = source.line_counter(text)
  for _, literal in ipairs(strings) do
    local line = line_of(literal.at)
    for _, pattern in ipairs(sql_patterns) do
      if literal.text:find(pattern) then
        source.report(file, line, "SQL text belongs into db/")
        break
      end
    end
  end
end


for _, file in ipairs(source.files("src lua db tests scripts", "c", "h", "lua", "sql", "sh", "awk", "py")) do
  if not file:find("^tests/fixtures/") then
    local text = source.read(file)
    check_lines(file, text)
    local language = file:match("^src/.*%.([ch])$") and "c" or file:match("^lua/.*%.(lua)$")
    if language and not sql_files[file] then
      check_sql(file, text, language)
    end
  end
end

source.finish()
