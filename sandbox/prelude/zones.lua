-- Owns: what the clocks of a time zone show. Its tables are files, so the trusted side looks: one host call a question.
-- A `clock` is what they show, as the seconds since 1970 at which a clock in UTC shows it.
local modules = ...
local fault, remote = modules.fault, modules.remote

local format, max, min, tointeger = string.format, math.max, math.min, math.tointeger
local type = type
local invoke, raise, text_argument = remote.invoke, fault.raise, fault.text_argument

local AMBIGUOUS = { earlier = min, later = max, error = true }

-- UTC needs no table.
local function is_utc(zone)
  return zone == nil or zone == "UTC"
end

local function ask(what, seconds, zone, caller)
  local first, second, third = invoke("time.zone", text_argument(zone, caller .. ": zone"), what, format("%d", seconds))
  return first, second, third
end

-- At a moment: seconds that the zone's clocks are ahead, how their time is called, whether it is summer time.
local function offset(seconds, zone, caller)
  if is_utc(zone) then
    return 0, "UTC", false
  end
  local ahead, abbreviation, summer = ask("utc", seconds, zone, caller)
  return tointeger(ahead), abbreviation, summer == "1"
end

-- The moment at which a zone's clocks show CLOCK. Where they are set back it comes twice: the one with the offset AHEAD is
-- meant, or else the first. Where they are set forward it is skipped: it is counted on from before.
local function moment(clock, zone, ambiguous, ahead, caller)
  local choose = ambiguous ~= nil and AMBIGUOUS[ambiguous]
  if choose == nil then
    raise(caller .. ": ambiguous must be 'earlier', 'later' or 'error'")
  elseif is_utc(zone) then
    return clock
  end
  local before, after = ask("clock", clock, zone, caller)
  before, after = tointeger(before), tointeger(after)
  if before == after then
    return before
  elseif choose == true then
    raise(caller .. ": this time " .. (before < after and "comes twice in " or "is skipped in ") .. zone)
  elseif choose then
    return choose(before, after)
  elseif before < after and clock - after == ahead then
    return after
  end
  return before
end

return { is_utc = is_utc, moment = moment, offset = offset }
