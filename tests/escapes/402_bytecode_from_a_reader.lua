-- expect: 200 body="contained"
local function reader(...)
  local pieces, at = { ... }, 0
  return function() at = at + 1 return pieces[at] end
end
for _, mode in ipairs{ "b", "bt", "t" } do
  assert(not load(reader("\27", "Lua", "\x54\0"), "=x", mode))
  assert(not load(reader("\27Lua\x54\0\25\147\r\n\26\n"), "=x", mode))
end
assert(not load(reader("\27Lua")))
return "contained"
