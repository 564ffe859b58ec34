-- Owns: moments: seconds since 1970 UTC, and RFC 3339 text. No time zones: reading them takes files, and there are none here.
local fault, host = (...).fault, (...).host

local format, match, sub = string.format, string.match, string.sub
local floor, tointeger, tonumber, type = math.floor, math.tointeger, tonumber, type
local next, select = next, select
local os_date, os_difftime, os_clock = os.date, os.difftime, os.clock
local raise, guard = fault.raise, fault.guard
local call = host.call

-- Days since 1970-01-01 of a proleptic Gregorian date; the year is taken to begin in March, so that the leap day is last.
local function days_of(year, month, day)
  if month <= 2 then
    year, month = year - 1, month + 12
  end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month - 3) + 2) // 5 + day - 1
  return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
end

-- The inverse: year, month, day.
local function date_of(days)
  days = days + 719468
  local era = days // 146097
  local day_of_era = days - era * 146097
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local shifted = (5 * day_of_year + 2) // 153
  local month = shifted < 10 and shifted + 3 or shifted - 9
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month, day_of_year - (153 * shifted + 2) // 5 + 1
end

local MONTH_DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
local function days_in(year, month)
  local leap = month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return MONTH_DAYS[month] + (leap and 1 or 0)
end

local EARLIEST, LATEST = days_of(0, 1, 1) * 86400, days_of(10000, 1, 1) * 86400 - 1
local public, os_table = {}, {}

-- time.now() → seconds since 1970 UTC, with milliseconds
function public.now()
  return floor(call("now") * 1000) / 1000
end

-- time.unix() → whole seconds since 1970 UTC
function public.unix()
  return floor(call("now"))
end

-- time.format(seconds[, {ms = true}]) → "2024-02-29T12:00:00Z"
function public.format(seconds, options)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < EARLIEST or seconds >= LATEST + 1 then
    raise("time.format needs seconds between the years 0 and 9999")
  end
  local ms = type(options) == "table" and options.ms
  local whole = floor(seconds)
  local millis = ms and floor((seconds - whole) * 1000 + 0.5) or 0
  if millis == 1000 then
    whole, millis = whole + 1, 0
  end
  local year, month, day = date_of(whole // 86400)
  local second = whole % 86400
  local text = format("%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, second // 3600, second // 60 % 60, second % 60)
  return text .. (ms and format(".%03dZ", millis) or "Z")
end

local function offset_seconds(zone)
  if zone == "Z" or zone == "z" then
    return 0
  end
  local sign, hours, minutes = match(zone, "^([+-])(%d%d):(%d%d)$")
  hours, minutes = tonumber(hours), tonumber(minutes)
  if not sign or hours > 23 or minutes > 59 then
    return nil
  end
  return (sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60)
end

local function in_range(year, month, day, hour, minute, second)
  return month >= 1 and month <= 12 and day >= 1 and day <= days_in(year, month) and hour <= 23 and minute <= 59 and second <= 60
end

local RFC3339 = "^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)(.*)$"

-- time.parse("2024-02-29T12:00:00.5+02:00") → seconds: an integer, or a float if the text has a fraction
function public.parse(text)
  text = fault.text_argument(text, "time.parse")
  local year, month, day, hour, minute, second, fraction, zone = match(text, RFC3339)
  local offset = zone and offset_seconds(zone)
  if not offset or fraction == "." then
    raise("time.parse: '" .. sub(text, 1, 64) .. "' is not like 2024-02-29T12:00:00Z")
  end
  year, month, day = tointeger(tonumber(year)), tointeger(tonumber(month)), tointeger(tonumber(day))
  hour, minute, second = tointeger(tonumber(hour)), tointeger(tonumber(minute)), tointeger(tonumber(second))
  if not in_range(year, month, day, hour, minute, second) then
    raise("time.parse: there is no moment " .. sub(text, 1, 64))
  end
  local seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
  return fraction == "" and seconds or seconds + tonumber(fraction)
end

----------------------------------------------------------------------------------------------------- Lua's `os`, in UTC

local guarded_date = guard("date", os_date)

-- os.date([format[, time]]): as Lua's, always UTC
function os_table.date(template, ...)
  if template == nil then
    template = "!%c"
  elseif type(template) == "string" and sub(template, 1, 1) ~= "!" then
    template = "!" .. template
  end
  if select("#", ...) == 0 then
    return guarded_date(template, floor(call("now")))
  end
  return guarded_date(template, ...)
end

local FIELDS = { "year", "month", "day", "hour", "min", "sec" }
local DEFAULTS = { hour = 12, min = 0, sec = 0 }
local FIELD_MAX = 1 << 31

local function date_fields(date)
  local fields = {}
  for at = 1, #FIELDS do
    local name = FIELDS[at]
    local value = date[name]
    if value == nil then
      value = DEFAULTS[name] or raise("field '" .. name .. "' missing in date table")
    end
    value = tointeger(tonumber(value))
    if not value then
      raise("field '" .. name .. "' is not an integer")
    elseif value > FIELD_MAX or value < -FIELD_MAX then
      raise("field '" .. name .. "' is out-of-bound")
    end
    fields[at] = value
  end
  return fields[1], fields[2], fields[3], fields[4], fields[5], fields[6]
end

-- os.time([date]): as Lua's, but the date is UTC; out-of-range fields are carried, and the table is updated
function os_table.time(date)
  if date == nil then
    return floor(call("now"))
  elseif type(date) ~= "table" then
    raise("bad argument #1 to 'time' (table expected, got " .. type(date) .. ")")
  end
  local year, month, day, hour, minute, second = date_fields(date)
  year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
  local seconds = (days_of(year, month, 1) + day - 1) * 86400 + hour * 3600 + minute * 60 + second
  for name, value in next, guarded_date("!*t", seconds) do
    date[name] = value
  end
  return seconds
end

os_table.clock = os_clock
os_table.difftime = os_difftime

return { os = os_table, public = public }
