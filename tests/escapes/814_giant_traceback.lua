-- expect: script-error log~"stack traceback"
local name = ("n"):rep(60)
local source = "local function " .. name .. "(n) if n == 0 then error('deep') end return (" .. name .. "(n - 1)) end return " .. name
load(source, "=" .. ("c"):rep(1000))()(1000)
