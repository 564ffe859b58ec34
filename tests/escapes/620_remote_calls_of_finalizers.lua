-- expect: 200 body="contained"
-- binding: probe
-- A finalizer would run in the middle of an allocation: there are none, so a host call is never made there.
local calls = 0
local function ask() calls = calls + 1 probe("probe.echo", "x") end
assert(not pcall(setmetatable, {}, { __gc = ask }))
for i = 1, 20000 do
  local meta = {}
  local object = setmetatable({ ("x"):rep(100) .. i }, meta)
  meta.__gc = ask
end
for _ = 1, 20 do local _ = ("x"):rep(1000000) end
return calls == 0 and probe("probe.echo", "contained") or tostring(calls)
