-- Owns: the one way out of Lua. `call` reaches Python; nothing else in the prelude, and nothing of a script's, can.
-- Only strings, numbers, booleans and nil cross. A Python object never gets past `call`, not even as an error value.
local modules = ...
local raw = modules.raw_host
modules.raw_host = nil

local error, pcall, type = error, pcall, type

local OUT_OF_MEMORY = "not enough memory" -- Lua's own words: a script that catches either kind sees the same

-- Ask Python to do OPERATION; its answer is a number, boolean or nil, so that pushing it allocates nothing.
local function call(operation, ...)
  local returned, done, value = pcall(raw, operation, ...)
  if returned and done then
    return value
  elseif not returned then
    pcall(raw, "limit") -- an answer may have been on its way, with the limit lifted
  elseif done == nil then
    error(OUT_OF_MEMORY, 0)
  end
  if type(done) == "string" then
    error(done, 0) -- Lua's own words, where its stack is full
  end
  -- `done` may be a Python exception: it must not go up
  error("the sandbox could not do this: " .. operation, 0)
end

-- The same for an answer that is a string. lupa pushes it outside any protected call, so at the memory limit
-- the push would abort the process: Python lifts the limit before it answers, and the second call sets it again.
-- One string, never more: between the two nothing may fail, and many would need stack that there may not be.
local function ask(operation, ...)
  local value = call(operation, ...)
  call("limit")
  return value
end

return { call = call, ask = ask, OUT_OF_MEMORY = OUT_OF_MEMORY }
