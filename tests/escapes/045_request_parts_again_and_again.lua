-- expect: cpu-limit
-- limits: cpu_ms=100
-- request: target="?a=1&b=2&c=%20%20" header.cookie="a=b; c=d; e=f"
return function(request)
  while true do
    rawset(request, "query", nil)
    rawset(request, "cookies", nil)
    local _ = request.query, request.cookies
  end
end
