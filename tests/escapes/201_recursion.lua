-- expect: script-error detail~"main.lua:4: stack overflow"
-- Beside its memory (64 MiB here) Lua bounds the stack itself: the traceback in the log is cut.
local function deep(a, b, c, d, e, f, g, h)
  return 1 + deep(a, b, c, d, e, f, g, h)
end
return deep()
