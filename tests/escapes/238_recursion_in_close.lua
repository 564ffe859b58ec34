-- expect: 200 body="contained"
local function deep(n)
  local _ <close> = setmetatable({}, { __close = function() deep(n + 1) end })
end
local done, reason = pcall(deep, 0)
return not done and tostring(reason):find("overflow", 1, true) and "contained" or tostring(reason)
