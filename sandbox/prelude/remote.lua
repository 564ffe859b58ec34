-- Owns: host calls: what only the trusted side can do, by name, with strings both ways; and how many a run may make.
local fault, host = (...).fault, (...).host

local select = select
local ask, raise = host.ask, fault.raise

local BYTES_MAX = 2 * 1024 * 1024 -- of a name and its arguments, as sandbox/protocol.py has it
local FIELD_BYTES = 4 -- what each costs beside its own length

local calls_max, calls_left = 0, 0

-- The limit of one run.
local function start(host_calls)
  calls_max, calls_left = host_calls, host_calls
end

local function delivered(kind, ...)
  if kind == "done" then
    return ...
  end
  raise((...)) -- in the trusted side's words
end

-- Strings in → strings out; what was refused is an error at the script's line.
local function invoke(name, ...)
  if calls_left == 0 then
    raise(name .. ": over the limit of " .. calls_max .. " host calls")
  end
  local bytes = #name + FIELD_BYTES
  for at = 1, select("#", ...) do
    bytes = bytes + #select(at, ...) + FIELD_BYTES
  end
  if bytes > BYTES_MAX then
    raise(name .. ": " .. bytes .. " bytes are more than a host call may carry (" .. BYTES_MAX .. ")")
  end
  calls_left = calls_left - 1
  return delivered(ask("remote", name, ...))
end

return { invoke = invoke, start = start }
