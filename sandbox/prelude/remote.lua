-- Owns: host calls: what only the trusted side can do, by name, with strings both ways; and how many a run may make.
local fault, host = (...).fault, (...).host

local select, type = select, type
local unpack = table.unpack
local ask, call, raise = host.ask, host.call, fault.raise

local BYTES_MAX = 2 * 1024 * 1024 -- of a name and its arguments, as sandbox/protocol.py has it
local FIELD_BYTES = 4 -- what each costs beside its own length
local ARGUMENTS_MAX = 10000 -- as sandbox/protocol.py has it

local calls_max, calls_left = 0, 0

-- The limit of one run.
local function start(host_calls)
  calls_max, calls_left = host_calls, host_calls
end

-- COUNT values of the reply that Python holds, or, if it is negative, why there are none.
local function delivered(count)
  if count == 1 then
    return ask("reply")
  elseif count < 0 then
    raise(ask("reply")) -- in the trusted side's words
  end
  local values = {}
  for at = 1, count do
    values[at] = ask("reply")
  end
  return unpack(values, 1, count)
end

-- Strings in → strings out; what was refused is an error at the script's line.
local function invoke(name, ...)
  if calls_left == 0 then
    raise(name .. ": over the limit of " .. calls_max .. " host calls")
  end
  local bytes = #name + FIELD_BYTES
  local count, arguments = select("#", ...), { ... } -- `select` in a loop would be quadratic
  if count > ARGUMENTS_MAX then
    raise(name .. ": " .. count .. " values are more than a host call may carry (" .. ARGUMENTS_MAX .. ")")
  end
  for at = 1, count do
    local argument = arguments[at]
    if type(argument) ~= "string" then
      raise(name .. ": a host call carries strings, not " .. type(argument))
    end
    bytes = bytes + #argument + FIELD_BYTES
  end
  if bytes > BYTES_MAX then
    raise(name .. ": " .. bytes .. " bytes are more than a host call may carry (" .. BYTES_MAX .. ")")
  end
  calls_left = calls_left - 1
  return delivered(call("remote", name, ...))
end

return { invoke = invoke, start = start }
