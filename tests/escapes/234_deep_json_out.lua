-- expect: bad-response detail~"nested deeper than 128"
local t = {}
for _ = 1, 100000 do t = { t } end
return { body = t }
