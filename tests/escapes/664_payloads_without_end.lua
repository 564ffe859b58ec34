-- expect: 200 body="contained"
-- One is as large as its target takes, and all together are bounded.
local text = ("x"):rep(1000000)
assert(not pcall(jobs.send, "escape", text .. text))
local sent, reason = 0, nil
for _ = 1, 100 do
  local done, why = pcall(jobs.send, "escape", text)
  sent, reason = sent + (done and 1 or 0), done and reason or why
end
error{ status = 200, body = sent == 16 and reason:find("together", 1, true) and "contained" or sent .. tostring(reason) }
