-- expect: script-error detail~"main.lua"
local function deep(n)
  local _ <close> = setmetatable({}, { __close = function(_, reason) error("again " .. #tostring(reason)) end })
  if n > 0 then deep(n - 1) end
  error("first")
end
deep(150)
