std = "lua54"
max_line_length = 140
max_comment_line_length = 200 -- a LuaCATS type cannot be wrapped
cache = false
exclude_files = { "tests/fixtures" }
files["tests"] = { std = "+busted" }
files["scripts/*_spec.lua"] = { std = "+busted" }
-- References for editors: declarations without bodies.
files["lua/perilune/meta"] = { ignore = { "211", "212", "241" } }
