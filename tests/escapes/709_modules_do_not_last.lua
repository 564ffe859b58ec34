-- expect: 200 body="nil"
-- again: same
local before = tostring(rawget(json.null, "seen")) 
rawset(json.null, "seen", true)
return before
