-- expect: 200 body="contained"
-- binding: probe
-- What crosses is a string; each other value is refused at the script's line, and says so without an address.
local cycle = {}
cycle[1] = cycle
local values = {
  {}, cycle, print, function() end, coroutine.create(print), 1, 0.5, 0 / 0, 1 / 0, true, false, json.null, json.array{},
  setmetatable({}, { __len = function() return 5 end, __tostring = function() return "x" end, __name = "string" }),
}
for i = 1, #values do
  local done, reason = pcall(probe, "probe.echo", "first", values[i], "last")
  if done or not reason:find("^main.lua:%d+: probe.echo: a host call carries strings, not %a+$") then return tostring(reason) end
end
local done, reason = pcall(probe, "probe.echo", nil)
if done or not reason:find("not nil", 1, true) then return tostring(reason) end
return probe("probe.echo", "contained")
