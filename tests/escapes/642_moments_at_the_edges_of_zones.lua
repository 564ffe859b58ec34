-- expect: 200 body="contained"
local moments = { -62167219200, -62135596800, -62135510401, 253402214401, 253402300799, 2^53, -2^53, 1e308, 0/0, 1/0, -1/0, 0.5 }
for _, moment in ipairs(moments) do
  pcall(time.calendar, moment, "Pacific/Apia")
  pcall(time.format, moment, { zone = "Pacific/Apia", ms = true })
  pcall(time.format, moment, { zone = "Pacific/Apia", pattern = "%c %Z" })
end
for _, year in ipairs{ -1 << 31, -1, 0, 1, 9999, 10000, 1 << 31, math.maxinteger, math.mininteger } do
  pcall(time.seconds, { year = year, month = year, day = year, hour = year, zone = "Pacific/Apia", offset = year })
  pcall(time.seconds, { year = year, month = 1, day = 1, zone = "Pacific/Apia" }, "later")
end
return time.format(0, { zone = "Pacific/Apia" }) == "1969-12-31T13:00:00-11:00" and "contained"
