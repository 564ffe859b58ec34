-- expect: 200 body="contained"
-- Wherever C's stack ends, a host call either works or raises a string; a Python object never comes up.
local bad, refused
local function try(f, ...)
  local done, answer = pcall(f, ...)
  if type(answer) ~= "string" and answer ~= nil then bad = type(answer) end
  refused = refused or not done and answer
end
local function all()
  try(crypto.random_bytes, 8)
  try(crypto.hmac_sha256, "x", "y")
  try(log.debug, "x")
  try(time.now)
  if bad == "number" then bad = nil end -- that was the time
end
local function protected() all() return pcall(protected) end
local function wrapped() all() return coroutine.wrap(wrapped)() end
local function replaced() all() return (("x"):gsub(".", replaced)) end
protected() pcall(wrapped) pcall(replaced)
return not bad and tostring(refused):find("overflow", 1, true) and "contained" or tostring(bad or refused)
