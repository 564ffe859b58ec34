-- expect: 200 body="contained"
-- A zone's name becomes a path on the trusted side: nothing but a zone may come of it.
local names = {
  "../../../etc/passwd", "/etc/passwd", "Europe/../../../../etc/passwd", "Europe/./Berlin", "Europe//Berlin", "Europe/",
  "posix/Europe/Berlin", "right/UTC", "localtime", "posixrules", "tzdata.zi", "Europe", "Europe/Berlin\0", "\0", "~root", ".",
  "%2e%2e/x", "Europe/Berlin\n", "file:///etc/passwd", "C:\\x", ("A"):rep(64), ("A"):rep(100000), ("A/"):rep(30) .. "A", "\xff",
}
for _, name in ipairs(names) do
  local done, why = pcall(time.calendar, 0, name)
  assert(not done and why:find("zone", 1, true), name)
  assert(not why:find("/usr", 1, true) and not why:find("Errno", 1, true), why)
end
return time.calendar(0, "Europe/Berlin").hour == 1 and "contained"
