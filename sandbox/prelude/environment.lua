-- Owns: the globals of scripts. Everything a script can name is listed here; what is missing is missing on purpose:
-- debug, io, package, dofile, loadfile, collectgarbage, warn, string.dump, __gc, the real _G.
local modules = ...
local fault, host, log, time = modules.fault, modules.host, modules.log, modules.time

local getmetatable, raw_setmetatable = debug.getmetatable, debug.setmetatable
local load, next, rawget, select, setmetatable, type = load, next, rawget, select, setmetatable, type
local guard, raise, text_of = fault.guard, fault.raise, fault.text_of

local env = {}
env._G = env
env._VERSION = _VERSION
for _, name in next, {
  "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawlen", "rawset",
  "select", "tonumber", "type", "xpcall",
} do
  env[name] = _G[name]
end

local function copy(from)
  local to = {}
  for name, value in next, from do
    to[name] = value
  end
  return to
end

env.coroutine, env.math, env.table, env.utf8 = copy(coroutine), copy(math), copy(table), copy(utf8)
env.os = time.os
env.string = copy(string)
env.string.dump = nil
env.string.format = fault.format_text

-- Methods of strings are the script's to extend; the prelude never calls one.
local strings = getmetatable("")
strings.__index = env.string
strings.__metatable = false

function env.tostring(...)
  if select("#", ...) == 0 then
    raise("bad argument #1 to 'tostring' (value expected)")
  end
  return text_of((...))
end

-- A finalizer would run at any allocation, also in the middle of a push from Python, where an error is fatal.
local checked_setmetatable = guard("setmetatable", setmetatable)
function env.setmetatable(...)
  local object, meta = ...
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    raise("__gc is not available in a sandbox")
  end
  local old = type(object) == "table" and getmetatable(object)
  if old == nil and type(meta) == "table" then
    return raw_setmetatable(object, meta)
  end
  return checked_setmetatable(...)
end

-- Text only: crafted bytecode can crash Lua.
local checked_load = guard("load", load)
function env.load(...)
  local chunk, name, mode, scope = ...
  if select("#", ...) < 4 then
    scope = env
  end
  if mode ~= nil and type(mode) == "string" and mode ~= "t" and mode ~= "bt" and mode ~= "tb" then
    return nil, "only text can be loaded: mode is '" .. mode .. "'"
  end
  return checked_load(chunk, name, "t", scope)
end

-- Without arguments Lua would seed from an address, and return it.
local randomseed = math.randomseed
local checked_seed = guard("randomseed", randomseed)
function env.math.randomseed(...)
  if select("#", ...) == 0 then
    randomseed(host.call("seed"), host.call("seed"))
  else
    checked_seed(...)
  end
end

for _, name in next, {
  "json", "url", "base64", "html", "time", "crypto", "template", "log", "kv", "events", "schedule", "secrets", "http",
  "invoke", "jobs",
} do
  env[name] = modules[name].public
end
env.print, env.stream = log.print, modules.stream.public

return { env = env, randomseed = randomseed }
