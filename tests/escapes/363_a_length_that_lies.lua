-- expect: 200 body="[1,2]"
return { body = setmetatable({ 1, 2 }, { __len = function() return 1 << 60 end }) }
