-- expect: 200 body="contained"
-- Nothing of what is no job is one, however it is spelled.
local function refused(...)
  local done, reason = pcall(jobs.send, ...)
  assert(not done and type(reason) == "string", tostring(reason))
end
local trap = setmetatable({}, { __index = error, __pairs = error, __len = error, __tostring = error })
for _, name in ipairs{
  "", "..", "../escape", "ESCAPE", "escape\0", "escape ", "e'; DROP TABLE jobs; --", ("e"):rep(1000), "\xff", "-", "_", trap, {}, print,
} do
  refused(name)
end
for _, at in ipairs{
  0 / 0, 1 / 0, -1 / 0, 1e308, math.maxinteger, math.mininteger, "", "now", "9999-12-31T23:59:59Z", "2026-13-01T00:00:00Z",
  ("9"):rep(100000), "\0", trap, {}, true, print,
} do
  refused("escape", 1, { at = at })
end
for _, delay_s in ipairs{ -1, -0.001, 0 / 0, 1 / 0, 1e308, 366 * 86400 + 1, "1", trap, true } do
  refused("escape", 1, { delay_s = delay_s })
end
for _, whole in ipairs{ 1.5, 0 / 0, 1 / 0, 1e308, math.maxinteger, math.mininteger, 1000, "x", trap, false } do
  refused("escape", 1, { priority = whole })
  refused("escape", 1, { max_attempts = whole })
end
for _, key in ipairs{ "", "\0", "a\0b", "\xff", ("k"):rep(513), trap, {}, true } do
  refused("escape", 1, { key = key })
  refused("escape", 1, { ordering_key = key })
end
for _, payload in ipairs{ print, 0 / 0, { [trap] = 1 }, "\xff", coroutine.create(print) } do
  refused("escape", payload)
  assert(not pcall(after, "escape", payload))
end
for _, options in ipairs{ 1, "x", true, print, { trigger = "event" }, { event = {} }, { [1] = 1 } } do
  refused("escape", 1, options)
end
for _, id in ipairs{ "", "x", ("0"):rep(36), "' OR 1=1 --", ("f"):rep(100000), "\0", 1, trap } do
  assert(not pcall(jobs.cancel, id))
end
error{ status = 200, body = "contained" } -- and what slipped through is undone
