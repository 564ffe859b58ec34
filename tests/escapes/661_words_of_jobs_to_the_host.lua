-- expect: 200 body="contained"
-- binding: probe
-- What the prelude would never say: the trusted side believes nothing of it.
local function refused(...)
  local done, reason = pcall(probe, ...)
  assert(not done and reason:find("jobs.", 1, true), tostring(reason))
end
local blank = { "escape", "null", "", "", "", "", "", "" }
for at = 0, 7 do refused("jobs.send", table.unpack(blank, 1, at)) end
refused("jobs.send", "escape", "null", "", "", "", "", "", "", "")
local wrong = {
  { "", "nobody", "\xff", "../x" },
  { "", "{", "nul", "[1,]", '"\xff"', '"\xed\xa0\x80"', ("["):rep(200000), "1 2", "\0" },
  { "-1", "1e3", "x", ("9"):rep(30), "+5", " 5", "5\0", "٣" },
  { "x", ("9"):rep(19), ("9"):rep(1000), "253402300800000", "--1" },
  { "\0", "\xff", ("k"):rep(513) },
  { "0", "101", "-1", "1.0" },
  { "101", "-101", "32768", "x" },
  { "\0", "\xff", ("k"):rep(513) },
}
for place, texts in ipairs(wrong) do
  for _, text in ipairs(texts) do
    local fields = { table.unpack(blank) }
    fields[place] = text
    refused("jobs.send", table.unpack(fields))
  end
end
refused("jobs.after", "function", "", "null")
refused("jobs.after", "function", ("f"):rep(201), "null")
refused("jobs.after", "function", "f\0", "null")
refused("jobs.after", "function", "f", "{")
refused("jobs.after", "script", "nobody", "null")
refused("jobs.after", "anything", "nobody", "null")
refused("jobs.after", "function", "f")
for _, id in ipairs{ "", "x", "' OR 1=1 --", ("f"):rep(100000), "\0", ("-"):rep(36), "00000000-0000-0000-0000-00000000000G" } do
  refused("jobs.cancel", id)
end
refused("jobs.cancel")
refused("jobs.purge", "x")
error{ status = 200, body = "contained" }
