-- expect: script-error detail~"C stack overflow"
-- Lua up to 5.4.2 lost count of its C stack here (CVE-2021-43519 is of this family).
local function deep()
  pcall(1)
  return coroutine.wrap(deep)()
end
return deep()
