-- expect: 200 body="contained"
-- `after` names a function of the script's own, never one of the platform's; whatever the name is.
for name, value in pairs(_G) do
  if type(value) == "function" then
    local done, reason = pcall(after, name)
    assert(not done and reason:find("neither a script", 1, true), tostring(reason))
  end
end
for _, name in ipairs{ "_G", "kv", "string.rep", "request", "_G.print", "", "\0", "\xff", ("f"):rep(100000) } do
  assert(not pcall(after, name))
end
setmetatable(_G, { __index = function() error("asked") end, __newindex = error })
assert(not pcall(after, "nothing"))
error{ status = 200, body = "contained" }
