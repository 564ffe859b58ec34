-- expect: 200 body="contained"
-- files: "a.lua"="return 'a'" "b/c.lua"="return 'c'"
assert(require "a" == "a" and require "b.c" == "c" and require "b/c" == "c")
for _, name in ipairs{ "a.lua", "./a", "b..c", "b//c", ".a", "b.", "/a", "b/../a", "b.c.", "a\0" } do
  assert(not pcall(require, name), name)
end
return "contained"
