-- Owns: `jobs`, work that is done later. The trusted side stores it; here a script's words become strings.
local modules = ...
local fault, json, remote = modules.fault, modules.json, modules.remote

local sub, tointeger = string.sub, math.tointeger
local error, pcall, rawget, tostring, type = error, pcall, rawget, tostring, type
local invoke, options_argument, raise, text_argument = remote.invoke, fault.options_argument, fault.raise, fault.text_argument
local parse, OUT_OF_MEMORY = modules.time.public.parse, modules.host.OUT_OF_MEMORY

local DELAY_S_MAX = 366 * 24 * 60 * 60
local MOMENT_MAX = 1 << 38 -- seconds: beyond the year 9999
local SHOWN_BYTES = 64
local OF_SEND = { delay_s = true, at = true, key = true, max_attempts = true, priority = true, ordering_key = true }

-- A payload as the job's body; nil is null.
local function payload_text(payload, caller)
  if payload == nil then
    return "null"
  end
  local text, reason = json.encode(payload)
  return text or raise(caller .. ": the payload: " .. reason)
end

-- Seconds, a fraction too, as milliseconds; '' if it is left out.
local function delay_text(delay_s)
  if delay_s == nil then
    return ""
  elseif type(delay_s) ~= "number" or not (delay_s >= 0 and delay_s <= DELAY_S_MAX) then
    raise("jobs.send: delay_s must be a number of seconds from 0 to " .. DELAY_S_MAX)
  end
  return tostring(tointeger(delay_s * 1000 // 1))
end

-- A moment as milliseconds since 1970; '' if it is left out.
local function moment_text(at)
  local seconds = at
  if at == nil then
    return ""
  elseif type(at) == "string" then
    local done, found = pcall(parse, at)
    if found == OUT_OF_MEMORY then
      error(found, 0)
    end
    seconds = done and found
  end
  if type(seconds) ~= "number" or not (seconds > -MOMENT_MAX and seconds < MOMENT_MAX) then
    local shown = type(at) == "string" and "'" .. sub(at, 1, SHOWN_BYTES) .. "'" or type(at) == "number" and tostring(at)
    raise("jobs.send: at must be a time as 2026-01-31T12:00:00Z, or seconds since 1970, not " .. (shown or "a " .. type(at)))
  end
  return tostring(tointeger(seconds * 1000 // 1))
end

local function whole(value, name)
  return value == nil and "" or tostring(fault.integer_argument(value, "jobs.send: " .. name))
end

local function key_text(value, name)
  if value == nil then
    return ""
  end
  local text = text_argument(value, "jobs.send: " .. name)
  return text ~= "" and text or raise("jobs.send: " .. name .. " must not be empty")
end

local public = {}

-- jobs.send(name, payload, {delay_s = , at = , key = , max_attempts = , priority = , ordering_key = }) → id, whether it
-- was made now: of a script's jobs, one is kept with a key
function public.send(name, payload, options)
  name, options = text_argument(name, "jobs.send"), options_argument(options, OF_SEND, "jobs.send")
  local delay_s, at = rawget(options, "delay_s"), rawget(options, "at")
  if delay_s ~= nil and at ~= nil then
    raise("jobs.send: delay_s and at are two ways to say when: give one of them")
  end
  local id, created = invoke(
    "jobs.send",
    name,
    payload_text(payload, "jobs.send"),
    delay_text(delay_s),
    moment_text(at),
    key_text(rawget(options, "key"), "key"),
    whole(rawget(options, "max_attempts"), "max_attempts"),
    whole(rawget(options, "priority"), "priority"),
    key_text(rawget(options, "ordering_key"), "ordering_key")
  )
  return id, created == "1"
end

-- jobs.cancel(id) → whether it was waiting, and now never runs
function public.cancel(id)
  return invoke("jobs.cancel", text_argument(id, "jobs.cancel")) == "1"
end

return { payload_text = payload_text, public = public }
