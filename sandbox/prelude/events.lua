-- Owns: `events`, what the script tells others of. The work is the trusted side's; here data becomes JSON.
local modules = ...
local fault, json, remote = modules.fault, modules.json, modules.remote

local rawget = rawget
local invoke, options_argument, raise, text_argument = remote.invoke, fault.options_argument, fault.raise, fault.text_argument

local OPTIONS = { subject = true, id = true, source = true, time = true }

-- Text that is not empty; '' if it is left out.
local function optional(options, name)
  local value = rawget(options, name)
  if value == nil then
    return ""
  end
  local text = text_argument(value, "events.publish: " .. name)
  if text == "" then
    raise("events.publish: " .. name .. " must not be empty")
  end
  return text
end

local public = {}

-- events.publish(type, data, {subject = , id = , source = , time = }) → its id; data is whatever is JSON, or nil
function public.publish(kind, data, options)
  kind, options = text_argument(kind, "events.publish: type"), options_argument(options, OPTIONS, "events.publish")
  local text = ""
  if data ~= nil then
    local encoded, reason = json.encode(data)
    text = encoded or raise("events.publish: data: " .. reason)
  end
  local id = invoke(
    "events.publish",
    kind,
    text,
    optional(options, "subject"),
    optional(options, "id"),
    optional(options, "source"),
    optional(options, "time")
  )
  return id
end

return { public = public }
