-- Owns: moments: seconds since 1970 UTC, RFC 3339 text, and the calendar; in a time zone, too, whose clocks `zones` knows.
local modules = ...
local fault, host, zones = modules.fault, modules.host, modules.zones

local find, format, gsub, match, sub = string.find, string.format, string.gsub, string.match, string.sub
local floor, tointeger, tonumber, type = math.floor, math.tointeger, tonumber, type
local next, rawget, select, unpack = next, rawget, select, table.unpack
local os_date, os_difftime, os_clock = os.date, os.difftime, os.clock
local raise, guard, options_argument, text_argument = fault.raise, fault.guard, fault.options_argument, fault.text_argument
local call = host.call

local guarded_date = guard("date", os_date)

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

local function moment_argument(seconds, caller)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < EARLIEST or seconds >= LATEST + 1 then
    raise(caller .. " needs seconds between the years 0 and 9999")
  end
  return seconds
end

-- "+02:00"; before there were zones, clocks differed by seconds, too.
local function offset_text(offset, colon)
  local sign, size = offset < 0 and "-" or "+", offset < 0 and -offset or offset
  local text = format("%s%02d%s%02d", sign, size // 3600, colon, size // 60 % 60)
  return size % 60 == 0 and text or text .. format("%s%02d", colon, size % 60)
end

local function patterned(pattern, clock, offset, abbreviation)
  pattern = gsub(text_argument(pattern, "time.format: pattern"), "%%(.)", function(letter)
    return letter == "Z" and abbreviation or letter == "z" and offset_text(offset, "") or nil
  end)
  return guarded_date("!" .. pattern, clock)
end

local OF_FORMAT = { ms = true, pattern = true, zone = true }

-- time.format(seconds[, {zone = , ms = true, pattern = }]) → "2024-02-29T12:00:00Z", or as os.date has it with a pattern
function public.format(seconds, options)
  seconds, options = moment_argument(seconds, "time.format"), options_argument(options, OF_FORMAT, "time.format")
  local ms, pattern, zone = rawget(options, "ms"), rawget(options, "pattern"), rawget(options, "zone")
  local whole = floor(seconds)
  local millis = ms and floor((seconds - whole) * 1000 + 0.5) or 0
  if millis == 1000 then
    whole, millis = whole + 1, 0
  end
  local offset, abbreviation = zones.offset(whole, zone, "time.format")
  local clock = whole + offset
  if pattern ~= nil then
    return patterned(pattern, clock, offset, abbreviation)
  end
  local year, month, day = date_of(clock // 86400)
  local second = clock % 86400
  local text = format("%04d-%02d-%02dT%02d:%02d:%02d", year, month, day, second // 3600, second // 60 % 60, second % 60)
  return text .. (ms and format(".%03d", millis) or "") .. (zones.is_utc(zone) and "Z" or offset_text(offset, ":"))
end

local function offset_seconds(text)
  if text == "Z" or text == "z" then
    return 0
  end
  local sign, hours, minutes, rest = match(text, "^([+-])(%d%d):(%d%d)(.*)$")
  local seconds = rest == "" and 0 or rest and tonumber(match(rest, "^:(%d%d)$"))
  hours, minutes = tonumber(hours), tonumber(minutes)
  if not seconds or hours > 23 or minutes > 59 or seconds > 59 then
    return nil
  end
  return (sign == "-" and -1 or 1) * (hours * 3600 + minutes * 60 + seconds)
end

local function in_range(year, month, day, hour, minute, second)
  return month >= 1 and month <= 12 and day >= 1 and day <= days_in(year, month) and hour <= 23 and minute <= 59 and second <= 60
end

local RFC3339 = "^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)(.*)$"

-- Seconds, as a clock in UTC would show them; the fraction, "" or ".5"; and what stands behind: an offset, or nothing.
local function clock_of(text)
  local year, month, day, hour, minute, second, fraction, offset = match(text, RFC3339)
  if not year or fraction == "." then
    return nil
  end
  year, month, day = tointeger(tonumber(year)), tointeger(tonumber(month)), tointeger(tonumber(day))
  hour, minute, second = tointeger(tonumber(hour)), tointeger(tonumber(minute)), tointeger(tonumber(second))
  if not in_range(year, month, day, hour, minute, second) then
    raise("time.parse: there is no moment " .. sub(text, 1, 64))
  end
  return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second, fraction, offset
end

local OF_PARSE = { ambiguous = true, zone = true }

-- time.parse("2024-02-29T12:00:00.5+02:00") → seconds: an integer, or a float if the text has a fraction;
-- time.parse("2024-02-29T12:00", {zone = , ambiguous = "earlier" | "later" | "error"}): what a zone's clocks show
function public.parse(text, options)
  text, options = text_argument(text, "time.parse"), options_argument(options, OF_PARSE, "time.parse")
  local zone, ambiguous = rawget(options, "zone"), rawget(options, "ambiguous")
  local clock, fraction, behind = clock_of(zone and find(text, "^[^:]*:%d%d$") and text .. ":00" or text)
  local offset = clock and (zone and behind == "" and 0 or not zone and offset_seconds(behind))
  if not offset then
    raise("time.parse: '" .. sub(text, 1, 64) .. "' is not like 2024-02-29T12:00:00" .. (zone and ", without an offset" or "Z"))
  end
  local seconds = zone and zones.moment(clock, zone, ambiguous, nil, "time.parse") or clock - offset
  return fraction == "" and seconds or seconds + tonumber(fraction)
end

local FIELDS = { "year", "month", "day", "hour", "min", "sec" }
local FIELD_MAX = 1 << 31

-- Seconds of a table of fields, as a clock in UTC would show them; what is out of its range is carried.
local function clock_of_fields(date, defaults)
  local fields = {}
  for at = 1, #FIELDS do
    local name = FIELDS[at]
    local value = date[name]
    if value == nil then
      value = defaults[name] or raise("field '" .. name .. "' missing in date table")
    end
    value = tointeger(tonumber(value))
    if not value then
      raise("field '" .. name .. "' is not an integer")
    elseif value > FIELD_MAX or value < -FIELD_MAX then
      raise("field '" .. name .. "' is out-of-bound")
    end
    fields[at] = value
  end
  local year, month, day, hour, minute, second = unpack(fields)
  year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
  return (days_of(year, month, 1) + day - 1) * 86400 + hour * 3600 + minute * 60 + second
end

-- time.calendar(seconds[, zone]) → {year, month, day, hour, min, sec, wday, yday, isdst, offset, abbreviation, zone}
function public.calendar(seconds, zone)
  seconds = floor(moment_argument(seconds, "time.calendar"))
  local offset, abbreviation, summer = zones.offset(seconds, zone, "time.calendar")
  local calendar = guarded_date("!*t", seconds + offset)
  calendar.offset, calendar.abbreviation, calendar.isdst = offset, abbreviation, summer
  calendar.zone = zone or "UTC"
  return calendar
end

-- time.seconds(calendar[, ambiguous]) → the moment at which the clocks of `calendar.zone`, UTC without it, show that
function public.seconds(calendar, ambiguous)
  if type(calendar) ~= "table" then
    raise("time.seconds needs a table, not " .. type(calendar))
  end
  local clock = clock_of_fields(calendar, { hour = 0, min = 0, sec = 0 })
  return zones.moment(clock, calendar.zone, ambiguous, calendar.offset, "time.seconds")
end

----------------------------------------------------------------------------------------------------- Lua's `os`, in UTC

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

-- os.time([date]): as Lua's, but the date is UTC; out-of-range fields are carried, and the table is updated
function os_table.time(date)
  if date == nil then
    return floor(call("now"))
  elseif type(date) ~= "table" then
    raise("bad argument #1 to 'time' (table expected, got " .. type(date) .. ")")
  end
  local seconds = clock_of_fields(date, { hour = 12, min = 0, sec = 0 })
  for name, value in next, guarded_date("!*t", seconds) do
    date[name] = value
  end
  return seconds
end

os_table.clock = os_clock
os_table.difftime = os_difftime

return { os = os_table, public = public }
