-- Owns: `schedule`, when scripts run by themselves. The trusted side keeps them and knows what is due; here a script's
-- words become strings.
local modules = ...
local fault, json, remote = modules.fault, modules.json, modules.remote

local ipairs, rawget, tostring, unpack = ipairs, rawget, tostring, table.unpack
local invoke, options_argument, raise, text_argument = remote.invoke, fault.options_argument, fault.raise, fault.text_argument

-- The options of schedule.set, in the order in which they cross: texts, then whole numbers.
local TEXTS, NUMBERS = { "script", "cron", "every", "at", "timezone", "overlap", "missed" }, { "missed_within_s", "jitter_s" }
local OF_SET = { payload = true }
for _, names in ipairs{ TEXTS, NUMBERS } do
  for _, name in ipairs(names) do
    OF_SET[name] = true
  end
end

-- '' if it is left out.
local function text_of(options, name)
  local value = rawget(options, name)
  if value == nil then
    return ""
  end
  local text = text_argument(value, "schedule.set: " .. name)
  return text ~= "" and text or raise("schedule.set: " .. name .. " must not be empty")
end

local function payload_of(options)
  local payload = rawget(options, "payload")
  local text, reason = json.encode(payload)
  return text or raise("schedule.set: payload: " .. reason)
end

local function own()
  local found = { invoke("schedule.list") }
  for at, text in ipairs(found) do
    local it, reason = json.decode(text)
    found[at] = it or raise("schedule: what is there cannot be read: " .. reason)
  end
  return json.array(found)
end

local public = {}

-- schedule.set(name, {cron = | every =, at = , timezone = , payload = , overlap = , missed = , missed_within_s = ,
-- jitter_s = , script = }) → when it is due next, as text; nil if never
function public.set(name, options)
  name, options = text_argument(name, "schedule.set"), options_argument(options, OF_SET, "schedule.set")
  local fields = { payload_of(options) }
  for _, option in ipairs(TEXTS) do
    fields[#fields + 1] = text_of(options, option)
  end
  for _, option in ipairs(NUMBERS) do
    local value = rawget(options, option)
    fields[#fields + 1] = value == nil and "" or tostring(fault.integer_argument(value, "schedule.set: " .. option))
  end
  local due = invoke("schedule.set", name, unpack(fields))
  return due
end

-- schedule.remove(name) → whether it was there
function public.remove(name)
  return invoke("schedule.remove", text_argument(name, "schedule.remove")) == "1"
end

-- schedule.list() → a list of those that this script set, by name: their options, with `name` and `next_due`
function public.list()
  return own()
end

-- schedule.get(name) → one of them; nil if there is none
function public.get(name)
  name = text_argument(name, "schedule.get")
  for _, it in ipairs(own()) do
    if it.name == name then
      return it
    end
  end
  return nil
end

return { public = public }
