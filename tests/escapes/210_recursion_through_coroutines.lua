-- expect: script-error detail~"C stack overflow"
local function deep() return coroutine.wrap(deep)() end
return deep()
