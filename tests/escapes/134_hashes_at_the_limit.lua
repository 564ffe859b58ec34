-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
-- Every call at the limit ends as a call or as a string that says so, never as a crash.
local held, size = {}, 65536
while size > 8 do
  if not pcall(function() held[#held + 1] = ("x"):rep(size) .. #held end) then size = size // 2 end
end
local kinds = {}
for i = 1, 2000 do
  local done, answer = pcall(crypto.hmac_sha256, "key", "text")
  if not done and answer ~= "not enough memory" then return "error: " .. tostring(answer) end
  pcall(log.info, "x")
  pcall(time.now)
  pcall(json.encode, { i })
end
held = nil
return "contained"
