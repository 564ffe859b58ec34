-- expect: script-error detail~"stack overflow" log~"stack traceback"
local a, b
function a(...) return b(...) + 1 end
function b(...) return a(..., 1) + 1 end
return function() return a(1, 2, 3) end
