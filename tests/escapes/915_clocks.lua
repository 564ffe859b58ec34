-- expect: 200 body="contained"
-- What clocks there are say the time and this process's CPU.
assert(os.clock() < 60 and os.time() > 1700000000 and time.now() > 1700000000)
assert(os.date("%Z") == "GMT" or os.date("%Z") == "UTC", os.date("%Z"))
return "contained"
