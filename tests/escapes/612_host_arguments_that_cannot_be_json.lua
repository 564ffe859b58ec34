-- expect: 200 body="contained"
-- binding: probe
-- As bindings encode what they are given: cycles, NaN, functions, holes, keys that are none.
local cycle = { a = {} }
cycle.a.b = cycle
local deep = {}
for _ = 1, 100000 do deep = { deep } end
local values = {
  cycle, deep, 0 / 0, 1 / 0, -1 / 0, print, coroutine.create(print), "\xff", { "\xff" }, { [1] = 1, [3] = 3 },
  { 1, 2, a = 3 }, { [{}] = 1 }, { [0.5] = 1 }, { [true] = 1 }, { x = function() end }, { [1 << 62] = 1 },
}
for i = 1, #values do
  local done, reason = pcall(probe_json, "probe.echo", values[i])
  if done or type(reason) ~= "string" then return i .. " " .. tostring(reason) end
end
return probe_json("probe.echo", { "contained" })[1]
