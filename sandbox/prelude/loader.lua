-- Owns: the order in which the prelude comes to be, and what is left of Lua's own globals afterwards: nothing.
local modules = { raw_host = ... }
local collectgarbage, error, load, next, package, real = collectgarbage, error, load, next, package, _G

-- Run one file of the prelude; it is given the table of those before it.
local function add(name, text)
  local chunk, reason = load(text, "=prelude/" .. name, "t")
  if not chunk then
    error(reason, 0)
  end
  modules[name] = chunk(modules)
end

-- What the prelude needs it holds in locals. The real globals go, so that no mistake can hand them out; Lua's
-- tracebacks look for function names in package.loaded, where they find the script's own.
local function seal()
  local env = modules.environment.env
  for name in next, package.loaded do
    package.loaded[name] = nil
  end
  for name, value in next, env do
    package.loaded[name] = value
  end
  for name in next, real do
    real[name] = nil
  end
  -- A collection under a high pause lets a child make 2 MB of garbage before its first own one, which would touch, and
  -- so copy, every page of the prelude. The pause itself goes back to normal: later collections come as usual.
  collectgarbage()
  collectgarbage("setpause", 1000)
  collectgarbage()
  collectgarbage("setpause", 200)
end

-- The functions that Python calls.
local function exports()
  local main = modules.main
  return main.check, main.set_files, main.set_env, main.run, main.warm_up
end

return add, seal, exports
