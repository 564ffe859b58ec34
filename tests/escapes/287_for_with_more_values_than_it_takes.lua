-- expect: 200 body="contained"
local closed = 0
local function closing() return setmetatable({}, { __close = function() closed = closed + 1 end }) end
for _ in next, {}, nil, closing(), 1, 2, 3 do end
for _ in next, { 1, 2 }, nil, closing(), nil, nil do break end
return closed == 2 and "contained" or tostring(closed)
