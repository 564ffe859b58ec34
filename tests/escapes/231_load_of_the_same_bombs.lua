-- expect: 200 body="contained"
for _, unit in ipairs{
  "a(", "a={", "do ", "while a do ", "if a then ", "repeat ", "for a=1,2 do ", "local function a(...) ", "a=function() ",
  "a=not ", "a=-", "a=a..", "a=a^", "a=a.", "a=a[", "(", "a={a=", "return function() ", "a=a(a)(", "local a <close> = ",
  "::a::", "goto a ", "a,", "local a,", "a=a and ", "else ", "\"", "--[[", "[=[", "0x", "1e", "\\", "\0", "a:", "...", "<",
} do
  for _, count in ipairs{ 190, 199, 200, 201, 250, 5000 } do
    local chunk, reason = load(unit:rep(count))
    if chunk == nil and type(reason) ~= "string" then return unit end
  end
end
return "contained"
