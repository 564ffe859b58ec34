-- expect: 200 body="{\"list\":[1,2],\"text\":\"x\"}" header.content-type="application/json"
for _, library in ipairs{ json, string, table, math, utf8, os, time, crypto, url, base64, html, log, coroutine } do
  for name in pairs(library) do library[name] = function() error("poisoned") end end
end
return { list = { 1, 2 }, text = "x" }
