-- expect: 200 body="contained"
local edges = { math.mininteger, math.mininteger + 1, -2, -1, 0, 1, 2, math.maxinteger - 1, math.maxinteger }
for _, i in ipairs(edges) do
  for _, j in ipairs(edges) do
    local text = "abc"
    assert(#text:sub(i, j) <= 3)
    pcall(string.byte, text, i, j)
    pcall(string.find, text, "b", i, true)
    pcall(utf8.len, text, i, j)
    pcall(utf8.codepoint, text, i, j)
    pcall(utf8.offset, text, i, j)
    pcall(table.unpack, { 1 }, i, j < 1000 and j or i)
    pcall(table.concat, { 1, 2 }, ",", i, j < 1000 and j or i)
    pcall(table.insert, { 1, 2 }, i, j)
    pcall(table.remove, { 1, 2 }, i)
    pcall(select, i, 1, 2)
    if i > 0 and j < 1000 then pcall(table.move, { 1, 2 }, i, j, i) end
    pcall(math.random, i, j)
    assert(#tostring(i // (j == 0 and 1 or j)) > 0)
  end
end
return "contained"
