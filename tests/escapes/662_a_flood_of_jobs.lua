-- expect: 200 body="contained"
-- limits: host_calls=100
-- No more than its host calls, shielded or not; and nothing of it lasts.
local sent = 0
for _ = 1, 1000 do
  if pcall(jobs.send, "escape", nil, { ordering_key = "one lane" }) then sent = sent + 1 end
end
error{ status = 200, body = sent == 100 and "contained" or tostring(sent) }
