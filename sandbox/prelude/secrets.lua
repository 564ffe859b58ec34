-- Owns: `secrets`, values that the script's settings grant it by name. They come from the trusted side, one at a time.
local modules = ...
local invoke, text_argument = modules.remote.invoke, modules.fault.text_argument

local public = {}

-- secrets.get(name) → its value, or nil if there is no such secret
function public.get(name)
  local value = invoke("secrets.get", text_argument(name, "secrets.get: name"))
  return value
end

return { public = public }
