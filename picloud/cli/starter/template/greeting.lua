-- A module of the bundle: `require "greeting"` gives what it returns.
local greeting = {}

---@param name string
---@return string
function greeting.of(name)
  return (env.GREETING or "hello") .. " " .. name
end

return greeting
