-- expect: 200 body="contained"
-- The words of an error misread what had called a closing function.
local nothing
local function closing() return setmetatable({}, { __close = function() nothing() end }) end
local function check(f)
  local done, reason = pcall(f)
  assert(not done and type(reason) == "string", reason)
end
check(function() for _ in nothing, nil, nil, closing() do end end)
check(function() for _ in next, {}, nil, closing() do end end)
check(function() local x <close> = closing() return nothing.x end)
check(function() local x <close> = closing() return 1 end)
local co = coroutine.create(function() local x <close> = closing() coroutine.yield() end)
coroutine.resume(co)
assert(not coroutine.close(co))
return "contained"
