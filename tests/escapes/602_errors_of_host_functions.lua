-- expect: 200 body="contained"
local function check(f, ...)
  local done, reason = pcall(f, ...)
  assert(not done and type(reason) == "string" and reason:find("^main%.lua:"), tostring(reason))
end
check(function() crypto.random_bytes(-1) end)
check(function() crypto.random_bytes(1 << 40) end)
check(function() crypto.random_bytes(1.5) end)
check(function() crypto.random_bytes("x") end)
check(function() crypto.sha256({}) end)
check(function() crypto.hmac_sha256("x") end)
check(function() crypto.equal(nil, nil) end)
check(function() json.decode("{") end)
check(function() time.parse("yesterday") end)
check(function() url.build(5) end)
return "contained"
