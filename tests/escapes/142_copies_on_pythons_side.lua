-- expect: 200 body="contained"
-- What is handed to Python is copied there: beside the script's own memory, and within the process's.
local function check(f, ...)
  local done, reason = pcall(f, ...)
  assert(done or reason == "not enough memory", reason)
end
local text = ("x"):rep(28000000)
check(crypto.sha256, text)
check(crypto.hmac_sha256, text, text)
check(log.info, text, { text = text })
check(json.encode, text)
check(base64.encode, text)
text = nil
check(function() return ("y"):rep(28000000) end)
return "contained"
